//! The history of the queue: a capped stream with a row a minute, for two weeks. The workers write it, since they are there all the time and may
//! write; who shows it only reads.
//!
//! The id of an entry is the beginning of its minute. Redis takes no id twice, so that of several writers the first one wins, and a write whose
//! answer was lost may be repeated.

use std::collections::HashMap;

use redis::Value;

use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::{browse, inspect};
use crate::model::snapshot::HistoryRow;

/// Rows of one answer.
const PAGE: usize = 1440;

/// An entry this much later than now is from before the server's clock was set back, and would keep every row out until then.
const AHEAD_SECONDS: u64 = 600;

/// The fields of an entry, each with its place in a row.
type Field = (&'static str, fn(&mut HistoryRow) -> &mut u64);
const FIELDS: [Field; 8] = [
    ("todo", |row| &mut row.todo),
    ("running", |row| &mut row.running),
    ("failed", |row| &mut row.failed),
    ("workers", |row| &mut row.workers),
    ("slots", |row| &mut row.slots),
    ("finished", |row| &mut row.finished_total),
    ("failures", |row| &mut row.failed_total),
    ("sequence", |row| &mut row.sequence),
];

/// Writes the row of this minute if nobody has; answers whether it did. A failure leaves the minute without a row.
///
/// # Errors
/// Those of any call.
pub async fn write(conn: &Connection) -> Result<bool, QueueError> {
    let (now, _): (u64, u64) = conn.cmd(&redis::cmd("TIME")).await?;
    let newest = newest(conn).await?;
    if newest.is_some_and(|newest| newest / 60 == now / 60) {
        return Ok(false);
    }
    if newest.is_some_and(|newest| newest > now + AHEAD_SECONDS) {
        let _: u64 = conn.cmd(redis::cmd("UNLINK").arg(conn.name(Key::History))).await?;
    }
    let overview = inspect::overview(conn).await?;
    let mut row = HistoryRow::of(&overview, browse::sequence(conn).await?);
    let mut cmd = redis::cmd("XADD");
    cmd.arg(conn.name(Key::History)).arg("MAXLEN").arg("~").arg(HistoryRow::KEPT);
    cmd.arg(format!("{}-0", row.at / 60 * 60_000));
    for (name, place) in FIELDS {
        cmd.arg(name).arg(*place(&mut row));
    }
    match conn.cmd::<String>(&cmd).await {
        Ok(_) => Ok(true),
        // Another worker was first.
        Err(QueueError::PassedId) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The minute of the newest row.
async fn newest(conn: &Connection) -> Result<Option<u64>, QueueError> {
    let mut cmd = redis::cmd("XREVRANGE");
    cmd.arg(conn.name(Key::History)).arg("+").arg("-").arg("COUNT").arg(1);
    let entries: Vec<Value> = conn.cmd(&cmd).await?;
    Ok(rows(entries).first().map(|row| row.at))
}

/// Rows after a moment, seconds since the epoch, oldest first: at most a day of them. Empty at the end.
///
/// # Errors
/// Those of any call.
pub async fn after(conn: &Connection, at: u64) -> Result<Vec<HistoryRow>, QueueError> {
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(conn.name(Key::History)).arg(format!("({}-0", at.saturating_mul(1000))).arg("+").arg("COUNT").arg(PAGE);
    Ok(rows(conn.cmd(&cmd).await?))
}

/// The rows of entries; one that cannot be read is left out.
fn rows(entries: Vec<Value>) -> Vec<HistoryRow> {
    entries.into_iter().filter_map(row).collect()
}

fn row(entry: Value) -> Option<HistoryRow> {
    let (id, values): (String, HashMap<String, String>) = redis::from_redis_value(entry).ok()?;
    let ms: u64 = id.split('-').next()?.parse().ok()?;
    let mut row = HistoryRow { at: ms / 1000, ..HistoryRow::default() };
    for (name, place) in FIELDS {
        *place(&mut row) = values.get(name).and_then(|value| value.parse().ok()).unwrap_or_default();
    }
    Some(row)
}
