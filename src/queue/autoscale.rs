//! What autoscalers leave in Redis: a lock for each name, and a record of how each stands. The allocations themselves are the provider's.

use std::collections::HashMap;
use std::time::Duration;

use super::client::Connection;
use super::error::QueueError;
use super::events;
use super::keys::Key;
use super::lock;
use super::lossy_string::{self, LossyString};
use crate::model::WorkerName;
use crate::model::snapshot::AutoscalerView;

/// A record that is older is removed by the next autoscaler that starts.
const KEPT_SECONDS: u64 = 7 * 86_400;

/// Takes the lock of a name for so long, or keeps it. `None` when we have it; otherwise who does.
///
/// # Errors
/// Those of any call; whether the lock is ours is then not known.
pub async fn lock(
    conn: &Connection,
    name: &WorkerName,
    holder: &str,
    time: Duration,
) -> Result<Option<String>, QueueError> {
    let key = format!("{}{name}", conn.name(Key::AutoscaleLocks));
    if lock::try_lock_name(conn, &key, holder, time).await? {
        return Ok(None);
    }
    let found: Option<LossyString> = conn.cmd(redis::cmd("GET").arg(&key)).await?;
    Ok(Some(found.map(|LossyString(holder)| holder).unwrap_or_default()))
}

/// Gives the lock back, if it is ours.
///
/// # Errors
/// Those of any call; the lock then expires.
pub async fn unlock(conn: &Connection, name: &WorkerName, holder: &str) -> Result<(), QueueError> {
    let key = format!("{}{name}", conn.name(Key::AutoscaleLocks));
    let found: Option<LossyString> = conn.cmd(redis::cmd("GET").arg(&key)).await?;
    if found.is_some_and(|LossyString(found)| found == holder) {
        let _: i64 = conn.cmd(redis::cmd("DEL").arg(&key)).await?;
    }
    Ok(())
}

/// How the autoscalers stand that have not ended by themselves, by name.
///
/// # Errors
/// Those of any call.
pub async fn at_work(conn: &Connection) -> Result<Vec<AutoscalerView>, QueueError> {
    let found = lossy_string::hash(conn.cmd(redis::cmd("HGETALL").arg(conn.name(Key::Autoscale))).await?);
    Ok(decode(&found).into_iter().filter(|view| !view.is_stopped).collect())
}

/// Writes how an autoscaler stands. `at` is set to the server's time.
///
/// # Errors
/// Those of any call.
pub async fn write(conn: &Connection, view: &AutoscalerView) -> Result<(), QueueError> {
    let (at, _): (u64, u64) = conn.cmd(&redis::cmd("TIME")).await?;
    let view = AutoscalerView { at, ..view.clone() };
    let json = serde_json::to_string(&view).map_err(|error| QueueError::Protocol(error.to_string()))?;
    let _: i64 = conn.cmd(redis::cmd("HSET").arg(conn.name(Key::Autoscale)).arg(&view.name).arg(json)).await?;
    Ok(())
}

/// The record of a name, if there is one; records that nobody has renewed for a week go.
///
/// # Errors
/// Those of any call.
pub async fn begin(conn: &Connection, name: &WorkerName) -> Result<Option<AutoscalerView>, QueueError> {
    let found = lossy_string::hash(conn.cmd(redis::cmd("HGETALL").arg(conn.name(Key::Autoscale))).await?);
    let (now, _): (u64, u64) = conn.cmd(&redis::cmd("TIME")).await?;
    for view in decode(&found).into_iter().filter(|view| now.saturating_sub(view.at) > KEPT_SECONDS) {
        let _: i64 = conn.cmd(redis::cmd("HDEL").arg(conn.name(Key::Autoscale)).arg(&view.name)).await?;
    }
    Ok(decode(&found).into_iter().find(|view| view.name == name.as_str()))
}

/// The records by name; what cannot be read is left out.
fn decode(found: &HashMap<String, String>) -> Vec<AutoscalerView> {
    let read = |(name, json): (&String, &String)| {
        let view: AutoscalerView = serde_json::from_str(json).ok()?;
        Some(AutoscalerView { name: name.clone(), ..view })
    };
    let mut all: Vec<AutoscalerView> = found.iter().filter_map(read).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Notes in the event log that an autoscaler has paused, or goes on.
pub async fn note(conn: &Connection, what: &str, name: &WorkerName) {
    events::note_queue(conn, what, name.as_str()).await;
}

/// Of these workers, those that are attached, or were and have run something.
///
/// # Errors
/// Those of any call.
pub async fn seen(conn: &Connection, names: &[String]) -> Result<Vec<bool>, QueueError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let totals = names.iter().flat_map(|name| ["finished", "failed", "returned"].map(|what| format!("{what}:{name}")));
    let mut pipe = redis::pipe();
    pipe.cmd("HMGET").arg(conn.name(Key::Workers)).arg(names);
    pipe.cmd("HMGET").arg(conn.name(Key::Died)).arg(names);
    pipe.cmd("HMGET").arg(conn.name(Key::Tally)).arg(totals.collect::<Vec<_>>());
    type Found = Vec<Option<LossyString>>;
    let (workers, died, totals): (Found, Found, Found) = conn.pipe(&pipe).await?;
    let is_seen = |at: usize| {
        let has = |list: &Found| list.get(at).is_some_and(Option::is_some);
        has(&workers) || has(&died) || totals.get(at * 3..at * 3 + 3).is_some_and(|of| of.iter().any(Option::is_some))
    };
    Ok((0..names.len()).map(is_seen).collect())
}
