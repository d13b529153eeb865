//! Waiting tasks that are set aside, so that no worker claims them: with `--local`, those of other command lines in the same directory.
//!
//! They are in a hash of their own, with their place in the order, until [`restore`] puts them back. Only a queue of `--local` has them.

use std::collections::HashMap;

use super::args::Args;
use super::batches::members;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::records::{AsideLine, RestoreArgs, RestoredLine};
use super::scripts;
use super::select::StateScan;
use super::session::{AVOID, base_score};
use crate::model::{BatchName, FieldOrder, TaskLine};

/// How many lines one call moves at most: well under 5 ms of the server's time.
pub const BATCH: usize = 250;

/// How many lines are set aside.
///
/// # Errors
/// Those of any call.
pub async fn count(conn: &Connection) -> Result<u64, QueueError> {
    conn.cmd(redis::cmd("HLEN").arg(conn.name(Key::Aside))).await
}

/// Whether each of some lines is set aside.
///
/// # Errors
/// Those of any call.
pub async fn contains(conn: &Connection, lines: &[String]) -> Result<Vec<bool>, QueueError> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let scores: Vec<Option<Vec<u8>>> = conn.cmd(redis::cmd("HMGET").arg(conn.name(Key::Aside)).arg(lines)).await?;
    Ok(scores.iter().map(Option::is_some).collect())
}

/// How many lines of some batches, or of steps of such, are set aside. Looks at all that are.
///
/// # Errors
/// Those of any call.
pub async fn of_batches(conn: &Connection, names: &[BatchName]) -> Result<HashMap<BatchName, u64>, QueueError> {
    let mut counts: HashMap<BatchName, u64> = names.iter().map(|name| (name.clone(), 0)).collect();
    let mut scan = StateScan::of_aside();
    while let Some(page) = scan.next(conn).await? {
        let lines: Vec<String> = page.into_iter().map(|entry| entry.line).collect();
        members(conn, &lines).await?.iter().flatten().for_each(|member| member.count(&mut counts));
    }
    Ok(counts)
}

/// Sets at most [`BATCH`] waiting lines aside, and says how many. Lines that do not wait, or are no tasks, stay where they are.
///
/// Atomic for the call; safe to repeat.
///
/// # Errors
/// Those of any call.
pub async fn set_aside(conn: &Connection, lines: &[String], order: FieldOrder) -> Result<u64, QueueError> {
    let mut args = Args::new();
    for line in lines.iter().take(BATCH) {
        if let Ok(task) = TaskLine::parse(line, order) {
            args.record(AsideLine { line, class: task.class() });
        }
    }
    conn.script(&scripts::ASIDE, None, &args).await
}

/// Puts at most [`BATCH`] lines back that were set aside, and says how many wait again. Other lines stay where they are.
///
/// Atomic for the call; safe to repeat.
///
/// # Errors
/// Those of any call.
pub async fn restore(conn: &Connection, lines: &[String], order: FieldOrder) -> Result<u64, QueueError> {
    let mut args = Args::new();
    args.record(RestoreArgs { avoid: AVOID });
    for line in lines.iter().take(BATCH) {
        if let Ok(task) = TaskLine::parse(line, order) {
            args.record(RestoredLine { line, class: task.class(), base_score: base_score(task.prio()) });
        }
    }
    conn.script(&scripts::RESTORE, None, &args).await
}
