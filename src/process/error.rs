//! What can go wrong between the worker and its keepers.

use std::io;

use nix::errno::Errno;

/// Why a keeper could not be started, asked or heard. The text fits after "failed to run the task: ".
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The zygote could not be started.
    #[error("start the process keeper {exe}: {cause}")]
    Start {
        /// The program that was to be re-executed.
        exe: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The zygote or a keeper ended at its own start: a system call that it cannot do without failed. Another try will end in the same way.
    #[error("start a keeper process: {0}")]
    SetupFailed(String),
    /// The zygote has ended: no more keepers can be had from it, those it started go on.
    #[error("start a keeper: the process that creates keepers has ended")]
    ZygoteGone,
    /// The zygote could not fork, for want of processes or memory. Trying again later may help.
    #[error("fork a keeper: {0}")]
    Fork(#[source] io::Error),
    /// The cgroup of a slot could not be made, or does not hold the keeper: no task runs there without the limits that were asked for.
    #[error("limit the memory of tasks by a cgroup: {0}")]
    Group(#[source] io::Error),
    /// The keeper has ended. Its task, if it had one, has been or is being killed by the zygote.
    #[error("reach the keeper: it has ended")]
    KeeperGone,
    /// The socket to the zygote or a keeper failed.
    #[error("talk to a keeper: {0}")]
    Socket(#[source] io::Error),
    /// The other side sent what this version does not understand.
    #[error("understand a keeper: {0}")]
    Protocol(String),
}

impl ProcessError {
    /// Whether the machine is short of processes, memory or descriptors, which passes.
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
