//! Errors between the worker, its zygote and its keepers.

use std::io;

use nix::errno::Errno;

/// Why a keeper could not be started or used. The text fits after "failed to run the task: ".
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The zygote could not be started.
    #[error("start the process keeper {exe}: {cause}")]
    Start {
        /// The program that was to be executed.
        exe: String,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// The zygote or a keeper ended at its start, because a system call that it needs has failed. Another try fails in the same way.
    #[error("start a keeper process: {0}")]
    SetupFailed(String),
    /// The zygote has ended. Its keepers go on, but it cannot fork others.
    #[error("start a keeper: the process that creates keepers has ended")]
    ZygoteGone,
    /// The zygote could not fork, because the node is short of processes or memory. A later try may succeed.
    #[error("fork a keeper: {0}")]
    Fork(#[source] io::Error),
    /// The cgroup of a slot could not be created, or the keeper could not be moved into it. No task runs without the limits that were requested.
    #[error("limit the memory of tasks by a cgroup: {0}")]
    Group(#[source] io::Error),
    /// The keeper has ended. The zygote kills its process tree.
    #[error("reach the keeper: it has ended")]
    KeeperGone,
    /// The socket to the zygote or a keeper failed.
    #[error("talk to a keeper: {0}")]
    Socket(#[source] io::Error),
    /// A message cannot be decoded.
    #[error("understand a keeper: {0}")]
    Protocol(String),
}

impl ProcessError {
    /// Whether the node is short of processes, memory or descriptors, so that a later try may succeed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let is_short = |error: &io::Error| {
            let errno = error.raw_os_error().map(Errno::from_raw);
            matches!(errno, Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS))
        };
        match self {
            Self::Start { cause, .. } | Self::Fork(cause) | Self::Group(cause) | Self::Socket(cause) => is_short(cause),
            Self::ZygoteGone | Self::KeeperGone | Self::SetupFailed(_) | Self::Protocol(_) => false,
        }
    }
}
