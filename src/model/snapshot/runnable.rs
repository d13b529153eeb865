//! What may run now, whether or not a worker is there that could.

use crate::model::{Demand, Needs};

/// The tasks that may run at one moment. Blocked tasks, those of held batches, and those in their backoff are not among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runnable {
    /// By what they ask for, in the order in which they are to run.
    pub groups: Vec<RunnableGroup>,
    /// Kinds of tasks that were not looked at: they come after all those that were.
    pub left_out: u64,
    /// Tasks that only a worker can tell of or move on: written by other programs and not yet sorted, behind a gate whose time has come, or at the end of
    /// their backoff.
    pub unsorted: u64,
    /// Whether nothing may start: the queue is paused or stopped.
    pub is_halted: bool,
}

impl Runnable {
    /// How many tasks there are.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        self.groups.iter().map(|group| group.waiting).fold(0, u64::saturating_add)
    }
}

/// Tasks that may run and ask for the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunnableGroup {
    /// What each asks for; memory that is learnt is what has been learnt.
    pub demand: Demand,
    /// What each needs beside.
    pub needs: Needs,
    /// How many there are.
    pub waiting: u64,
    /// Whether their memory is yet to be learnt: a worker runs one at a time.
    pub is_unknown: bool,
}
