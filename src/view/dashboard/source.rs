//! What the pages ask of the queue on demand, beyond what the board shows.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::listing::{TaskFilter, TaskPage};
use crate::model::snapshot::{FailureGroup, TaskView};
use crate::view::printed::Printing;

/// An answer that is on its way.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

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
    #[error("too many requests at once; try again in a moment")]
    Busy,
}

/// Whether this has the form of an id that [`Source::line_of`] may be asked for.
pub(super) fn is_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
