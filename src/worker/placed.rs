//! What a task has besides memory and a slot.

use crate::policy::pools::Grants;

/// What a task has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Devices and amounts.
    pub grants: Grants,
    /// Cores for itself.
    pub own_cores: Vec<usize>,
    /// The cores that it shares with other tasks, where tasks are pinned and it has none for itself. They may change while it runs.
    pub shared_cores: Vec<usize>,
}
