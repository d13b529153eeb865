//! What the history of a queue keeps of one minute.

use super::queue::Overview;
use super::task::TaskState;
use super::worker::{WorkerLoad, WorkerState, WorkerView};

/// A minute of the history. Totals grow, so that a rate is the difference of two rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryRow {
    /// When it was taken, seconds since the epoch by the server's clock.
    pub at: u64,
    /// Tasks that wait.
    pub todo: u64,
    /// Tasks in progress.
    pub running: u64,
    /// Tasks in failed, without those that were cancelled.
    pub failed: u64,
    /// Workers that report.
    pub workers: u64,
    /// Their slots.
    pub slots: u64,
    /// Attempts that finished since the queue began.
    pub finished_total: u64,
    /// Attempts that failed since the queue began.
    pub failed_total: u64,
    /// The last number in the order of submission.
    pub sequence: u64,
}

impl HistoryRow {
    /// Rows that are kept: two weeks, one a minute.
    pub const KEPT: usize = 14 * 24 * 60;

    /// The row of this moment.
    #[must_use]
    pub fn of(overview: &Overview, sequence: u64) -> Self {
        let heard = || overview.workers.iter().filter(|worker| is_heard(worker));
        let slots = |load: &WorkerLoad| u64::from(load.slots);
        Self {
            at: overview.now,
            todo: overview.counts.todo,
            running: overview.counts.in_progress,
            failed: overview.counts.of(TaskState::Failed),
            workers: heard().count() as u64,
            slots: heard().filter_map(|worker| worker.load.as_ref()).map(slots).sum(),
            finished_total: overview.totals.finished,
            failed_total: overview.totals.failed,
            sequence,
        }
    }
}

fn is_heard(worker: &WorkerView) -> bool {
    !matches!(worker.state, WorkerState::Silent | WorkerState::Dead)
}
