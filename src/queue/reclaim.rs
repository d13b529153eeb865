//! Says who owns a worker's name, and takes over the tasks of a dead worker.

use std::collections::HashMap;
use std::time::Duration;

use super::args::Args;
use super::call_size::{self, CALL_BYTES, STEPS, step_after};
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::keys::Key;
use super::lock::try_lock;
use super::lossy_string::{self, LossyString};
use super::records::{BuryArgs, ReclaimArgs, ReclaimReply, ReclaimedLine};
use super::reply::Reply;
use super::scripts;
use super::session::{AVOID, Registration, Session, base_score};
use crate::model::{AttemptRecord, Demand, FieldOrder, Outcome, TaskId, TaskLine, WorkerName};
use crate::sys::wall_clock;

/// How many lines one call moves at most.
pub const BATCH: usize = 100;

/// Entries that a step over `in_progress_tasks` looks at: lines may be long.
const PAGE: usize = 32;

/// Who holds a name, as far as Redis knows.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// `instance:epoch`, `!dead:epoch` for one declared dead, `None` for none of ours.
    pub fence: Option<String>,
    /// What it says of itself.
    pub registration: Option<Registration>,
    /// Its last heartbeat, seconds since the epoch by the server's clock (a Python worker's: by its own).
    pub beat: Option<u64>,
    /// The server's clock, seconds since the epoch.
    pub now: u64,
}

/// Reads who holds a name. Constant cost.
///
/// # Errors
/// Those of any call.
pub async fn owner(conn: &Connection, worker: &WorkerName) -> Result<Owner, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hget(conn.name(Key::Owner), worker.as_str())
        .hget(conn.name(Key::Workers), worker.as_str())
        .hget(conn.name(Key::Status), worker.as_str())
        .cmd("TIME");
    Ok(decode_owner(conn.pipe(&pipe).await?))
}

type OwnerReply = (Option<LossyString>, Option<LossyString>, Option<LossyString>, (u64, u64));

fn decode_owner((fence, registration, status, (now, _)): OwnerReply) -> Owner {
    Owner {
        fence: fence.map(|LossyString(text)| text),
        registration: registration.and_then(|LossyString(json)| serde_json::from_str(&json).ok()),
        beat: status.and_then(|LossyString(status)| status.split(':').next().and_then(|beat| beat.parse().ok())),
        now,
    }
}

/// Whether a worker that beat last in the second `beat` is silent for longer than `dead_after`, by the server's clock in whole seconds.
#[must_use]
pub fn is_silent(now: u64, beat: u64, dead_after: Duration) -> bool {
    // Both are rounded down, so the silence may be a second shorter than their difference.
    Duration::from_secs(now.saturating_sub(beat)) >= dead_after + Duration::from_secs(1)
}

/// In whose right lines are taken over.
#[derive(Clone, Copy, Debug)]
pub enum Authority<'a> {
    /// Any worker's, once the lease has run out: none but this heartbeat, if any, for so long.
    Lease(Duration, Option<u64>),
    /// Our own name's, from before a restart; the fence is ours.
    Owner(&'a str),
    /// An operator's order.
    Operator,
}

/// A line in progress under a name that will not settle it.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// The line.
    pub line: String,
    /// Its demand and priority; `None` for a line that is not a task.
    pub task: Option<(Demand, u16)>,
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
    /// Whether the worker turned out to be alive; nothing was done then.
    pub is_alive: bool,
}

/// Lines that Redis holds in progress under a name: first those with a claim of ours, at most [`BATCH`].
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
    let task = TaskLine::parse(&line, order).ok().map(|task| (*task.demand(), task.prio()));
    Orphan { line, task, attempt }
}

/// Takes lines over: back to `todo_tasks` with no failure counted; a started attempt is a loss, and at the `max_lost`-th the task fails.
///
/// Atomic for the call; at most [`BATCH`] lines, and of long ones no more than one call carries: see [`parts_of`]. May be repeated.
///
/// # Errors
/// Those of any call; [`QueueError::Fenced`] when the name is no longer ours.
pub async fn reclaim_lines(
    conn: &Connection,
    worker: &WorkerName,
    authority: Authority<'_>,
    lines: &[Orphan],
    max_lost: u32,
) -> Result<Reclaimed, QueueError> {
    let (mode, lease, proof) = match authority {
        Authority::Lease(dead_after, beat) => {
            ("lease", dead_after, beat.map(|beat| beat.to_string()).unwrap_or_default())
        }
        Authority::Owner(fence) => ("own", Duration::ZERO, fence.to_owned()),
        Authority::Operator => ("operator", Duration::ZERO, String::new()),
    };
    let now_ms = wall_clock::unix_ms();
    let mut args = Args::new();
    args.record(ReclaimArgs { worker: worker.as_str(), mode, lease, proof, max_lost, avoid: AVOID });
    for orphan in call_size::first(lines, BATCH, CALL_BYTES, |orphan| orphan.line.len()) {
        let record = AttemptRecord::bare(orphan.attempt, worker.clone(), now_ms, Outcome::Lost);
        let record = serde_json::to_string(&record).map_err(|error| QueueError::Protocol(error.to_string()))?;
        // A line that is not a task still goes back: the next claim's index step rejects it with a reason.
        let (class, base_score) = orphan.task.map_or((Demand::NONE, 0), |(demand, prio)| (demand, base_score(prio)));
        let (line, id) = (orphan.line.as_str(), TaskId::of(&orphan.line));
        args.record(ReclaimedLine { line, id, class, base_score, record });
    }
    let reply = Reply::new(conn.script(&scripts::RECLAIM, Some(worker), &args).await?)?;
    let ReclaimReply { state, returned, failed } = reply.head()?;
    match state.as_str() {
        "OK" => Ok(Reclaimed { returned, failed, is_alive: false }),
        "ALIVE" => Ok(Reclaimed { is_alive: true, ..Reclaimed::default() }),
        _ => Err(QueueError::Fenced),
    }
}

impl Session {
    /// Takes back what an earlier process of this name had in progress. See [`reclaim_lines`] for the semantics of a loss.
    ///
    /// # Errors
    /// Those of any call, and [`QueueError::Fenced`].
    pub async fn recover(&self, lines: &[Orphan], max_lost: u32) -> Result<Reclaimed, QueueError> {
        reclaim_lines(self.connection(), self.worker(), Authority::Owner(self.fence()), lines, max_lost).await
    }
}

/// Lines in as many parts as it takes calls of [`reclaim_lines`].
pub fn parts_of(lines: &[Orphan]) -> impl Iterator<Item = &[Orphan]> {
    call_size::parts(lines, BATCH, |orphan| orphan.line.len())
}

/// Removes the last traces of a worker that was declared dead and holds nothing.
///
/// # Errors
/// Those of any call.
pub async fn bury(conn: &Connection, worker: &WorkerName) -> Result<bool, QueueError> {
    let mut args = Args::new();
    args.record(BuryArgs { worker: worker.as_str() });
    let gone: u64 = conn.script(&scripts::BURY, Some(worker), &args).await?;
    Ok(gone == 1)
}

/// A worker of ours that may be dead.
#[derive(Clone, Debug)]
pub struct SilentWorker {
    /// Its name.
    pub worker: WorkerName,
    /// Its last heartbeat, seconds since the epoch; `None` for a worker that has just attached, or one that went with claims left.
    pub beat: Option<u64>,
    /// Whether that is older than a lease. Else nothing is known but that it should not stay as it is: there is none, or one of the future, from
    /// before the server's clock was set back.
    pub is_old: bool,
}

/// What the heartbeats of our workers say at one moment.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    /// Those who may be dead.
    pub silent: Vec<SilentWorker>,
    /// In how long the first of the others would be silent for a lease; `None` when there is none.
    pub next_end: Option<Duration>,
}

/// Our workers whose heartbeat is older than `dead_after` at the moment `now` of the server's clock, which the caller has found to run evenly until
/// then; or of the future; or that have none. Cost grows with the number of workers alone.
///
/// # Errors
/// Those of any call.
pub async fn leases(conn: &Connection, now: Duration, dead_after: Duration) -> Result<Leases, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hgetall(conn.name(Key::Owner)).hgetall(conn.name(Key::Status));
    let (owners, status): (Vec<(LossyString, LossyString)>, HashMap<LossyString, LossyString>) =
        conn.pipe(&pipe).await?;
    let status = lossy_string::hash(status);
    let beats = owners.into_iter().map(|(LossyString(worker), _)| {
        let beat = status.get(&worker).and_then(|status| status.split(':').next()?.parse().ok());
        (worker, beat)
    });
    Ok(judge(beats, now, dead_after))
}

fn judge(beats: impl Iterator<Item = (String, Option<u64>)>, now: Duration, dead_after: Duration) -> Leases {
    let mut leases = Leases::default();
    for (worker, beat) in beats {
        let Ok(worker) = worker.parse() else { continue };
        let is_old = beat.is_some_and(|beat| is_silent(now.as_secs(), beat, dead_after));
        let is_odd = beat.is_none_or(|beat| beat > now.as_secs() + 1);
        if is_old || is_odd {
            leases.silent.push(SilentWorker { worker, beat, is_old });
        } else if let Some(beat) = beat {
            let end = (Duration::from_secs(beat) + dead_after + Duration::from_secs(1)).saturating_sub(now);
            leases.next_end = Some(leases.next_end.map_or(end, |least| least.min(end)));
        }
    }
    leases
}

/// The server's clock since the epoch, and the second of this worker's last heartbeat. Constant cost.
///
/// # Errors
/// Those of any call.
pub async fn own_heartbeat(conn: &Connection, me: &WorkerName) -> Result<(Duration, Option<u64>), QueueError> {
    let mut pipe = redis::pipe();
    pipe.hget(conn.name(Key::Status), me.as_str()).cmd("TIME");
    let (status, (seconds, micros)): (Option<LossyString>, (u64, u64)) = conn.pipe(&pipe).await?;
    let beat = status.and_then(|LossyString(status)| status.split(':').next().and_then(|beat| beat.parse().ok()));
    Ok((Duration::from_secs(seconds) + Duration::from_micros(micros), beat))
}

/// Takes the lock under which one worker at a time looks for dead ones.
///
/// # Errors
/// Those of any call.
pub async fn lock(conn: &Connection, holder: &str, for_at_most: Duration) -> Result<bool, QueueError> {
    try_lock(conn, Key::ReclaimLock, holder, for_at_most).await
}

/// What this file makes of an answer.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(values: &[redis::Value]) {
    if let Ok(reply) = redis::from_redis_value(redis::Value::Array(values.to_vec())) {
        let owner = decode_owner(reply);
        if let Some(beat) = owner.beat {
            let _ = is_silent(owner.now, beat, Duration::from_secs(40));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_at_which_a_lease_runs_out_is_known_beforehand() {
        let beats =
            || [("old", Some(60)), ("new", Some(98)), ("mute", None)].map(|(name, beat)| (name.to_owned(), beat));
        let dead_after = Duration::from_secs(40);
        let at = |now| judge(beats().into_iter(), Duration::from_millis(now), dead_after);
        let now = at(100_250);
        assert_eq!(now.silent.iter().map(|one| one.worker.as_str()).collect::<Vec<_>>(), ["mute"]);
        assert_eq!(now.next_end, Some(Duration::from_millis(750)));
        let then = at(101_000);
        assert_eq!(then.silent.iter().filter(|one| one.is_old).count(), 1, "not a moment later");
        assert_eq!(then.next_end, Some(Duration::from_secs(38)));
    }
}
