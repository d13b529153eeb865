//! The lists of `watch` of which only a part is read: what waits, and what has finished.

use std::collections::{HashMap, HashSet};

use crate::model::listing::{PageCursor, TaskFilter};
use crate::model::snapshot::{Overview, TaskState};
use crate::model::{FieldOrder, TaskId};
use crate::queue::select::StateScan;
use crate::queue::{Connection, QueueError, lists};
use crate::view::watch::{ListedTask, ListedTasks};

/// Pages of tasks in progress that are looked through for lines at each reading.
const PAGES: usize = 50;

/// By their ids, the lines of running tasks of which heartbeats have only the beginning.
///
/// # Errors
/// Those of any call.
pub(super) async fn long_lines(conn: &Connection, overview: &Overview) -> Result<HashMap<String, String>, QueueError> {
    let running = overview.workers.iter().filter_map(|worker| worker.load.as_ref()).flat_map(|load| &load.tasks);
    let cut = running.filter(|task| task.line.len() >= CUT_FROM && TaskId::of(&task.line).to_string() != task.id);
    let mut wanted: HashSet<&str> = cut.map(|task| task.id.as_str()).collect();
    let (mut lines, mut scan) = (HashMap::new(), StateScan::new(TaskState::InProgress));
    for _ in 0..PAGES {
        if wanted.is_empty() {
            break;
        }
        let Some(page) = scan.next(conn).await? else { break };
        for entry in page {
            let id = TaskId::of(&entry.line).to_string();
            if wanted.remove(id.as_str()) {
                lines.insert(id, entry.line);
            }
        }
    }
    Ok(lines)
}

/// Bytes from which on a line may have been cut.
const CUT_FROM: usize = 200;

/// The first tasks that wait, in the order in which workers claim them.
///
/// # Errors
/// Those of any call.
pub(super) async fn waiting(conn: &Connection, order: FieldOrder) -> Result<ListedTasks, QueueError> {
    let page = lists::page(conn, &TaskFilter::all(TaskState::Todo), PageCursor::Start, lists::PATIENCE).await?;
    let rows = page.rows.into_iter().map(|row| ListedTask::waiting(row, order)).collect();
    Ok(ListedTasks { rows, has_more: page.next.is_some() })
}

/// The tasks that finished last, newest first.
///
/// # Errors
/// Those of any call.
pub(super) async fn finished(conn: &Connection) -> Result<ListedTasks, QueueError> {
    let page = lists::page(conn, &TaskFilter::all(TaskState::Finished), PageCursor::Start, lists::PATIENCE).await?;
    let rows = page.rows.into_iter().map(ListedTask::finished).collect();
    Ok(ListedTasks { rows, has_more: page.next.is_some() })
}
