//! Reads the event log: a capped stream to which each script adds at most one entry per call, last, and without ever making the call fail.
//!
//! It holds about the last 100,000 calls, or 16 MiB of them, whichever is less; a submission or an operator's change of many lines is one event with their
//! number. What the entries look like is in [`crate::model::event`], how they are written at `events_flush` in `lua/shared/events.lua`.

use std::borrow::Cow;

use redis::Value;

use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use crate::model::event::{Event, expand};
use crate::model::{BatchName, WorkerName};

/// Entries read in one call.
const PAGE: usize = 200;

/// As in `lua/shared/events.lua`.
const MOST_ENTRIES: usize = 100_000;

/// As in `lua/shared/events.lua`.
const MOST_BYTES: u64 = 16 << 20;

/// How long one call waits for something new; less than any response time-out.
const BLOCK_MS: usize = 1000;

/// The entry before the first.
pub const BEGINNING: &str = "0-0";

/// A longer line, or one with a control character, is in the log by its SHA-1 and its beginning; as `brief` in `lua/shared/events.lua`.
const LONGEST: usize = 200;

/// What `submit.lua` tells of what it added, for where the script cannot run. Failing, it fails nothing, as there.
pub(super) async fn tell_submitted(conn: &Connection, added: u64, first: &str, last: &str) {
    if added > 0 {
        note(conn, &format!("A\tsubmitted\t{added}\t{}\t{}", brief(first), brief(last))).await;
    }
}

fn brief(line: &str) -> Cow<'_, str> {
    if line.len() <= LONGEST && !line.contains(|c: char| c.is_ascii_control()) {
        return line.into();
    }
    let head: String = line.chars().take(80).map(|c| if c.is_ascii_control() { ' ' } else { c }).collect();
    // A script goes by the SHA-1 of its text, whatever the text is.
    format!("\u{1}{}{head}", redis::Script::new(line).get_hash()).into()
}

/// The last `limit` events, oldest first; 0 = none. Bounded by what the log holds.
///
/// # Errors
/// Those of any call.
pub async fn last(conn: &Connection, limit: usize) -> Result<Vec<Event>, QueueError> {
    let mut found: Vec<Vec<Event>> = Vec::new();
    let (mut count, mut before) = (0, "+".to_owned());
    while count < limit {
        let mut cmd = redis::cmd("XREVRANGE");
        cmd.arg(conn.name(Key::Events)).arg(&before).arg("-").arg("COUNT").arg(PAGE);
        let page = entries(conn.cmd(&cmd).await?);
        let Some((first, _)) = page.last() else { break };
        before = format!("({first}");
        let is_last = page.len() < PAGE;
        for (id, text) in page {
            let events = expand(&id, &text);
            count += events.len();
            found.push(events);
            if count >= limit {
                break;
            }
        }
        if is_last {
            break;
        }
    }
    let mut events: Vec<Event> = found.into_iter().rev().flatten().collect();
    events.drain(..events.len().saturating_sub(limit));
    Ok(events)
}

/// The events after an entry, a page of them, and the entry to go on after; [`BEGINNING`] is the oldest there is. Empty at the end.
///
/// # Errors
/// Those of any call.
pub async fn after(conn: &Connection, entry: &str) -> Result<(String, Vec<Event>), QueueError> {
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(conn.name(Key::Events)).arg(format!("({entry}")).arg("+").arg("COUNT").arg(PAGE);
    Ok(expand_all(entry, &entries(conn.cmd(&cmd).await?)))
}

/// What a reader asks for who comes back again and again: the events [`after`] an entry, or without one the last `limit`, and the entry to go on
/// after.
///
/// # Errors
/// Those of any call.
pub async fn page(conn: &Connection, entry: Option<&str>, limit: usize) -> Result<(String, Vec<Event>), QueueError> {
    if let Some(entry) = entry {
        return after(conn, entry).await;
    }
    let events = last(conn, limit).await?;
    let next = events.last().map_or_else(|| BEGINNING.to_owned(), |event| event.entry.clone());
    Ok((next, events))
}

/// A few entries before one, or the newest: the oldest of them to go on with, and their events, oldest first. `None` where there are no older ones.
///
/// # Errors
/// Those of any call.
pub(super) async fn before(
    conn: &Connection,
    entry: Option<&str>,
    few: usize,
) -> Result<(Option<String>, Vec<Event>), QueueError> {
    let end = entry.map_or_else(|| "+".to_owned(), |entry| format!("({entry}"));
    let mut cmd = redis::cmd("XREVRANGE");
    cmd.arg(conn.name(Key::Events)).arg(end).arg("-").arg("COUNT").arg(few);
    let page = entries(conn.cmd(&cmd).await?);
    let oldest = page.last().filter(|_| page.len() == few).map(|(id, _)| id.clone());
    Ok((oldest, page.iter().rev().flat_map(|(id, text)| expand(id, text)).collect()))
}

/// As [`after`], and waits for up to a second where there is nothing yet. Use a connection on which nobody else waits for answers.
///
/// # Errors
/// Those of any call; the same entry can be asked for again on a new connection.
pub async fn wait_after(conn: &Connection, entry: &str) -> Result<(String, Vec<Event>), QueueError> {
    let mut cmd = redis::cmd("XREAD");
    cmd.arg("COUNT").arg(PAGE).arg("BLOCK").arg(BLOCK_MS).arg("STREAMS").arg(conn.name(Key::Events)).arg(entry);
    let streams: Vec<Value> = conn.cmd::<Option<Vec<Value>>>(&cmd).await?.unwrap_or_default();
    // One stream was asked for: its name, then its entries.
    let page = match streams.into_iter().next() {
        Some(Value::Array(stream)) => stream.into_iter().nth(1).map(of_value).unwrap_or_default(),
        _ => Vec::new(),
    };
    Ok(expand_all(entry, &page))
}

/// The newest entry, to follow from; [`BEGINNING`] where there is none.
///
/// # Errors
/// Those of any call.
pub async fn newest(conn: &Connection) -> Result<String, QueueError> {
    let mut cmd = redis::cmd("XREVRANGE");
    cmd.arg(conn.name(Key::Events)).arg("+").arg("-").arg("COUNT").arg(1);
    let page = entries(conn.cmd(&cmd).await?);
    Ok(page.into_iter().next().map_or_else(|| BEGINNING.to_owned(), |(id, _)| id))
}

fn expand_all(entry: &str, page: &[(String, String)]) -> (String, Vec<Event>) {
    let next = page.last().map_or_else(|| entry.to_owned(), |(id, _)| id.clone());
    (next, page.iter().flat_map(|(id, text)| expand(id, text)).collect())
}

/// Ids and texts; an entry that others have written otherwise is empty, and so no event.
fn entries(rows: Vec<Value>) -> Vec<(String, String)> {
    rows.into_iter()
        .filter_map(|row| {
            let Value::Array(row) = row else { return None };
            let mut row = row.into_iter();
            let id = text_of(row.next()?)?;
            let Some(Value::Array(fields)) = row.next() else { return Some((id, String::new())) };
            let text = fields.into_iter().nth(1).and_then(text_of).unwrap_or_default();
            Some((id, text))
        })
        .collect()
}

fn of_value(value: Value) -> Vec<(String, String)> {
    if let Value::Array(rows) = value { entries(rows) } else { Vec::new() }
}

fn text_of(value: Value) -> Option<String> {
    let Value::BulkString(bytes) = value else { return None };
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Notes something that an operator did to the queue. The deed is done: that the log did not take it is no error.
pub(super) async fn note_queue(conn: &Connection, what: &str, by: &str) {
    note(conn, &format!("Q\t{what}\t{}", in_log(by))).await;
}

/// As [`note_queue`], of a limit that was set.
pub(super) async fn note_limit(conn: &Connection, by: &str, limit: &str, most: &str) {
    note(conn, &format!("Q\tlimited\t{}\t{limit}\t{most}", in_log(by))).await;
}

/// As [`note_queue`], of a worker.
pub(super) async fn note_worker(conn: &Connection, what: &str, worker: &WorkerName, by: &str) {
    note(conn, &format!("W\t{what}\t{worker}\t{}", in_log(by))).await;
}

/// As [`note_queue`], of a batch.
pub(super) async fn note_batch(conn: &Connection, what: &str, batch: &BatchName, by: &str) {
    note(conn, &format!("B\t{what}\t{batch}\t{}", in_log(by))).await;
}

/// A name as the log can hold it.
fn in_log(by: &str) -> String {
    by.chars().filter(|c| !c.is_control()).take(200).collect()
}

async fn note(conn: &Connection, text: &str) {
    let mut cmd = redis::cmd("XADD");
    cmd.arg(conn.name(Key::Events)).arg("MAXLEN").arg("~").arg(MOST_ENTRIES).arg("*").arg("e").arg(text);
    if conn.cmd::<String>(&cmd).await.is_ok_and(|id| id.contains("00-")) {
        let _ = keep_small(conn).await;
    }
}

/// The bound in bytes, looked at in about one call of a hundred; as in `lua/shared/events.lua`.
async fn keep_small(conn: &Connection) -> Result<(), QueueError> {
    let key = conn.name(Key::Events);
    let used: Option<u64> = conn.cmd(redis::cmd("MEMORY").arg("USAGE").arg(&key).arg("SAMPLES").arg(20)).await?;
    if used.is_some_and(|used| used > MOST_BYTES) {
        let length: u64 = conn.cmd(redis::cmd("XLEN").arg(&key)).await?;
        let trim: u64 = conn.cmd(redis::cmd("XTRIM").arg(&key).arg("MAXLEN").arg("~").arg(length * 3 / 4)).await?;
        tracing::debug!(trim, "the event log was cut");
    }
    Ok(())
}
