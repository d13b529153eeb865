//! The states of tasks as the command line names them, and which worker an entry of a state concerns.

use clap::ValueEnum;

use crate::model::FinishedValue;
use crate::model::snapshot::TaskState;
use crate::queue::select::HashEntry;

/// A state, as written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    /// Waiting
    Todo,
    /// Claimed by a worker
    #[value(name = "in_progress", alias = "in-progress", alias = "running")]
    InProgress,
    /// Finished successfully
    Finished,
    /// Failed: out of retries, or waiting for a retry
    Failed,
    /// Cancelled by an operator
    #[value(alias = "canceled")]
    Cancelled,
}

impl From<StateArg> for TaskState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Todo => Self::Todo,
            StateArg::InProgress => Self::InProgress,
            StateArg::Finished => Self::Finished,
            StateArg::Failed => Self::Failed,
            StateArg::Cancelled => Self::Cancelled,
        }
    }
}

impl From<TaskState> for StateArg {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Todo => Self::Todo,
            TaskState::InProgress => Self::InProgress,
            TaskState::Finished => Self::Finished,
            TaskState::Failed => Self::Failed,
            TaskState::Cancelled => Self::Cancelled,
        }
    }
}

/// Whether an entry concerns a worker: it runs there, ended there, or failed there. Names are compared whole.
pub(crate) fn is_of(entry: &HashEntry, state: TaskState, worker: &str) -> bool {
    match state {
        TaskState::Todo => false,
        TaskState::InProgress => entry.value == worker,
        TaskState::Finished => FinishedValue::parse(&entry.value).worker == Some(worker),
        TaskState::Failed | TaskState::Cancelled => entry.value.split(',').any(|name| name == worker),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_workers_are_compared_whole() {
        let entry = |value: &str| HashEntry { line: "x".to_owned(), value: value.to_owned() };
        assert!(is_of(&entry("node10,node1,"), TaskState::Failed, "node1"));
        assert!(!is_of(&entry("node10,"), TaskState::Failed, "node1"));
        assert!(is_of(&entry("node1: \"a\""), TaskState::Finished, "node1"));
        assert!(!is_of(&entry("node10: \"a\""), TaskState::Finished, "node1"));
        assert!(!is_of(&entry("node10"), TaskState::InProgress, "node1"));
    }
}
