//! A page of tasks: the filter that a reader asks with, and the rows that it gets.

use serde::{Deserialize, Serialize};

use super::BatchName;
use super::snapshot::TaskState;

/// Which tasks are wanted. All conditions hold at once; an absent one holds for every task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskFilter {
    /// The state they are in.
    pub state: TaskState,
    /// Text that the line holds.
    pub include: Option<String>,
    /// Text that the line does not hold.
    pub exclude: Option<String>,
    /// The worker that runs it, ended it, or that it failed on; compared whole.
    pub worker: Option<String>,
    /// The group of failures it belongs to.
    pub kind: Option<String>,
    /// The batch or the step that it belongs to.
    pub batch: Option<BatchName>,
    /// One of its tags.
    pub tag: Option<String>,
}

impl TaskFilter {
    /// All tasks of a state.
    #[must_use]
    pub fn all(state: TaskState) -> Self {
        Self { state, include: None, exclude: None, worker: None, kind: None, batch: None, tag: None }
    }

    /// Whether anything but the state is asked for.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        self.include.is_some()
            || self.exclude.is_some()
            || self.worker.is_some()
            || self.kind.is_some()
            || self.is_of_members()
    }

    /// Whether it asks for what only members of batches have.
    #[must_use]
    pub fn is_of_members(&self) -> bool {
        self.batch.is_some() || self.tag.is_some()
    }
}

/// One task in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRow {
    /// Its id.
    pub id: String,
    /// Its line.
    pub line: String,
    /// The worker that has it or finished it, or those that it failed on, with repeats.
    pub workers: Vec<String>,
    /// How it failed, where that is recorded.
    pub kind: Option<String>,
    /// Why the last attempt failed.
    pub reason: Option<String>,
    /// It has failed and waits to be tried again.
    pub will_retry: bool,
}

/// Some tasks that match, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPage {
    /// The tasks, in no order that means anything.
    pub rows: Vec<TaskRow>,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<u64>,
    /// How many tasks were looked at for this page.
    pub looked_at: u64,
}
