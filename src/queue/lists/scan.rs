//! Goes through the hashes of a state, in no order: for what no index has, as what Python workers ended, or what ended before the index was kept.

use std::collections::HashMap;

use super::super::batches::members;
use super::super::client::{Connection, ScanPage};
use super::super::error::QueueError;
use super::super::homes::keys_of;
use super::super::keys::{Key, home};
use super::collector::{Collector, READ_AT_MOST};
use super::details::{self, workers_of};
use crate::model::listing::{PageCursor, TaskRow, WaitingPlace};
use crate::model::snapshot::TaskState;
use crate::model::{FieldOrder, Needs, Outcome, TaskLine};

/// Of the cursor of a page that goes on in the second hash of a state. Those of the server are far smaller.
const IN_SECOND: u64 = 1 << 63;

/// Entries that a step looks at where each may be large.
const STEP_LARGE: usize = 4;

/// One step from this cursor of the server on. `shown` is the moment, in milliseconds, after which all that ended was shown already; 0 for none.
pub(super) async fn step(
    conn: &Connection,
    found: &mut Collector,
    cursor: u64,
    shown: u64,
) -> Result<Option<PageCursor>, QueueError> {
    found.is_scanning = true;
    let state = found.state();
    let keys = keys_of(state);
    let at = usize::from(cursor & IN_SECOND != 0).min(keys.len() - 1);
    let (next, entries): ScanPage = conn
        .cmd(redis::cmd("HSCAN").arg(conn.name(keys[at])).arg(cursor & !IN_SECOND).arg("COUNT").arg(length(found)))
        .await?;
    let next = match (next, at) {
        (0, 0) if keys.len() > 1 => Some(IN_SECOND),
        (0, _) => None,
        (next, 0) => Some(next),
        (next, _) => Some(next | IN_SECOND),
    };
    found.looked(entries.len(), entries.iter().map(|(line, value)| line.len() + value.len()).sum());
    let rows: Vec<TaskRow> = entries.iter().filter_map(|(line, value)| row(found, line, value)).collect();
    let rows = match state {
        TaskState::Todo => unindexed(conn, rows).await?,
        TaskState::InProgress => rows,
        TaskState::Finished => {
            let mut rows = rows;
            details::ends(conn, found, &mut rows).await?;
            rows.retain(|row| shown == 0 || row.end.as_ref().is_none_or(|end| end.at * 1000.0 < shown as f64));
            rows
        }
        TaskState::Failed | TaskState::Cancelled => {
            let rows = details::failures(conn, found, rows).await?;
            let mut rows = if shown == 0 { rows } else { without_shown(conn, rows).await? };
            details::ends(conn, found, &mut rows).await?;
            rows
        }
    };
    found.add(conn, rows).await?;
    Ok(next.map(|next| PageCursor::Scan(next, shown)))
}

/// As many as the budget for bytes allows, going by what was met so far; results may be large.
fn length(found: &Collector) -> usize {
    let mean = found.mean_bytes();
    let affordable = (READ_AT_MOST / 4) / (mean + 1);
    match (found.state(), mean) {
        (TaskState::Finished, 0) => STEP_LARGE,
        _ => found.step().min(affordable).max(1),
    }
}

/// The row of an entry that can be wanted, as far as the entry itself tells.
fn row(found: &Collector, line: &[u8], value: &[u8]) -> Option<TaskRow> {
    let state = found.state();
    let line = std::str::from_utf8(line).ok()?;
    if state == TaskState::Cancelled && value != Outcome::CANCELLED_GROUP.as_bytes() {
        return None;
    }
    let row = found.row(line)?;
    let workers = workers_of(state, value);
    // Those of a cancelled one are looked up.
    (state == TaskState::Cancelled || found.wants_workers(&workers)).then_some(TaskRow { workers, ..row })
}

/// Without the failures that a set of their group has.
async fn without_shown(conn: &Connection, rows: Vec<TaskRow>) -> Result<Vec<TaskRow>, QueueError> {
    if rows.is_empty() {
        return Ok(rows);
    }
    let mut pipe = redis::pipe();
    for row in &rows {
        let kind = row.kind.as_deref().unwrap_or_default();
        pipe.zscore(format!("{}{kind}", conn.name(Key::KindsOf)), &row.line);
    }
    let shown: Vec<Option<f64>> = conn.pipe(&pipe).await?;
    Ok(rows.into_iter().zip(shown).filter(|(_, shown)| shown.is_none()).map(|(row, _)| row).collect())
}

/// Those that wait and that no worker has found yet.
async fn unindexed(conn: &Connection, rows: Vec<TaskRow>) -> Result<Vec<TaskRow>, QueueError> {
    if rows.is_empty() {
        return Ok(rows);
    }
    let order: Option<String> = conn.cmd(redis::cmd("GET").arg(conn.name(Key::FieldOrder))).await?;
    let order: FieldOrder = order.and_then(|order| order.parse().ok()).unwrap_or_default();
    let lines: Vec<String> = rows.iter().map(|row| row.line.clone()).collect();
    let batches: HashMap<usize, String> = members(conn, &lines)
        .await?
        .into_iter()
        .enumerate()
        .filter_map(|(at, member)| Some((at, member?.names.first()?.top().to_string())))
        .collect();
    let ready = conn.name(Key::Ready);
    let mut pipe = redis::pipe();
    for (at, line) in lines.iter().enumerate() {
        let class = TaskLine::parse(line, order).map(|parsed| parsed.class().to_string()).unwrap_or_default();
        let batch = batches.get(&at).map(String::as_str).unwrap_or_default();
        pipe.hexists(conn.name(Key::Held), line);
        pipe.zscore(format!("{ready}c:{class}:"), line).zscore(format!("{ready}c:{class}{batch}:"), line);
        pipe.hexists(conn.name(home(line)), line);
    }
    let found: Vec<(bool, Option<f64>, Option<f64>, bool)> = conn.pipe(&pipe).await.map(in_fours)?;
    let is_new = |(is_held, plain, lane, waits): &(bool, Option<f64>, Option<f64>, bool)| {
        *waits && !is_held && plain.is_none() && lane.is_none()
    };
    let rows = rows.into_iter().zip(found).filter(|(row, found)| is_new(found) && !is_gated(&row.line));
    Ok(rows.map(|(row, _)| TaskRow { place: Some(WaitingPlace::Unindexed), ..row }).collect())
}

/// Whether it may stand behind a gate, where it was listed already.
fn is_gated(line: &str) -> bool {
    !Needs::of_line(line).gates().is_empty()
}

fn in_fours(values: Vec<redis::Value>) -> Vec<(bool, Option<f64>, Option<f64>, bool)> {
    values
        .chunks(4)
        .map(|four| {
            let read = |at: usize| four.get(at).cloned().unwrap_or(redis::Value::Nil);
            let flag = |at: usize| redis::from_redis_value::<bool>(read(at)).unwrap_or(false);
            let score = |at: usize| redis::from_redis_value::<Option<f64>>(read(at)).unwrap_or(None);
            (flag(0), score(1), score(2), flag(3))
        })
        .collect()
}
