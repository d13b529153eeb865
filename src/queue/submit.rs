//! Adding task lines.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::client::{Args, Connection};
use super::error::QueueError;
use super::scripts;
use super::session::{Demand, base_score};
use crate::model::TaskLine;

/// How many lines one call adds at most: well under 5 ms of the server's time.
pub const BATCH: usize = 250;

/// What became of submitted lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// New in `todo_tasks`.
    pub added: u64,
    /// In `todo_tasks` already.
    pub queued: u64,
    /// In progress.
    pub running: u64,
    /// Finished before.
    pub finished: u64,
    /// Out of retries.
    pub failed: u64,
}

impl AddAssign for Submitted {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.queued += other.queued;
        self.running += other.running;
        self.finished += other.finished;
        self.failed += other.failed;
    }
}

/// A line to add, with what the index needs to know of it; smaller than a [`TaskLine`].
#[derive(Clone, Debug)]
pub struct NewTask {
    line: String,
    demand: Demand,
    prio: u16,
    signature: Option<String>,
}

impl NewTask {
    /// What is submitted of a task.
    #[must_use]
    pub fn of(task: &TaskLine) -> Self {
        Self { line: task.as_str().to_owned(), demand: Demand::of(task), prio: task.prio(), signature: None }
    }

    /// The task line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Puts a signature beside it.
    pub fn seal(&mut self, signature: String) {
        self.signature = Some(signature);
    }
}

/// Adds at most [`BATCH`] lines, in order; wakes idle workers.
///
/// `rerun` adds those already finished or out of retries too, in one step each. Signatures go in where every line has one; a line that waits or runs
/// already gets the new one. Atomic for the call; safe to repeat.
///
/// # Errors
/// Those of any call; what was added before stays.
pub async fn submit(conn: &Connection, tasks: &[NewTask], rerun: bool) -> Result<Submitted, QueueError> {
    let mut args = Args::new();
    let is_signed = tasks.iter().all(|task| task.signature.is_some());
    args.flag(rerun).flag(is_signed);
    for task in tasks.iter().take(BATCH) {
        args.text(&task.line).shown(task.demand.class()).number(base_score(task.prio));
        if let Some(signature) = task.signature.as_ref().filter(|_| is_signed) {
            args.text(signature);
        }
    }
    let (added, queued, running, finished, failed) = conn.script(&scripts::SUBMIT, None, &args).await?;
    Ok(Submitted { added, queued, running, finished, failed })
}
