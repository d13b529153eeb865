//! Follows the event log of the private server, and keeps where each task of the command line stands.

use crate::cli::exit::CliError;
use crate::cli::task_set::{TaskEnd, TaskSet, TaskTally};
use crate::model::TaskId;
use crate::model::event::Event;
use crate::model::snapshot::TaskState;
use crate::policy::halt::RunEnds;
use crate::queue::select::StateScan;
use crate::queue::{Connection, QueueError, events};

/// The ends of this command line's tasks: others that share the queue do not count.
pub(super) struct RunEndCounter<'a> {
    /// The entry of the event log up to which it knows all.
    entry: String,
    tally: TaskTally<'a>,
    /// Tasks that had ended before the run, or have by now.
    ended: u64,
    /// What has ended in this run.
    ends: RunEnds,
    /// How many tasks the run began with.
    open: u64,
}

impl<'a> RunEndCounter<'a> {
    /// Counts from `entry` on. `has_ended`: some of the tasks had ended before.
    pub(super) async fn new(
        conn: &Connection,
        entry: String,
        members: &'a TaskSet,
        has_ended: bool,
    ) -> Result<Self, CliError> {
        if !has_ended {
            let tally = members.tally_at(TaskEnd::Open);
            return Ok(Self { entry, tally, ended: 0, ends: RunEnds::default(), open: members.len() });
        }
        // What neither waits nor runs has ended; how does not matter here.
        let mut tally = members.tally_at(TaskEnd::Finished);
        let mut open = 0;
        for state in [TaskState::Todo, TaskState::InProgress] {
            let mut scan = StateScan::new(state);
            while let Some(page) = scan.next(conn).await? {
                let before = page.iter().filter_map(|entry| tally.set(TaskId::of(&entry.line), TaskEnd::Open));
                open += before.filter(|before| *before != TaskEnd::Open).count() as u64;
            }
        }
        Ok(Self { entry, tally, ended: members.len() - open, ends: RunEnds::default(), open })
    }

    /// Whether a task had ended before the run, as long as nothing has been read of the log.
    pub(super) fn has_ended(&self, id: TaskId) -> bool {
        self.tally.end_of(id).is_some_and(|end| end != TaskEnd::Open)
    }

    /// Reads what is new in the log to its end; answers which tasks have ended, each as often as it has.
    pub(super) async fn poll(&mut self, conn: &Connection, new: &mut Vec<TaskId>) -> Result<(), QueueError> {
        loop {
            let (entry, page) = events::after(conn, &self.entry).await?;
            if entry == self.entry {
                return Ok(());
            }
            self.entry = entry;
            new.extend(page.iter().filter_map(|event| self.note(event)));
        }
    }

    fn note(&mut self, event: &Event) -> Option<TaskId> {
        let end = match event.event.as_str() {
            "finished" => TaskEnd::Finished,
            "failed" if event.will_retry == Some(false) => TaskEnd::Failed,
            "cancelled" => TaskEnd::Cancelled,
            "purged" => TaskEnd::Gone,
            "requeued" => TaskEnd::Open,
            _ => return None,
        };
        let id = TaskId::parse(event.id.as_deref()?)?;
        let before = self.tally.set(id, end)?;
        let is_end = matches!(end, TaskEnd::Finished | TaskEnd::Failed | TaskEnd::Cancelled);
        match (before == TaskEnd::Open, end == TaskEnd::Open) {
            (true, false) => self.ended += 1,
            (false, true) => self.ended = self.ended.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
        if before == TaskEnd::Open {
            self.ends.finished += u64::from(end == TaskEnd::Finished);
            self.ends.failed += u64::from(end == TaskEnd::Failed);
            self.ends.cancelled += u64::from(end == TaskEnd::Cancelled);
        }
        is_end.then_some(id)
    }

    /// What has ended in this run.
    pub(super) fn ends(&self) -> RunEnds {
        self.ends
    }

    /// Tasks of the command line that have ended, in earlier runs too.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// How many tasks the run began with.
    pub(super) fn open(&self) -> u64 {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: &str, line: &str) -> Event {
        let will_retry = (what == "failed").then_some(false);
        Event { event: what.to_owned(), id: Some(TaskId::of(line).to_string()), will_retry, ..Event::default() }
    }

    #[test]
    fn only_the_command_lines_tasks_count_and_each_once() {
        let members = TaskSet::new(["a", "b", "c"].map(TaskId::of).to_vec());
        let tally = members.tally_at(TaskEnd::Open);
        let mut counter = RunEndCounter { entry: String::new(), tally, ended: 0, ends: RunEnds::default(), open: 3 };
        assert_eq!(counter.note(&event("finished", "a")), Some(TaskId::of("a")));
        assert_eq!(counter.note(&event("finished", "x")), None, "of another command line");
        assert_eq!(counter.note(&Event { will_retry: Some(true), ..event("failed", "b") }), None);
        assert_eq!(counter.note(&event("failed", "b")), Some(TaskId::of("b")));
        assert_eq!(counter.note(&event("started", "c")), None);
        assert_eq!((counter.ends(), counter.ended()), (RunEnds { finished: 1, failed: 1, cancelled: 0 }, 2));
        // Run again after a crash of the server has lost its end.
        assert_eq!(counter.note(&event("finished", "a")), Some(TaskId::of("a")));
        assert_eq!((counter.ends(), counter.ended()), (RunEnds { finished: 1, failed: 1, cancelled: 0 }, 2));
        assert_eq!(counter.note(&event("requeued", "b")), None);
        assert_eq!(counter.ended(), 1);
        assert_eq!(counter.note(&event("finished", "b")), Some(TaskId::of("b")));
        assert_eq!((counter.ends(), counter.ended()), (RunEnds { finished: 2, failed: 1, cancelled: 0 }, 2));
        assert_eq!(counter.note(&event("cancelled", "c")), Some(TaskId::of("c")));
        assert_eq!((counter.ends(), counter.ended()), (RunEnds { finished: 2, failed: 1, cancelled: 1 }, 3));
    }
}
