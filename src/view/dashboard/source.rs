//! The questions that pages ask of the queue on demand, beyond the latest snapshot.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::model::BatchName;
use crate::model::event::Event;
use crate::model::failure_cause::FailureDetail;
use crate::model::listing::{ClaimNote, PageCursor, TaskFilter, TaskPage};
use crate::model::snapshot::{BatchDetail, BatchList, FailureGroup, LimitView, RecentAttempts, Runnable, TaskView};
use crate::view::output_event::OutputStream;

/// An answer that is on its way.
pub type SourceFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// Reads the queue. Each call has a bounded cost.
pub trait QueueSource: Send + Sync + 'static {
    /// A page of tasks from a cursor on; it ends with what was found when this time is over.
    fn tasks<'a>(&'a self, filter: &'a TaskFilter, cursor: PageCursor, within: Duration) -> SourceFuture<'a, TaskPage>;

    /// What the configuration says of tasks.
    fn defaults(&self) -> TaskDefaults;

    /// Everything about the task with this line.
    fn task<'a>(&'a self, line: &'a str) -> SourceFuture<'a, Option<TaskSeen>>;

    /// The line with this id, 16 hex digits; `None` when there is none.
    fn line_of<'a>(&'a self, id: &'a str) -> SourceFuture<'a, Option<String>>;

    /// Ids and lines of the tasks whose ids begin so; of very many, some.
    fn lines_of<'a>(&'a self, beginning: &'a str) -> SourceFuture<'a, Vec<(String, String)>>;

    /// What the task with this line prints while it runs. Two connections while it is held.
    fn output(self: Arc<Self>, line: String) -> OutputStream;

    /// Every group of failures, largest first.
    fn failures(&self) -> SourceFuture<'_, Vec<(FailureGroup, FailureDetail)>>;

    /// The failures of a batch or a step, largest group first, of a bounded part of all failures; and whether that is all of them.
    fn failures_of<'a>(&'a self, batch: &'a BatchName) -> SourceFuture<'a, (Vec<FailureGroup>, bool)>;

    /// The attempts of the last minutes, as many as a bounded part of the event log tells of.
    fn recent(&self) -> SourceFuture<'_, RecentAttempts>;

    /// Batches, those that have not ended first: at most [`BATCHES`].
    fn batches(&self) -> SourceFuture<'_, BatchList>;

    /// A batch or a step with the first of its steps; `None` when nothing is known of it.
    fn batch<'a>(&'a self, name: &'a BatchName) -> SourceFuture<'a, Option<BatchDetail>>;

    /// The ids that the task with this line had before it was edited, the last one first.
    fn earlier_ids<'a>(&'a self, line: &'a str) -> SourceFuture<'a, Vec<String>>;

    /// Every limit that is set or that tasks name.
    fn limits(&self) -> SourceFuture<'_, Vec<LimitView>>;

    /// What may run now.
    fn runnable(&self) -> SourceFuture<'_, Runnable>;

    /// Events after an entry of the log, a page of them; without one the last, as many as the number says.
    fn events<'a>(&'a self, asked: &'a EventRange) -> SourceFuture<'a, EventPage>;
}

/// The entry after which to go on, and how many of the last events are wanted where there is none.
pub type EventRange = (Option<String>, usize);

/// Some events, oldest first, and the entry to go on after.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// The last entry that was read.
    pub next: String,
}

/// What the configuration says of tasks that say nothing themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskDefaults {
    /// Their time limit in seconds; 0 is none.
    pub timeout_seconds: u64,
    /// Failed attempts after which a task is out of retries.
    pub most_attempts: u32,
}

/// A task, and the claim of the worker that has it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSeen {
    /// What is known of it.
    pub task: TaskView,
    /// Its claim, while one of our workers has it in progress.
    pub claim: Option<ClaimNote>,
}

/// Batches that are shown.
pub const BATCHES: usize = 500;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Redis is away or refuses.
    #[error("Redis did not answer: {0}")]
    Unavailable(String),
    /// Too many ask at once.
    #[error("too many requests at once; try again in a moment")]
    Busy,
}

/// Whether this has the form of an id that [`QueueSource::line_of`] may be asked for.
pub(super) fn is_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
