//! How far tasks have come: the one count behind every bar, percentage and JSON object of progress.

use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::task::TaskState;

/// Tasks in the four parts of a bar, each in one part only. What an operator has cancelled stands apart: it is no part of the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressParts {
    /// Finished.
    pub finished: u64,
    /// In progress, retries included.
    pub running: u64,
    /// Out of retries, or refused.
    pub failed: u64,
    /// Not started, retries included.
    pub waiting: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl ProgressParts {
    /// Of a whole queue, of which `retrying` tasks have failed and wait or run again.
    #[must_use]
    pub fn of_queue(counts: &Counts, retrying: u64) -> Self {
        Self {
            finished: counts.finished,
            running: counts.in_progress,
            failed: counts.of(TaskState::Failed).saturating_sub(retrying),
            waiting: counts.todo,
            cancelled: counts.of(TaskState::Cancelled),
        }
    }

    /// Of `all` tasks that a program follows: so many have ended, `failed` of them without success, and at most `running` of the rest run.
    #[must_use]
    pub fn of_set(all: u64, ended: u64, failed: u64, running: u64) -> Self {
        let ended = ended.min(all);
        let running = running.min(all - ended);
        let failed = failed.min(ended);
        Self { finished: ended - failed, running, failed, waiting: all - ended - running, cancelled: 0 }
    }

    /// All tasks but those that were cancelled.
    #[must_use]
    pub fn all(&self) -> u64 {
        [self.finished, self.running, self.failed, self.waiting].into_iter().fold(0, u64::saturating_add)
    }

    /// Those that have ended for good.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.finished.saturating_add(self.failed)
    }

    /// Tenths of a percent that have finished, rounded down: 1,000 only when all have. 0 without tasks.
    #[must_use]
    pub fn permille(&self) -> u64 {
        let permille = u128::from(self.finished) * 1000;
        let permille = permille.checked_div(u128::from(self.all())).unwrap_or(0);
        u64::try_from(permille).unwrap_or(1000)
    }

    /// Percent that have finished, with one decimal, rounded down.
    #[must_use]
    pub fn percent(&self) -> f64 {
        self.permille() as f64 / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tasks_are_part_of_the_whole_and_cancelled_are_not() {
        let counts = Counts { todo: 6, in_progress: 2, finished: 52, failed: 48, cancelled: 5, ..Counts::default() };
        let parts = ProgressParts::of_queue(&counts, 3);
        let wanted = ProgressParts { finished: 52, running: 2, failed: 40, waiting: 6, cancelled: 5 };
        assert_eq!(parts, wanted);
        assert_eq!((parts.all(), parts.ended(), parts.percent()), (100, 92, 52.0));
    }

    #[test]
    fn only_all_is_a_hundred_percent() {
        let parts = ProgressParts { finished: 99_999, failed: 1, ..ProgressParts::default() };
        assert_eq!(parts.percent(), 99.9);
        assert_eq!(ProgressParts { failed: 0, ..parts }.percent(), 100.0);
        assert_eq!(ProgressParts { cancelled: 7, ..ProgressParts::default() }.percent(), 0.0);
    }

    #[test]
    fn parts_of_a_set_add_up_to_it() {
        for (all, ended, failed, running) in [(10, 4, 1, 3), (10, 12, 1, 3), (10, 4, 9, 90), (0, 0, 0, 1)] {
            let parts = ProgressParts::of_set(all, ended, failed, running);
            assert_eq!(parts.all(), all, "{parts:?}");
        }
        assert_eq!(ProgressParts::of_set(10, 4, 1, 3).percent(), 30.0);
    }
}
