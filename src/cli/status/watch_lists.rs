//! The lists of `watch` of which only a part is read: what waits, and what has finished.

use crate::model::FieldOrder;
use crate::model::listing::TaskFilter;
use crate::model::snapshot::TaskState;
use crate::queue::{Connection, QueueError, browse, inspect};
use crate::view::watch::{ListedTask, ListedTasks};

/// Some tasks that wait.
///
/// # Errors
/// Those of any call.
pub(super) async fn waiting(conn: &Connection, order: FieldOrder) -> Result<ListedTasks, QueueError> {
    let page = browse::page(conn, &TaskFilter::all(TaskState::Todo), 0).await?;
    let rows = page.rows.into_iter().map(|row| ListedTask::waiting(row, order)).collect();
    Ok(ListedTasks { rows, has_more: page.next.is_some() })
}

/// Some tasks that have finished.
///
/// # Errors
/// Those of any call.
pub(super) async fn finished(conn: &Connection) -> Result<ListedTasks, QueueError> {
    let page = browse::page(conn, &TaskFilter::all(TaskState::Finished), 0).await?;
    let lines: Vec<String> = page.rows.iter().map(|row| row.line.clone()).collect();
    let attempts = inspect::attempts(conn, &lines).await?;
    let rows =
        page.rows.into_iter().zip(attempts).map(|(row, attempts)| ListedTask::finished(row, &attempts)).collect();
    Ok(ListedTasks { rows, has_more: page.next.is_some() })
}
