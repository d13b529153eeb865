//! How many tasks are in each state.

use serde::{Deserialize, Serialize};

use super::task::TaskState;

/// How many lines are in each hash; the stop command is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// In `todo_tasks`.
    pub todo: u64,
    /// In `in_progress_tasks`.
    pub in_progress: u64,
    /// In `finished_tasks`.
    pub finished: u64,
    /// In `failed_tasks`, those that will be tried again and those that were cancelled included, as Python DistComp counts them.
    pub failed: u64,
    /// Of those in `failed_tasks`, how many an operator has cancelled.
    #[serde(default)]
    pub cancelled: u64,
    /// Lines that are not UTF-8, set aside.
    #[serde(default)]
    pub quarantined: u64,
    /// Of those in todo, how many wait for batches or for a time. Only of an overview.
    #[serde(default)]
    pub blocked: u64,
    /// Of those in todo, how many are of batches that are held. Only of an overview.
    #[serde(default)]
    pub held: u64,
}

impl Counts {
    /// How many are in this state.
    #[must_use]
    pub fn of(&self, state: TaskState) -> u64 {
        match state {
            TaskState::Todo => self.todo,
            TaskState::InProgress => self.in_progress,
            TaskState::Finished => self.finished,
            TaskState::Failed => self.failed.saturating_sub(self.cancelled),
            TaskState::Cancelled => self.cancelled.min(self.failed),
        }
    }
}
