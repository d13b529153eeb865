//! The messages between a worker and its zygote: what starts it, requests for keepers, and the replies.
//!
//! The socket keeps messages whole (`SOCK_SEQPACKET`): a reply is there or not, also if the one who asked has stopped waiting.

use serde::{Deserialize, Serialize};

use super::confinement::Confinement;

/// The first argument of a program that is to be a zygote.
pub(super) const HIDDEN_MODE: &str = "__keeper";

/// The second argument, as JSON. The third is the path of the tag file, or empty.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct ZygoteSettings {
    /// The soft limit of open files for tasks; `None`: that of the worker.
    pub(super) nofile_soft: Option<u64>,
    pub(super) confinement: Confinement,
}

/// The longest message in bytes.
pub(super) const MAX_MESSAGE: usize = 256;

/// A request of the worker.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Fork a keeper. With this message come the keeper's end of its socket, and a descriptor of its reply journal if it has one.
    Fork {
        /// Returned in the reply.
        id: u64,
    },
    /// Kill a keeper that does not answer. There is no reply.
    Kill { keeper: u32 },
}

/// A reply of the zygote.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    Forked {
        id: u64,
        keeper: u32,
    },
    ForkFailed {
        id: u64,
        errno: i32,
    },
    /// The zygote ends, because a system call that it needs has failed.
    SetupFailed {
        error: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_messages_fit() {
        let error = "prctl(PR_SET_CHILD_SUBREAPER) failed: ".to_owned() + &"x".repeat(100);
        for reply in [Reply::ForkFailed { id: u64::MAX, errno: i32::MIN }, Reply::SetupFailed { error }] {
            let bytes = postcard::to_stdvec(&reply).unwrap();
            assert!(bytes.len() <= MAX_MESSAGE);
            assert_eq!(postcard::from_bytes::<Reply>(&bytes).unwrap(), reply);
        }
        assert!(postcard::to_stdvec(&Request::Fork { id: u64::MAX }).unwrap().len() <= MAX_MESSAGE);
    }
}
