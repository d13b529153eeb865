//! The tasks of the screens that read a part of a long list: what waits, and what has finished.

use crate::model::listing::TaskRow;
use crate::model::{FieldOrder, ResourceKind, TaskLine};

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub struct ListedTasks {
    /// The tasks.
    pub rows: Vec<ListedTask>,
    /// Whether there are more of them than these.
    pub has_more: bool,
}

/// A task of such a list. What is not known of it is `None`.
#[derive(Clone, Debug, Default)]
pub struct ListedTask {
    /// Its id.
    pub id: String,
    /// Its line.
    pub line: String,
    /// The worker that has finished it.
    pub worker: Option<String>,
    /// Its priority.
    pub prio: Option<u16>,
    /// How much it asks for of each of [`ResourceKind::ALL`], as numbers of their units.
    pub demand: Option<[f64; ResourceKind::ALL.len()]>,
    /// Attempts that have failed.
    pub failures: usize,
    /// When its last attempt ended, seconds since the epoch.
    pub ended: Option<f64>,
    /// Seconds that took.
    pub took: Option<f64>,
    /// Its peak memory in bytes.
    pub peak: Option<u64>,
}

impl ListedTask {
    /// One that waits.
    #[must_use]
    pub fn waiting(row: TaskRow, order: FieldOrder) -> Self {
        let parsed = TaskLine::parse(&row.line, order).ok();
        let shown = |task: &TaskLine| ResourceKind::ALL.map(|kind| kind.shown(task.demand().amounts.get(kind)));
        Self {
            prio: parsed.as_ref().map(TaskLine::prio),
            demand: parsed.as_ref().map(shown),
            failures: row.workers.len(),
            id: row.id,
            line: row.line,
            ..Self::default()
        }
    }

    /// One that has finished.
    #[must_use]
    pub fn finished(row: TaskRow) -> Self {
        let last = row.end.as_ref();
        Self {
            ended: last.map(|end| end.at),
            took: last.and_then(|end| end.took),
            peak: last.and_then(|end| end.peak_bytes),
            id: row.id,
            line: row.line,
            worker: row.workers.into_iter().next(),
            ..Self::default()
        }
    }
}
