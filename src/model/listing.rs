//! A page of tasks: the filter that a reader asks with, and the rows that it gets.

use std::time::Duration;

use super::BatchName;
use super::snapshot::TaskState;

/// How long a page of tasks may take that a person waits for.
pub const PATIENCE: Duration = Duration::from_millis(35);

/// Which tasks are wanted. All conditions hold at once; an absent one holds for every task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskFilter {
    /// The state they are in.
    pub state: TaskState,
    /// Text that the line holds, or `re:` and a regular expression.
    pub include: Option<String>,
    /// Text that the line does not hold, or the same.
    pub exclude: Option<String>,
    /// The worker that runs it, ended it, or that it failed on; compared whole.
    pub worker: Option<String>,
    /// The group of failures it belongs to.
    pub kind: Option<String>,
    /// What its failure has in common with others of its kind, as [`cause_of`](super::failure_cause::cause_of) says it.
    pub cause: Option<String>,
    /// The batch or the step that it belongs to.
    pub batch: Option<BatchName>,
    /// One of its tags.
    pub tag: Option<String>,
}

impl TaskFilter {
    /// All tasks of a state.
    #[must_use]
    pub fn all(state: TaskState) -> Self {
        Self { state, include: None, exclude: None, worker: None, kind: None, cause: None, batch: None, tag: None }
    }

    /// Whether anything but the state is asked for.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        self.kind.is_some() || self.is_searching()
    }

    /// Whether it asks for what no index has, so that tasks have to be looked at one by one.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        let is_of_text = self.include.is_some() || self.exclude.is_some() || self.cause.is_some();
        is_of_text || self.worker.is_some() || self.is_of_members()
    }

    /// Whether it asks for what only members of batches have.
    #[must_use]
    pub fn is_of_members(&self) -> bool {
        self.batch.is_some() || self.tag.is_some()
    }
}

/// One task in a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskRow {
    /// Its id.
    pub id: String,
    /// Its line.
    pub line: String,
    /// The worker that has it or finished it, or those that it failed on, with repeats.
    pub workers: Vec<String>,
    /// How it failed, where that is recorded.
    pub kind: Option<String>,
    /// Why the last attempt failed.
    pub reason: Option<String>,
    /// It has failed and waits to be tried again.
    pub will_retry: bool,
    /// Of one that waits: what for.
    pub place: Option<WaitingPlace>,
    /// Of one in progress: its claim.
    pub claim: Option<ClaimNote>,
    /// Of one that has ended: its last attempt.
    pub end: Option<EndNote>,
}

/// What a waiting task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingPlace {
    /// For a worker with room.
    Ready,
    /// For the end of its backoff, in so many seconds.
    Backoff(u64),
    /// For this batch or step.
    Batch(String),
    /// For this second since the epoch.
    Begin(u64),
    /// For its batch, which is held.
    Held(String),
    /// To be found by a worker: somebody else has put it there.
    Unindexed,
}

/// What is recorded of a claim.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimNote {
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Whether it has a slot; else it was claimed ahead and starts when one is free.
    pub has_slot: bool,
    /// When it was claimed, seconds since the epoch by the clock of Redis.
    pub since: Option<f64>,
}

/// How the last attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct EndNote {
    /// Attempt number, from 1.
    pub attempt: u32,
    /// In words: `exit 0`, `timed out after 300 s`, ….
    pub result: String,
    /// When, seconds since the epoch: by the clock of Redis, where that is recorded.
    pub at: f64,
    /// For how long it ran, seconds; `None` where it never started.
    pub took: Option<f64>,
    /// Peak memory in bytes.
    pub peak_bytes: Option<u64>,
}

/// In which order a page of tasks is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageOrder {
    /// None that means anything.
    #[default]
    None,
    /// That in which workers claim them, and after those what cannot be claimed yet.
    Claims,
    /// The last one to end first.
    NewestFirst,
}

/// Some tasks that match, and where to go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskPage {
    /// The tasks.
    pub rows: Vec<TaskRow>,
    /// Their order.
    pub order: PageOrder,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<PageCursor>,
    /// How many tasks were looked at for this page.
    pub looked_at: u64,
}

/// Where a page of tasks begins. A reader gets it with the page before, and knows nothing of what it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PageCursor {
    /// At the beginning.
    #[default]
    Start,
    /// In the lanes of what may be claimed, behind this score.
    Ready(u64),
    /// At this place among those in backoff.
    Delayed(u64),
    /// At this place behind this gate.
    Gated(u64, u64),
    /// At this place of this lane of a batch that is held.
    Parked(u64, u64),
    /// Among failures, at this moment in milliseconds, behind so many of that moment.
    Failed(u64, u64),
    /// Among what has finished: in this entry of the stream, behind so many of its lines.
    Finished(u64, u64, u64),
    /// In the hashes of the state, in no order, at this cursor of the server. What ended after the second number, milliseconds, was shown before.
    Scan(u64, u64),
}

impl std::fmt::Display for PageCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start => Ok(()),
            Self::Ready(score) => write!(f, "r{score}"),
            Self::Delayed(at) => write!(f, "d{at}"),
            Self::Gated(gate, at) => write!(f, "g{gate}.{at}"),
            Self::Parked(lane, at) => write!(f, "p{lane}.{at}"),
            Self::Failed(ms, behind) => write!(f, "f{ms}.{behind}"),
            Self::Finished(ms, number, behind) => write!(f, "e{ms}.{number}.{behind}"),
            Self::Scan(cursor, shown) => write!(f, "s{cursor}.{shown}"),
        }
    }
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCursor;

impl std::str::FromStr for PageCursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let mut letters = text.chars();
        let Some(kind) = letters.next() else { return Ok(Self::Start) };
        let numbers: Result<Vec<u64>, _> = letters.as_str().split('.').map(str::parse).collect();
        match (kind, numbers.map_err(|_| NoCursor)?.as_slice()) {
            ('r', [score]) => Ok(Self::Ready(*score)),
            ('d', [at]) => Ok(Self::Delayed(*at)),
            ('g', [gate, at]) => Ok(Self::Gated(*gate, *at)),
            ('p', [lane, at]) => Ok(Self::Parked(*lane, *at)),
            ('f', [ms, behind]) => Ok(Self::Failed(*ms, *behind)),
            ('e', [ms, number, behind]) => Ok(Self::Finished(*ms, *number, *behind)),
            ('s', [cursor, shown]) => Ok(Self::Scan(*cursor, *shown)),
            _ => Err(NoCursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        use PageCursor::{Delayed, Failed, Finished, Gated, Parked, Ready, Scan, Start};
        for cursor in [
            Start,
            Ready(1 << 52),
            Delayed(0),
            Gated(1, 2),
            Parked(3, 4),
            Failed(1_700_000_000_000, 5),
            Finished(1_700_000_000_000, 0, 7),
            Scan(u64::MAX, 0),
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["7", "x1", "r", "r-1", "r1.2", "e1.2", "s99999999999999999999.0", "g1.2.3", "ü1"] {
            assert_eq!(text.parse::<PageCursor>(), Err(NoCursor), "{text}");
        }
    }
}
