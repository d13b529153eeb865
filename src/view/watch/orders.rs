//! What the keys `r`, `c` and `p` change, and the question that is asked before.

use super::command::command;
use super::screen::Wanted;
use crate::model::snapshot::Overview;
use crate::model::{BatchName, TaskId};
use crate::view::safe_text::safe;
use crate::view::text::{count, tasks, tasks_wait};

/// A change that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Back to todo, the failures forgotten.
    Requeue(Chosen),
    /// Not to be run any more, and killed where it runs.
    Cancel(Chosen),
    /// Nothing new is started: of this batch, or of the whole queue.
    Pause(Option<BatchName>),
    /// Goes on after that.
    Resume(Option<BatchName>),
}

/// The tasks that are to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// One, by its line or its id.
    Task(String),
    /// Those of a group of failures, and how many these were.
    Kind(String, u64),
    /// Those of a batch.
    Batch(BatchName),
}

impl Chosen {
    /// What is open.
    pub(super) fn of(wanted: &Wanted) -> Option<Self> {
        match wanted {
            Wanted::Task(task) => Some(Self::Task(task.clone())),
            Wanted::Batch(name) => Some(Self::Batch(name.clone())),
            Wanted::Worker(_) => None,
        }
    }
}

impl Order {
    /// What `p` does: to a batch that is held, or the queue while it is paused, the reverse.
    pub(super) fn pause_or_resume(batch: Option<BatchName>, is_held: bool) -> Self {
        if is_held { Self::Resume(batch) } else { Self::Pause(batch) }
    }

    /// The question.
    pub(super) fn question(&self, overview: &Overview) -> String {
        match self {
            Self::Requeue(Chosen::Task(task)) => {
                format!("Requeue this task? It runs again, and its failures are forgotten.\n{}", named(task))
            }
            Self::Requeue(Chosen::Kind(kind, number)) => {
                format!("Requeue {} that failed with this? They run again.\n{}", tasks(*number), safe(kind))
            }
            Self::Requeue(Chosen::Batch(name)) => {
                format!("Requeue the failed tasks of batch {name}? They run again.")
            }
            Self::Cancel(Chosen::Task(task)) => {
                format!("Cancel this task? If it runs, its processes are killed.\n{}", named(task))
            }
            Self::Cancel(Chosen::Kind(kind, _)) => {
                format!("Cancel the tasks that failed with this and would be retried?\n{}", safe(kind))
            }
            Self::Cancel(Chosen::Batch(name)) => {
                format!("Cancel what waits and runs of batch {name}? Processes that run are killed.")
            }
            Self::Pause(None) => format!(
                "Pause the queue? {}, {} in progress continue.",
                tasks_wait(overview.counts.todo),
                count(overview.counts.in_progress)
            ),
            Self::Resume(None) => format!("Resume the queue? {} wait.", tasks(overview.counts.todo)),
            Self::Pause(Some(name)) => format!("Pause batch {name}? What runs of it continues."),
            Self::Resume(Some(name)) => format!("Resume batch {name}?"),
        }
    }

    /// What is said while it is done.
    pub(super) fn begun(&self) -> &'static str {
        match self {
            Self::Requeue(_) => "requeuing",
            Self::Cancel(_) => "cancelling",
            Self::Pause(_) => "pausing",
            Self::Resume(_) => "resuming",
        }
    }
}

/// The id and the command of a task.
fn named(task: &str) -> String {
    if TaskId::is_prefix_like(task) {
        return task.to_owned();
    }
    format!("{} {}", TaskId::of(task), safe(command(task)))
}
