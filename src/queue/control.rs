//! An operator's changes. Each line moves in one atomic step; running tasks are killed by their worker, whose result is refused from here on.

use std::time::{SystemTime, UNIX_EPOCH};

use super::client::{Args, Connection, Page};
use super::error::QueueError;
use super::events::{note_queue, note_worker};
use super::keys::{CLOSE, Key};
use super::scripts;
use super::session::{Demand, base_score, millis};
use crate::model::snapshot::TaskState;
use crate::model::{AttemptEnd, AttemptRecord, FieldOrder, TaskId, TaskLine, WorkerName};

/// How many lines one call changes at most.
pub const BATCH: usize = 100;

/// What to do with lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Back to todo; failures and results forgotten, evidence kept. Lines that only wait stay as they are.
    Requeue,
    /// To failed, reason `cancelled`. Finished ones stay as they are.
    Cancel,
    /// Gone everywhere.
    Purge,
}

/// What a change did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Lines changed.
    pub changed: u64,
    /// Of those, how many were running.
    pub running: u64,
}

/// Changes at most [`BATCH`] lines; `selected` passes over lines that have left that state since.
///
/// Atomic for the call; safe to repeat.
///
/// # Errors
/// Those of any call.
pub async fn change(
    conn: &Connection,
    change: Change,
    selected: Option<TaskState>,
    lines: &[String],
    order: FieldOrder,
    by: &WorkerName,
) -> Result<Changed, QueueError> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis);
    let mut args = Args::new();
    args.text(match change {
        Change::Requeue => "requeue",
        Change::Cancel => "cancel",
        Change::Purge => "purge",
    });
    args.text(selected.map_or("", TaskState::as_str));
    for line in lines.iter().take(BATCH) {
        let task = TaskLine::parse(line, order).ok();
        let class = task.as_ref().map(|task| Demand::of(task).class().to_string()).unwrap_or_default();
        let base = task.as_ref().map_or(0, |task| base_score(task.prio()));
        let record = AttemptRecord::bare(0, by.clone(), now_ms, AttemptEnd::Cancelled);
        let record = serde_json::to_string(&record).map_err(|error| QueueError::Protocol(error.to_string()))?;
        args.text(line).text(TaskId::of(line).to_string()).text(class).number(base).text(record);
    }
    let (changed, running): (u64, u64) = conn.script(&scripts::CONTROL, None, &args).await?;
    Ok(Changed { changed, running })
}

/// Removes some of the lines in quarantine, and says how many; 0 when there are none.
///
/// Safe to repeat.
///
/// # Errors
/// Those of any call.
pub async fn purge_quarantined(conn: &Connection) -> Result<u64, QueueError> {
    let key = conn.name(Key::Quarantine);
    let mut cursor = 0;
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(&key).arg(cursor).arg("COUNT").arg(BATCH);
        let (next, page): Page = conn.cmd(&scan).await?;
        let lines: Vec<&[u8]> = page.iter().map(|(line, _)| line.as_slice()).collect();
        if !lines.is_empty() {
            return conn.cmd(redis::cmd("HDEL").arg(&key).arg(lines)).await;
        }
        if next == 0 {
            return Ok(0);
        }
        cursor = next;
    }
}

/// Pauses the queue: no worker of ours claims until [`resume`]. `who` is shown by status.
///
/// # Errors
/// Those of any call.
pub async fn pause(conn: &Connection, who: &str) -> Result<(), QueueError> {
    conn.cmd::<()>(redis::cmd("SET").arg(conn.name(Key::Paused)).arg(who)).await?;
    note_queue(conn, "paused", who).await;
    Ok(())
}

/// Lifts a pause and the stop command; says which were there.
///
/// # Errors
/// Those of any call.
pub async fn resume(conn: &Connection) -> Result<(bool, bool), QueueError> {
    let mut pipe = redis::pipe();
    pipe.del(conn.name(Key::Paused)).hdel(conn.name(Key::Todo), CLOSE);
    let (paused, stopped): (u64, u64) = conn.pipe(&pipe).await?;
    let _: i64 = conn.cmd(redis::cmd("PUBLISH").arg(conn.name(Key::Wake)).arg("todo")).await?;
    if paused + stopped > 0 {
        note_queue(conn, "resumed", "").await;
    }
    Ok((paused == 1, stopped == 1))
}

/// Writes the stop command: every worker, Python's too, takes nothing more, finishes and exits.
///
/// # Errors
/// Those of any call.
pub async fn stop(conn: &Connection) -> Result<(), QueueError> {
    let _: i64 = conn.cmd(redis::cmd("HSET").arg(conn.name(Key::Todo)).arg(CLOSE).arg("")).await?;
    let _: i64 = conn.cmd(redis::cmd("PUBLISH").arg(conn.name(Key::Wake)).arg("todo")).await?;
    note_queue(conn, "stopping", "").await;
    Ok(())
}

/// Asks a worker to take nothing new, finish what it runs, and exit.
///
/// # Errors
/// Those of any call.
pub async fn drain(conn: &Connection, worker: &WorkerName) -> Result<(), QueueError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let _: i64 = conn.cmd(redis::cmd("HSET").arg(conn.name(Key::Drain)).arg(worker.as_str()).arg(now)).await?;
    let _: i64 = conn.cmd(redis::cmd("PUBLISH").arg(conn.name(Key::Wake)).arg(format!("beat:{worker}"))).await?;
    note_worker(conn, "draining", worker).await;
    Ok(())
}
