//! The tasks of a command line, and what became of each: eight bytes and one a task, so that a million of them take nine megabytes.

use crate::model::TaskId;

/// The tasks, by id.
pub(crate) struct Members {
    /// Sorted, each once.
    ids: Vec<TaskId>,
}

/// Where a task stands; a later one outranks an earlier one, since a failed task that waits for its retry is in two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// Nowhere.
    Gone,
    /// Out of retries.
    Failed,
    /// Finished.
    Finished,
    /// Waiting or running.
    Open,
}

impl Members {
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
    pub(crate) fn tally(&self) -> Tally<'_> {
        Tally { members: self, ends: vec![End::Gone; self.ids.len()] }
    }
}

/// What became of each.
pub(crate) struct Tally<'a> {
    members: &'a Members,
    ends: Vec<End>,
}

/// How many ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Nowhere: somebody purged them.
    pub(crate) gone: u64,
    /// Out of retries.
    pub(crate) failed: u64,
    /// Finished.
    pub(crate) finished: u64,
    /// Waiting or running.
    pub(crate) open: u64,
}

impl Tally<'_> {
    /// Notes where a task stands; true the first time that one of ours is met.
    pub(crate) fn note(&mut self, id: TaskId, end: End) -> bool {
        let Some(known) = self.members.ids.binary_search(&id).ok().and_then(|at| self.ends.get_mut(at)) else {
            return false;
        };
        let is_first = *known == End::Gone;
        *known = end.max(*known);
        is_first
    }

    /// Where a task was noted to stand; `None` for one that is not ours.
    pub(crate) fn end_of(&self, id: TaskId) -> Option<End> {
        self.members.ids.binary_search(&id).ok().and_then(|at| self.ends.get(at)).copied()
    }

    /// The sums.
    pub(crate) fn totals(&self) -> Totals {
        self.ends.iter().fold(Totals::default(), |mut sum, end| {
            match end {
                End::Gone => sum.gone += 1,
                End::Failed => sum.failed += 1,
                End::Finished => sum.finished += 1,
                End::Open => sum.open += 1,
            }
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_counts_once_and_where_it_stands_last() {
        let id = TaskId::of;
        let mut members = Members::new(["a", "b", "a", "c"].map(TaskId::of).to_vec());
        assert_eq!(members.len(), 3);
        assert!(members.contains("a") && !members.contains("d"));
        members.extend(vec![id("d"), id("a")]);
        let mut tally = members.tally();
        assert!(tally.note(id("a"), End::Failed));
        assert!(!tally.note(id("a"), End::Open), "it waits for its retry");
        assert!(!tally.note(id("a"), End::Failed));
        assert!(tally.note(id("b"), End::Finished));
        assert!(!tally.note(id("x"), End::Finished), "none of ours");
        assert_eq!((tally.end_of(id("a")), tally.end_of(id("x"))), (Some(End::Open), None));
        assert_eq!(tally.totals(), Totals { gone: 2, failed: 0, finished: 1, open: 1 });
    }
}
