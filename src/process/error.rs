//! What can go wrong between the worker and its keepers.

use std::io;

/// Why a keeper could not be started, asked or heard. The text fits after "failed to run the task: ".
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The zygote could not be started.
    #[error("start the process keeper {exe}")]
    Start {
        /// The program that was to be re-executed.
        exe: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The zygote has ended: no more keepers can be had from it, those it started go on.
    #[error("ask for a keeper: the process that starts them has ended")]
    ZygoteGone,
    /// The zygote could not fork, for want of processes or memory. Trying again later may help.
    #[error("fork a keeper")]
    Fork(#[source] io::Error),
    /// The cgroup of a slot could not be made, or does not hold the keeper: no task runs there without the limits that were asked for.
    #[error("limit the memory of tasks by a cgroup")]
    Group(#[source] io::Error),
    /// The keeper has ended. Its task, if it had one, has been or is being killed by the zygote.
    #[error("reach the keeper: it has ended")]
    KeeperGone,
    /// The socket to the zygote or a keeper failed.
    #[error("talk to a keeper")]
    Socket(#[source] io::Error),
    /// The other side sent what this version does not understand.
    #[error("understand a keeper: {0}")]
    Protocol(String),
}
