//! How a batch, or a step of one, stands.

use serde::{Deserialize, Serialize};

use crate::model::BatchName;

/// What goes on in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Nothing was ever added to it.
    Empty,
    /// All that was added has ended, and a submission to it is under way.
    Adding,
    /// Something of it runs.
    Running,
    /// Something of it waits that may run.
    Waiting,
    /// All that is left waits for other batches, or for a time.
    Blocked,
    /// An operator holds it.
    Paused,
    /// It has stopped, since too many of its tasks failed.
    Stopped,
    /// Its tasks are being counted anew, since others have deleted the counters: nothing else is known meanwhile.
    Counting,
    /// All of it has finished.
    Finished,
    /// It has ended, and not all of it finished.
    Failed,
}

impl BatchState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Adding => "adding",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Counting => "counting",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// Something that a batch waits for, and how that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// The batch or step.
    pub name: BatchName,
    /// Its tasks that have not ended.
    pub open: u64,
    /// Its tasks that were given up, or are gone.
    pub failed: u64,
    /// All its tasks.
    pub tasks: u64,
    /// Submissions to it that are under way, or were cut short.
    pub submissions: u64,
    /// Whether anything was ever known of it.
    pub is_known: bool,
    /// Whether nobody needs to wait for it.
    pub is_waived: bool,
}

impl Awaited {
    /// Whether it has ended, and not all of it finished: what waits for all of it to finish is stuck until somebody requeues or releases it.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.is_known && !self.is_waived && self.open == 0 && self.submissions == 0 && self.failed > 0
    }

    /// Whether all of it has finished, or it need not.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_waived || (self.is_known && self.open == 0 && self.submissions == 0 && self.failed == 0)
    }
}

/// One batch, or one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchView {
    /// Its name.
    pub name: BatchName,
    /// What goes on.
    pub state: BatchState,
    /// Tasks that it ever had.
    pub tasks: u64,
    /// Tasks that wait or run.
    pub open: u64,
    /// Tasks that have finished.
    pub finished: u64,
    /// Tasks that were given up: out of retries, refused, cancelled, or gone.
    pub failed: u64,
    /// Tasks in progress.
    pub running: u64,
    /// Tasks that wait and may run.
    pub waiting: u64,
    /// Tasks that wait for other batches, or for a time. Of a step it is not known, and these count as waiting.
    pub blocked: u64,
    /// Submissions to it that are under way, or were cut short.
    pub submissions: u64,
    /// Finished tasks a second over the last minute.
    pub rate_per_second: f64,
    /// Seconds to go at that rate; `None` where that cannot be said.
    pub eta_seconds: Option<u64>,
    /// Why it is held: `paused by ann`, `stopped: 101 failed, --max-fails 100`.
    pub held: Option<String>,
    /// Who made it, if that was recorded.
    pub by: String,
    /// When, in seconds since the epoch; 0 if that was not recorded.
    pub created: u64,
    /// More failures than this stop it: a number or a percentage.
    pub max_fails: Option<String>,
    /// Whether its tasks are given up when what they wait for fails.
    pub kill_on_invalid_dep: bool,
    /// What its tasks wait for.
    pub after: Vec<Awaited>,
}

impl BatchView {
    /// The part of it that has ended, from 0 to 1; 1 of an empty one.
    #[must_use]
    pub fn progress(&self) -> f64 {
        if self.tasks == 0 { 1.0 } else { (self.finished + self.failed) as f64 / self.tasks as f64 }
    }

    /// Whether nothing of it is left to run or to come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.open == 0 && self.submissions == 0 && self.state != BatchState::Counting
    }
}
