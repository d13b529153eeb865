//! An operator's changes: requeue, cancel and purge. Each line moves in one atomic step. A task that one of our workers runs is marked: its
//! result is refused from then on, and it moves when its worker has reported that its process tree is gone, or is dead. A task that no worker
//! of ours has claimed, such as a Python worker's, moves at once.

use super::args::Args;
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::events::{note_queue, note_worker};
use super::keys::{Key, STOP_FIELD};
use super::records::{ChangedLine, ControlArgs, ControlReply};
use super::reply::Reply;
use super::scripts;
use super::session::base_score;
use super::take_over::{Orphan, orphan};
use crate::model::snapshot::TaskState;
use crate::model::{AttemptRecord, FieldOrder, Outcome, TaskId, TaskLine, WorkerName};
use crate::sys::wall_clock;

/// How many lines one call changes at most.
pub const BATCH: usize = 100;

/// Entries of a page of lines that nobody knows the length of.
const PAGE: usize = 16;

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
    /// Lines changed, or marked to be.
    pub changed: u64,
    /// Of those, how many run and are being stopped first.
    pub stopping: u64,
    /// Of those, how many were in progress without a claim of ours, as a Python worker's tasks are: what runs there cannot be stopped.
    pub freed: u64,
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
    let now_ms = wall_clock::unix_ms();
    let mut args = Args::new();
    let op = match change {
        Change::Requeue => "requeue",
        Change::Cancel => "cancel",
        Change::Purge => "purge",
    };
    args.record(ControlArgs {
        op,
        selected: selected.map_or("", TaskState::as_str),
        reason: "",
        group: "",
        by: by.as_str(),
    });
    for line in lines.iter().take(BATCH) {
        let task = TaskLine::parse(line, order).ok();
        let class = task.as_ref().map(TaskLine::class);
        let base_score = task.as_ref().map_or(0, |task| base_score(task.prio()));
        let record = AttemptRecord::bare(0, by.clone(), now_ms, Outcome::Cancelled);
        let record = serde_json::to_string(&record).map_err(|error| QueueError::Protocol(error.to_string()))?;
        args.record(ChangedLine { line, id: TaskId::of(line), class, base_score, record });
    }
    let reply = Reply::new(conn.script(&scripts::CONTROL, None, &args).await?)?;
    let ControlReply { changed, stopping, freed } = reply.head()?;
    Ok(Changed { changed, stopping, freed })
}

/// The tasks that run and that an operator has ordered away, each with its worker: as many as are being stopped at this moment.
///
/// # Errors
/// Those of any call.
pub async fn marked(conn: &Connection, order: FieldOrder) -> Result<Vec<(String, Orphan)>, QueueError> {
    let mut found = Vec::new();
    let mut cursor = 0;
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(conn.name(Key::Marks)).arg(cursor).arg("COUNT").arg(PAGE);
        let (next, page): ScanPage = conn.cmd(&scan).await?;
        for (line, mark) in page {
            let mark = PendingOrder::parse(&mark);
            if let (Ok(line), Some(mark)) = (String::from_utf8(line), mark) {
                found.push((mark.worker, orphan(line, 1, order)));
            }
        }
        if next == 0 {
            return Ok(found);
        }
        cursor = next;
    }
}

/// What an operator has ordered for a task that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PendingOrder {
    /// `requeue`, `cancel` or `purge`.
    pub(super) op: String,
    /// The worker that is to stop it.
    pub(super) worker: String,
}

impl PendingOrder {
    /// From `OP|WORKER|…`, see `lua/shared/marks.lua`.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(value);
        let mut parts = text.splitn(3, '|');
        let (op, worker) = (parts.next()?, parts.next()?);
        parts.next().map(|_| Self { op: op.to_owned(), worker: worker.to_owned() })
    }
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
        scan.arg(&key).arg(cursor).arg("COUNT").arg(PAGE);
        let (next, page): ScanPage = conn.cmd(&scan).await?;
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

/// Removes the records of deaths of these workers, and says of how many there was one. Safe to repeat.
///
/// # Errors
/// Those of any call.
pub async fn forget_deaths(conn: &Connection, workers: &[String]) -> Result<u64, QueueError> {
    conn.cmd(redis::cmd("HDEL").arg(conn.name(Key::Died)).arg(workers)).await
}

/// Pauses the queue: no worker of ours claims until [`resume`]. `who` is shown by status, `by` is for the log.
///
/// # Errors
/// Those of any call.
pub async fn pause(conn: &Connection, who: &str, by: &str) -> Result<(), QueueError> {
    conn.cmd::<()>(redis::cmd("SET").arg(conn.name(Key::Paused)).arg(who)).await?;
    note_queue(conn, "paused", by).await;
    Ok(())
}

/// Lifts a pause and the stop command; says which were there. `by` is for the log.
///
/// # Errors
/// Those of any call.
pub async fn resume(conn: &Connection, by: &str) -> Result<(bool, bool), QueueError> {
    let mut pipe = redis::pipe();
    pipe.del(conn.name(Key::Paused)).hdel(conn.name(Key::Todo), STOP_FIELD);
    let (paused, stopped): (u64, u64) = conn.pipe(&pipe).await?;
    let _: i64 = conn.cmd(redis::cmd("PUBLISH").arg(conn.name(Key::Wake)).arg("todo")).await?;
    if paused + stopped > 0 {
        note_queue(conn, "resumed", by).await;
    }
    Ok((paused == 1, stopped == 1))
}

/// Writes the stop command: every worker, Python's too, takes nothing more, finishes and exits.
///
/// # Errors
/// Those of any call.
pub async fn stop(conn: &Connection, by: &str) -> Result<(), QueueError> {
    let _: i64 = conn.cmd(redis::cmd("HSET").arg(conn.name(Key::Todo)).arg(STOP_FIELD).arg("")).await?;
    let _: i64 = conn.cmd(redis::cmd("PUBLISH").arg(conn.name(Key::Wake)).arg("todo")).await?;
    note_queue(conn, "stopping", by).await;
    Ok(())
}

/// Lifts the drain of a worker's name, and what speaks against it as a suspect; says whether there was anything.
///
/// # Errors
/// Those of any call.
pub async fn undrain(conn: &Connection, worker: &WorkerName, by: &str) -> Result<bool, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hdel(conn.name(Key::Drain), worker.as_str()).hdel(conn.name(Key::Blamed), worker.as_str());
    let (drain, blame): (u64, u64) = conn.pipe(&pipe).await?;
    let there = drain + blame;
    let _: i64 = conn.cmd(redis::cmd("PUBLISH").arg(conn.name(Key::Wake)).arg(format!("beat:{worker}"))).await?;
    if there > 0 {
        note_worker(conn, "resumed", worker, by).await;
    }
    Ok(there > 0)
}

/// Asks a worker to take nothing new and finish what it runs. That lasts, over restarts of the worker too, until [`undrain`].
///
/// # Errors
/// Those of any call.
pub async fn drain(conn: &Connection, worker: &WorkerName, by: &str) -> Result<(), QueueError> {
    let now = wall_clock::unix_seconds();
    let _: i64 = conn.cmd(redis::cmd("HSET").arg(conn.name(Key::Drain)).arg(worker.as_str()).arg(now)).await?;
    let _: i64 = conn.cmd(redis::cmd("PUBLISH").arg(conn.name(Key::Wake)).arg(format!("beat:{worker}"))).await?;
    note_worker(conn, "draining", worker, by).await;
    Ok(())
}
