//! Explains why a task, or the queue, is not running: functions of an overview, the most important reason first.
//!
//! `queue` speaks of all that waits, `task` of one task; `fleet` and `needs` hold what both say about the workers and the operator.

mod fleet;
mod needs;
mod queue;
mod task;
#[cfg(test)]
mod tests;

pub use queue::{TopReason, explain_queue, needs, never_run, top_reason, why_need};
pub use task::{explain_held, explain_task};
