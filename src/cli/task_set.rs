//! The tasks of a command line and the state of each, at nine bytes a task, so that a million of them take nine megabytes.

use crate::model::TaskId;
use crate::model::snapshot::TaskState;

/// The tasks, by id.
pub(crate) struct TaskSet {
    /// Sorted, each once.
    ids: Vec<TaskId>,
}

/// Where a task stands; a later one outranks an earlier one, since a failed task that waits for its retry is in two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaskEnd {
    /// In no hash: somebody has purged it.
    Gone,
    /// An operator has cancelled it.
    Cancelled,
    /// Out of retries.
    Failed,
    /// It has ended with success.
    Finished,
    /// Waiting or running.
    Open,
}

impl TaskEnd {
    /// Where a task stands that is in these hashes.
    pub(crate) fn of(states: &[TaskState]) -> Self {
        let end = |state: &TaskState| match state {
            TaskState::Todo | TaskState::InProgress => Self::Open,
            TaskState::Finished => Self::Finished,
            TaskState::Failed => Self::Failed,
            TaskState::Cancelled => Self::Cancelled,
        };
        states.iter().map(end).max().unwrap_or(Self::Gone)
    }
}

impl TaskSet {
    /// The tasks of these ids, which may repeat.
    pub(crate) fn new(mut ids: Vec<TaskId>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        Self { ids }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Whether this line is one of them.
    pub(crate) fn contains(&self, line: &str) -> bool {
        self.ids.binary_search(&TaskId::of(line)).is_ok()
    }

    /// Takes more tasks in.
    pub(crate) fn extend(&mut self, ids: Vec<TaskId>) {
        let mut all = std::mem::take(&mut self.ids);
        all.extend(ids);
        *self = Self::new(all);
    }

    /// A tally of them, all of them nowhere yet.
    pub(crate) fn tally(&self) -> TaskTally<'_> {
        self.tally_at(TaskEnd::Gone)
    }

    /// A tally of them, all of them there.
    pub(crate) fn tally_at(&self, end: TaskEnd) -> TaskTally<'_> {
        TaskTally { members: self, ends: vec![end; self.ids.len()] }
    }
}

/// What became of each.
pub(crate) struct TaskTally<'a> {
    members: &'a TaskSet,
    ends: Vec<TaskEnd>,
}

/// How many ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TallyTotals {
    /// Nowhere: somebody purged them.
    pub(crate) gone: u64,
    /// An operator cancelled them.
    pub(crate) cancelled: u64,
    /// Out of retries.
    pub(crate) failed: u64,
    /// Finished.
    pub(crate) finished: u64,
    /// Waiting or running.
    pub(crate) open: u64,
}

impl TaskTally<'_> {
    /// Notes where a task stands; true the first time that one of ours is met.
    pub(crate) fn note(&mut self, id: TaskId, end: TaskEnd) -> bool {
        let Some(known) = self.members.ids.binary_search(&id).ok().and_then(|at| self.ends.get_mut(at)) else {
            return false;
        };
        let is_first = *known == TaskEnd::Gone;
        *known = end.max(*known);
        is_first
    }

    /// Sets where a task stands, whatever it was before, which is answered; `None` for one that is not ours.
    pub(crate) fn set(&mut self, id: TaskId, end: TaskEnd) -> Option<TaskEnd> {
        let at = self.members.ids.binary_search(&id).ok()?;
        self.ends.get_mut(at).map(|known| std::mem::replace(known, end))
    }

    /// Where a task was noted to stand; `None` for one that is not ours.
    pub(crate) fn end_of(&self, id: TaskId) -> Option<TaskEnd> {
        self.members.ids.binary_search(&id).ok().and_then(|at| self.ends.get(at)).copied()
    }

    /// The sums.
    pub(crate) fn totals(&self) -> TallyTotals {
        self.ends.iter().fold(TallyTotals::default(), |mut sum, end| {
            match end {
                TaskEnd::Gone => sum.gone += 1,
                TaskEnd::Cancelled => sum.cancelled += 1,
                TaskEnd::Failed => sum.failed += 1,
                TaskEnd::Finished => sum.finished += 1,
                TaskEnd::Open => sum.open += 1,
            }
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_task_that_waits_for_its_retry_is_open() {
        assert_eq!(TaskEnd::of(&[TaskState::Todo, TaskState::Failed]), TaskEnd::Open);
        assert_eq!(TaskEnd::of(&[TaskState::InProgress, TaskState::Failed]), TaskEnd::Open);
        assert_eq!(TaskEnd::of(&[TaskState::Failed]), TaskEnd::Failed);
        assert_eq!(TaskEnd::of(&[TaskState::Cancelled]), TaskEnd::Cancelled);
        assert_eq!(TaskEnd::of(&[TaskState::Finished, TaskState::Failed]), TaskEnd::Finished);
        assert_eq!(TaskEnd::of(&[]), TaskEnd::Gone);
    }

    #[test]
    fn each_task_counts_once_and_where_it_stands_last() {
        let id = TaskId::of;
        let mut members = TaskSet::new(["a", "b", "a", "c"].map(TaskId::of).to_vec());
        assert_eq!(members.len(), 3);
        assert!(members.contains("a") && !members.contains("d"));
        members.extend(vec![id("d"), id("a")]);
        let mut tally = members.tally();
        assert!(tally.note(id("a"), TaskEnd::Failed));
        assert!(!tally.note(id("a"), TaskEnd::Open), "it waits for its retry");
        assert!(!tally.note(id("a"), TaskEnd::Failed));
        assert!(tally.note(id("b"), TaskEnd::Finished));
        assert!(!tally.note(id("x"), TaskEnd::Finished), "none of ours");
        assert_eq!((tally.end_of(id("a")), tally.end_of(id("x"))), (Some(TaskEnd::Open), None));
        assert_eq!(tally.totals(), TallyTotals { gone: 2, cancelled: 0, failed: 0, finished: 1, open: 1 });
    }
}
