//! Keeps the index true after foreign writes: one bounded step at a time, it adds what waits and is not in the index, and removes what is in the
//! index and waits no more.

use std::time::Duration;

use super::args::{Args, millis};
use super::call_size::step_after;
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::keys::{Key, STOP_FIELD};
use super::lanes::{lanes, parked};
use super::lock::try_lock;
use super::records::{FoundLine, IndexArgs, RejectArgs, RejectedLine, SweepArgs, SweepReply};
use super::reply::Reply;
use super::scripts;
use super::session::{AVOID, base_score};
use crate::model::{FieldOrder, Outcome, TaskLine, ascii_json};

/// How many lines one step looks at, about: a step stays well under 5 ms of the server's time.
const STEP: usize = 256;

/// What is swept as if it were a lane: the lines behind gates. No lane has this name.
const BEHIND_GATES: &str = "*";

/// Where lines wait.
const WAITS_IN: [Key; 2] = [Key::Todo, Key::Waiting];

/// Where a pass over the queue stands. Kept by the worker that runs it; losing it only restarts the pass.
#[derive(Clone, Debug, Default)]
pub struct IndexPass {
    stage: Stage,
    /// How many lines the next step over `todo_tasks` looks at.
    step: Option<usize>,
}

#[derive(Clone, Debug, Default)]
enum Stage {
    /// Looking for waiting lines that are not indexed, in one hash after the other.
    #[default]
    Begin,
    Adding {
        key: usize,
        cursor: u64,
    },
    /// Looking in the index for lines that wait no more; the lanes still to do.
    Sweeping {
        lanes: Vec<String>,
        cursor: String,
    },
    Counting,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStep {
    /// Lines that were not in the index.
    pub indexed: u64,
    /// Lines moved out because they can never run.
    pub rejected: u64,
    /// Lines that were in the index and no longer waiting.
    pub dropped: u64,
    /// Whether the pass is over.
    pub is_done: bool,
}

impl IndexPass {
    /// A pass from the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one bounded step. May be repeated, and run by several workers at once without harm.
    ///
    /// # Errors
    /// Those of any call; the pass can go on afterwards.
    pub async fn step(&mut self, conn: &Connection, order: FieldOrder) -> Result<IndexStep, QueueError> {
        match std::mem::take(&mut self.stage) {
            Stage::Begin => self.add(conn, order, (0, 0)).await,
            Stage::Adding { key, cursor } => self.add(conn, order, (key, cursor)).await,
            Stage::Sweeping { lanes, cursor } => self.sweep(conn, lanes, cursor).await,
            Stage::Counting => {
                let _: (String, u64) = sweep_call(conn, "=", "0").await?;
                Ok(IndexStep { is_done: true, ..IndexStep::default() })
            }
        }
    }

    async fn add(&mut self, conn: &Connection, order: FieldOrder, at: (usize, u64)) -> Result<IndexStep, QueueError> {
        let (key, cursor) = at;
        self.stage = Stage::Adding { key, cursor };
        let count = self.step.unwrap_or(STEP / 8);
        let (next, page): ScanPage =
            conn.cmd(redis::cmd("HSCAN").arg(conn.name(WAITS_IN[key])).arg(cursor).arg("COUNT").arg(count)).await?;
        self.step = Some(step_after(count, page.iter().map(|(line, _)| line.len()).sum()).min(STEP));
        let mut step = IndexStep::default();
        let mut add = Args::new();
        add.record(IndexArgs { avoid: AVOID, order: order.as_str() });
        let mut reject = Args::new();
        reject.record(RejectArgs { order: order.as_str() });
        let (mut to_add, mut to_reject) = (false, false);
        for (bytes, _) in page {
            match std::str::from_utf8(&bytes) {
                Ok(STOP_FIELD) => {}
                Ok(text) => match TaskLine::parse(text, order) {
                    Ok(task) => {
                        to_add = true;
                        let base_score = base_score(task.prio());
                        add.record(FoundLine { line: text, class: task.class(), base_score });
                    }
                    Err(error) => {
                        to_reject = true;
                        let reason = ascii_json(&format!("{}: {error}", Outcome::Invalid));
                        let (line, group) = (text.as_bytes(), Outcome::Invalid.group());
                        reject.record(RejectedLine { line, destination: "failed", reason, group });
                    }
                },
                Err(_) => {
                    to_reject = true;
                    let (reason, group) = ("not UTF-8".to_owned(), String::new());
                    reject.record(RejectedLine { line: &bytes, destination: "quarantine", reason, group });
                }
            }
        }
        if to_add {
            step.indexed = done(conn, order, conn.script(&scripts::INDEX, None, &add).await?).await?;
        }
        if to_reject {
            step.rejected = done(conn, order, conn.script(&scripts::REJECT, None, &reject).await?).await?;
        }
        self.stage = if next != 0 {
            Stage::Adding { key, cursor: next }
        } else if key + 1 < WAITS_IN.len() {
            Stage::Adding { key: key + 1, cursor: 0 }
        } else {
            let mut lanes = lanes(conn, usize::MAX).await?.first;
            lanes.extend(parked(conn).await?);
            lanes.extend([BEHIND_GATES.to_owned(), String::new()]);
            Stage::Sweeping { lanes, cursor: "0".to_owned() }
        };
        Ok(step)
    }

    async fn sweep(
        &mut self,
        conn: &Connection,
        mut lanes: Vec<String>,
        cursor: String,
    ) -> Result<IndexStep, QueueError> {
        let Some(lane) = lanes.last().cloned() else {
            self.stage = Stage::Counting;
            return Ok(IndexStep::default());
        };
        self.stage = Stage::Sweeping { lanes: lanes.clone(), cursor: cursor.clone() };
        let (next, dropped) = sweep_call(conn, &lane, &cursor).await?;
        if next == "0" {
            lanes.pop();
        }
        self.stage = if lanes.is_empty() { Stage::Counting } else { Stage::Sweeping { lanes, cursor: next } };
        Ok(IndexStep { dropped, ..IndexStep::default() })
    }
}

/// What a script did, unless it refused to: lines of another field order are not ours to judge.
async fn done(conn: &Connection, order: FieldOrder, count: i64) -> Result<u64, QueueError> {
    match u64::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) => Err(super::guard::other_order(conn, order).await),
    }
}

async fn sweep_call(conn: &Connection, lane: &str, cursor: &str) -> Result<(String, u64), QueueError> {
    let mut args = Args::new();
    args.record(SweepArgs { lane, cursor, count: STEP });
    let SweepReply { cursor, dropped } = Reply::new(conn.script(&scripts::SWEEP, None, &args).await?)?.head()?;
    Ok((cursor, dropped))
}

/// Takes the lock under which one worker at a time runs a pass.
///
/// # Errors
/// Those of any call.
pub async fn lock(conn: &Connection, holder: &str, for_at_most: Duration) -> Result<bool, QueueError> {
    try_lock(conn, Key::ScanLock, holder, for_at_most).await
}

/// Whether a pass ended a moment ago, or nothing waits.
///
/// # Errors
/// Those of any call.
pub async fn is_fresh(conn: &Connection) -> Result<bool, QueueError> {
    let mut pipe = redis::pipe();
    pipe.exists(conn.name(Key::Scan))
        .hlen(conn.name(Key::Todo))
        .hlen(conn.name(Key::Waiting))
        .get(conn.name(Key::Count));
    let (is_fresh, plain, apart, indexed): (bool, u64, u64, Option<i64>) = conn.pipe(&pipe).await?;
    Ok(is_fresh || (plain + apart == 0 && indexed.unwrap_or(0) == 0))
}

/// Ends a pass: it counts as fresh for a while, and the lock is given back where it is ours.
///
/// # Errors
/// Those of any call.
pub async fn unlock(conn: &Connection, holder: &str, fresh_for: Duration) -> Result<(), QueueError> {
    let _: String =
        conn.cmd(redis::cmd("SET").arg(conn.name(Key::Scan)).arg(holder).arg("PX").arg(millis(fresh_for))).await?;
    let name = conn.name(Key::ScanLock);
    // Between the two another may take an expired lock: a pass may then run twice, which does no harm.
    let present: Option<String> = conn.cmd(redis::cmd("GET").arg(&name)).await?;
    if present.as_deref() == Some(holder) {
        let _: i64 = conn.cmd(redis::cmd("DEL").arg(&name)).await?;
    }
    Ok(())
}
