//! The hashes that hold the tasks of each state.

use super::keys::Key;
use crate::model::snapshot::TaskState;

/// The states that have hashes of their own.
pub(super) const STORED: [TaskState; 4] =
    [TaskState::Todo, TaskState::InProgress, TaskState::Finished, TaskState::Failed];

/// The hashes that hold the tasks of a state, one after the other. Those of cancelled tasks are told by the values.
pub(super) fn keys_of(state: TaskState) -> &'static [Key] {
    match state {
        TaskState::Todo => &[Key::Todo, Key::Waiting],
        TaskState::InProgress => &[Key::InProgress],
        TaskState::Finished => &[Key::Finished],
        TaskState::Failed => &[Key::Failed],
        // Whatever their number, there are few of them among millions of failures, or few failures among them.
        TaskState::Cancelled => &[Key::Kinds],
    }
}
