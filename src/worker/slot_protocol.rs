//! What a slot is asked, and what it answers whoever follows a task.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::events::TaskKey;
use crate::process::{Ended, Output, RunSpec};

/// What a slot is asked to do.
#[derive(Debug)]
pub enum SlotCommand {
    /// Run this when what runs has ended; not if that moment has passed before the keeper is told.
    Start(TaskKey, Box<RunSpec>, Instant),
    /// Forget it, unless it has started.
    Withdraw(TaskKey),
    /// End it: SIGTERM, then SIGKILL after this grace.
    Terminate(TaskKey, Duration),
    /// End it now.
    Kill(TaskKey),
    /// Say what it has printed, from these positions on, and how it ends.
    Show {
        /// The task; one that is not in this slot is answered with [`Said::Gone`].
        key: TaskKey,
        /// Position in stdout; `None`: the end of it.
        stdout_from: Option<u64>,
        /// Position in stderr; `None`: the end of it.
        stderr_from: Option<u64>,
        /// Where the answers go.
        to: mpsc::UnboundedSender<Said>,
    },
}

/// What somebody who follows a task is told.
#[derive(Debug)]
pub enum Said {
    /// What it has printed.
    Output(Box<Output>),
    /// It has ended; all that it printed, and nothing follows.
    Ended(Box<Ended>),
    /// It does not run here.
    Gone,
}
