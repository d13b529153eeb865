//! Lists of tasks a page at a time, for a person, in the order that means something: what waits as it will be claimed, what has ended with the newest
//! first. Each page has a bounded cost for the server and the network at any depth of the queue: it is over when it is full, or when its time is.

mod collector;
mod details;
mod failed;
mod finished;
mod running;
mod scan;
mod waiting;

use std::time::Duration;

use self::collector::Collector;
use super::client::Connection;
use super::error::QueueError;
use crate::model::listing::{ClaimNote, PageCursor, PageOrder, TaskFilter, TaskPage};
use crate::model::snapshot::TaskState;

pub use crate::model::listing::PATIENCE;

/// The next tasks that match, from a cursor on.
///
/// Few match where a filter is narrow: when `within` is over, the page ends with what was found so far, and its cursor goes on.
///
/// # Errors
/// Those of any call.
pub async fn page(
    conn: &Connection,
    filter: &TaskFilter,
    cursor: PageCursor,
    within: Duration,
) -> Result<TaskPage, QueueError> {
    let mut found = Collector::new(filter, within);
    let mut next = Some(cursor);
    let mut is_scanned = false;
    while let Some(at) = next {
        let before = found.len();
        next = step(conn, &mut found, at).await?;
        is_scanned |= matches!(at, PageCursor::Scan(..)) && found.len() > before;
        if found.is_full() {
            break;
        }
    }
    let order = match filter.state {
        TaskState::InProgress => PageOrder::None,
        TaskState::Todo if cursor_is_scan(cursor) => PageOrder::None,
        TaskState::Todo => PageOrder::Claims,
        TaskState::Finished | TaskState::Failed | TaskState::Cancelled => {
            // Of few tasks all are here.
            let is_all = cursor == PageCursor::Start && next.is_none();
            if is_all && is_scanned {
                found.sort_by_end();
            }
            if is_scanned && !is_all { PageOrder::None } else { PageOrder::NewestFirst }
        }
    };
    Ok(found.into_page(next, order))
}

fn cursor_is_scan(cursor: PageCursor) -> bool {
    matches!(cursor, PageCursor::Scan(..))
}

/// The claim of a line in progress; `None` when this worker is none of ours, or holds it no more.
///
/// # Errors
/// Those of any call.
pub async fn claim_of(conn: &Connection, line: &str, worker: &str) -> Result<Option<ClaimNote>, QueueError> {
    running::claim(conn, line, worker).await
}

/// One step; answers where the next begins.
async fn step(conn: &Connection, found: &mut Collector, cursor: PageCursor) -> Result<Option<PageCursor>, QueueError> {
    if let PageCursor::Scan(at, shown) = cursor {
        return scan::step(conn, found, at, shown).await;
    }
    match found.state() {
        TaskState::Todo => waiting::step(conn, found, cursor).await,
        TaskState::InProgress => running::all(conn, found).await,
        TaskState::Finished => finished::step(conn, found, cursor).await,
        TaskState::Failed | TaskState::Cancelled => failed::step(conn, found, cursor).await,
    }
}
