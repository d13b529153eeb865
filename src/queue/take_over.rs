//! Takes over the tasks that a worker has in progress and will not settle: a dead worker's, our own from before a restart, or any worker's by an
//! operator's order.

use std::time::Duration;

use super::args::Args;
use super::call_size::{self, STEPS, step_after};
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::keys::Key;
use super::records::{DeregisterArgs, ReclaimArgs, ReclaimReply, ReclaimedLine};
use super::reply::Reply;
use super::scripts;
use super::session::{AVOID, base_score};
use crate::model::{AttemptRecord, Class, FieldOrder, Outcome, TaskId, TaskLine, WorkerName};
use crate::sys::wall_clock;

/// How many lines one call moves at most.
const BATCH: usize = 100;

/// Entries that a step over `in_progress_tasks` looks at: lines may be long.
const PAGE: usize = 32;

/// Why lines are taken over.
#[derive(Clone, Copy, Debug)]
pub enum ReclaimReason<'a> {
    /// The lease of the worker has run out: no heartbeat but this one, if any, for so long.
    LeaseExpired(Duration, Option<u64>),
    /// They are our own name's, from before a restart; the fence is ours.
    Restart(&'a str),
    /// An operator's order.
    Operator,
}

/// A line in progress under a name that will not settle it.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// The line.
    pub line: String,
    /// Its demand and priority; `None` for a line that is not a task.
    pub task: Option<(Class, u16)>,
    /// Attempt number, where a claim says it.
    pub attempt: u32,
}

/// What a take-over did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Back in `todo_tasks`.
    pub returned: u64,
    /// Failed for too many losses.
    pub failed: u64,
    /// Whether the worker turned out to be alive; nothing is done from then on.
    pub is_alive: bool,
}

impl Reclaimed {
    fn add(&mut self, other: Self) {
        self.returned += other.returned;
        self.failed += other.failed;
        self.is_alive |= other.is_alive;
    }
}

/// Lines that Redis holds in progress under a name with a claim of ours, at most `BATCH`.
///
/// # Errors
/// Those of any call.
pub async fn orphans(conn: &Connection, worker: &WorkerName, order: FieldOrder) -> Result<Vec<Orphan>, QueueError> {
    let key = conn.keys().name_for(Key::Claims, worker);
    let mut cursor = 0_u64;
    let mut found = Vec::new();
    let mut step = STEPS[1];
    loop {
        let (next, page): (u64, Vec<(String, String)>) =
            conn.cmd(redis::cmd("HSCAN").arg(&key).arg(cursor).arg("COUNT").arg(step)).await?;
        step = step_after(step, page.iter().map(|(line, claim)| line.len() + claim.len()).sum());
        for (line, claim) in page {
            let attempt = claim.split('|').nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
            found.push(orphan(line, attempt, order));
        }
        if next == 0 || found.len() >= BATCH {
            found.truncate(BATCH);
            return Ok(found);
        }
        cursor = next;
    }
}

/// Lines in `in_progress_tasks` under a name, whoever put them there: one bounded step of a scan.
///
/// # Errors
/// Those of any call.
pub async fn scan_in_progress(
    conn: &Connection,
    cursor: u64,
    wanted: impl Fn(&str) -> bool,
    order: FieldOrder,
) -> Result<(u64, Vec<(String, Orphan)>), QueueError> {
    let (next, page): ScanPage =
        conn.cmd(redis::cmd("HSCAN").arg(conn.name(Key::InProgress)).arg(cursor).arg("COUNT").arg(PAGE)).await?;
    let found = page
        .into_iter()
        .filter_map(|(line, worker)| {
            let worker = String::from_utf8(worker).ok().filter(|worker| wanted(worker))?;
            Some((worker, orphan(String::from_utf8(line).ok()?, 1, order)))
        })
        .collect();
    Ok((next, found))
}

pub(super) fn orphan(line: String, attempt: u32, order: FieldOrder) -> Orphan {
    let task = TaskLine::parse(&line, order).ok().map(|task| (task.class().clone(), task.prio()));
    Orphan { line, task, attempt }
}

/// Takes over from one worker. Lines go back to `todo_tasks` with no failure counted; a started attempt is a loss, and at the `max_lost`-th the task
/// fails.
#[derive(Clone, Copy)]
pub struct TakeOver<'a> {
    /// The connection.
    pub conn: &'a Connection,
    /// From whom.
    pub worker: &'a WorkerName,
    /// What gives the right to them, proved in the same step.
    pub reason: ReclaimReason<'a>,
    /// Losses after which a task fails.
    pub max_lost: u32,
}

impl TakeOver<'_> {
    /// Takes over all that the worker has in progress: its claims, then lines under its name without one, which others have put there.
    ///
    /// Atomic for a call of some lines; a failure in the middle leaves the rest with the worker. May be repeated. The cost of the second part is
    /// bounded by what the fleet has in progress.
    ///
    /// # Errors
    /// Those of any call; [`QueueError::Fenced`] when the name is no longer ours.
    pub async fn all(&self, order: FieldOrder) -> Result<Reclaimed, QueueError> {
        let mut total = Reclaimed::default();
        loop {
            let lines = orphans(self.conn, self.worker, order).await?;
            total.add(self.lines(&lines).await?);
            if total.is_alive {
                return Ok(total);
            }
            if lines.is_empty() {
                break;
            }
        }
        let is_its_own = |name: &str| name == self.worker.as_str();
        let mut cursor = 0;
        loop {
            let (next, found) = scan_in_progress(self.conn, cursor, is_its_own, order).await?;
            let lines: Vec<Orphan> = found.into_iter().map(|(_, orphan)| orphan).collect();
            if !lines.is_empty() {
                total.add(self.lines(&lines).await?);
            }
            if total.is_alive || next == 0 {
                return Ok(total);
            }
            cursor = next;
        }
    }

    /// Takes over these lines, in as many calls as it takes. With none, the worker is fenced all the same.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub async fn lines(&self, lines: &[Orphan]) -> Result<Reclaimed, QueueError> {
        if lines.is_empty() {
            return self.call(lines).await;
        }
        let mut total = Reclaimed::default();
        for part in call_size::parts(lines, BATCH, |orphan| orphan.line.len()) {
            total.add(self.call(part).await?);
            if total.is_alive {
                break;
            }
        }
        Ok(total)
    }

    async fn call(&self, lines: &[Orphan]) -> Result<Reclaimed, QueueError> {
        let worker = self.worker;
        let (mode, lease, proof) = match self.reason {
            ReclaimReason::LeaseExpired(dead_after, heartbeat) => {
                ("lease", dead_after, heartbeat.map(|heartbeat| heartbeat.to_string()).unwrap_or_default())
            }
            ReclaimReason::Restart(fence) => ("own", Duration::ZERO, fence.to_owned()),
            ReclaimReason::Operator => ("operator", Duration::ZERO, String::new()),
        };
        let now_ms = wall_clock::unix_ms();
        let mut args = Args::new();
        args.record(ReclaimArgs { worker: worker.as_str(), mode, lease, proof, max_lost: self.max_lost, avoid: AVOID });
        for orphan in lines {
            let record = AttemptRecord::bare(orphan.attempt, worker.clone(), now_ms, Outcome::Lost);
            let record = serde_json::to_string(&record).map_err(|error| QueueError::Protocol(error.to_string()))?;
            // A line that is not a task still goes back: the next claim's index step rejects it with a reason.
            let none = Class::default();
            let (class, base_score) =
                orphan.task.as_ref().map_or((&none, 0), |(class, prio)| (class, base_score(*prio)));
            let (line, id) = (orphan.line.as_str(), TaskId::of(&orphan.line));
            args.record(ReclaimedLine { line, id, class, base_score, record });
        }
        let reply = Reply::new(self.conn.script(&scripts::RECLAIM, Some(worker), &args).await?)?;
        let ReclaimReply { state, returned, failed } = reply.head()?;
        match state.as_str() {
            "OK" => Ok(Reclaimed { returned, failed, is_alive: false }),
            "ALIVE" => Ok(Reclaimed { is_alive: true, ..Reclaimed::default() }),
            _ => Err(QueueError::Fenced),
        }
    }
}

/// Removes the last traces of a worker that was declared dead and holds nothing; false when it lives again, or holds something.
///
/// # Errors
/// Those of any call.
pub async fn deregister(conn: &Connection, worker: &WorkerName) -> Result<bool, QueueError> {
    let mut args = Args::new();
    args.record(DeregisterArgs { worker: worker.as_str() });
    let gone: u64 = conn.script(&scripts::DEREGISTER, Some(worker), &args).await?;
    Ok(gone == 1)
}
