//! What the pages ask of the queue on demand, beyond what the board shows.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::BoxStream;

use crate::model::listing::{TaskFilter, TaskPage};
use crate::model::snapshot::{FailureGroup, TaskView};

/// An answer that is on its way.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// What a task prints from now on, or from its start; it ends with the attempt, once its outcome is known. Dropped, nobody is followed any more.
pub type Printing = BoxStream<'static, Printed>;

/// A piece of [`Printing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Printed {
    /// It waits: nothing runs.
    Waits,
    /// It runs on this worker; what follows is from the beginning of that attempt.
    RunsOn(String),
    /// It has printed this.
    Output {
        /// On standard error, else on standard output.
        is_stderr: bool,
        /// Bytes before these that are not to be had any more.
        skipped: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Its worker, or Redis, answers again.
    Mended,
    /// This worker has not answered for seconds; it is asked again.
    Silent(String),
    /// Redis is away, for this reason; what follows goes on from here when it is back.
    Away(String),
}

/// Reads the queue. Each call has a bounded cost.
pub trait Source: Send + Sync + 'static {
    /// A page of tasks from a cursor on; 0 begins.
    fn tasks<'a>(&'a self, filter: &'a TaskFilter, cursor: u64) -> Asked<'a, TaskPage>;

    /// Everything about the task with this line.
    fn task<'a>(&'a self, line: &'a str) -> Asked<'a, Option<TaskView>>;

    /// The line with this id, 16 hex digits; `None` when there is none.
    fn line_of<'a>(&'a self, id: &'a str) -> Asked<'a, Option<String>>;

    /// What the task with this line prints while it runs. Two connections while it is held.
    fn output(self: Arc<Self>, line: String) -> Printing;

    /// Every group of failures, largest first.
    fn failures(&self) -> Asked<'_, Vec<FailureGroup>>;

    /// Seconds for which the longest-waiting task has waited, counted from the start of this process at the earliest; `None` when nothing waits.
    fn oldest_waiting(&self) -> Asked<'_, Option<f64>>;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Redis is away or refuses.
    #[error("Redis did not answer: {0}")]
    Unavailable(String),
    /// Too many ask at once.
    #[error("too many ask at once; try again in a moment")]
    Busy,
}
