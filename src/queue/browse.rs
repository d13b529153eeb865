//! Reads what people ask of the queue as a whole: its groups of failures, and how long tasks have waited. Each call has a bounded cost for the server and the
//! network, at any depth of the queue and any size of results.

use std::collections::{BTreeSet, HashMap};

use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::keys::Key;
use super::lanes::lanes;
use super::lossy_string::{self, LossyString};
use super::overview::top_groups;
use crate::model::snapshot::FailureGroup;

/// Every group of failures, largest first, each with one line and its reason. Read from counters, so that the cost is that of the groups and not of
/// the failures; what Python workers failed is in none. The workers are those of the sample and of about [`FailureGroup::LOOKED_AT`] failures, the same
/// ones each time.
///
/// # Errors
/// Those of any call.
pub async fn failure_groups(conn: &Connection) -> Result<Vec<FailureGroup>, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hgetall(conn.name(Key::Groups)).hgetall(conn.name(Key::Samples));
    let (groups, samples) = conn.pipe(&pipe).await?;
    let mut groups = top_groups(&lossy_string::hash(groups), &lossy_string::hash(samples), 0);
    let lines: Vec<String> = groups.iter().map(|group| group.sample.clone()).collect();
    let mut seen = workers_by_kind(conn).await?;
    for (group, task) in groups.iter_mut().zip(super::inspect::tasks(conn, &lines).await?) {
        group.reason = task.reason.unwrap_or_default();
        let mut workers = seen.remove(&group.kind).unwrap_or_default();
        workers.extend(task.failed_on);
        group.workers = workers.into_iter().collect();
    }
    Ok(groups)
}

/// The workers that some failures were on, by the group of the failure.
async fn workers_by_kind(conn: &Connection) -> Result<HashMap<String, BTreeSet<String>>, QueueError> {
    let mut cmd = redis::cmd("HSCAN");
    cmd.arg(conn.name(Key::Failed)).arg(0).arg("COUNT").arg(FailureGroup::LOOKED_AT);
    let (_, some): ScanPage = conn.cmd(&cmd).await?;
    let mut found: HashMap<String, BTreeSet<String>> = HashMap::new();
    if some.is_empty() {
        return Ok(found);
    }
    let mut cmd = redis::cmd("HMGET");
    cmd.arg(conn.name(Key::Kinds));
    for (line, _) in &some {
        cmd.arg(line);
    }
    let kinds: Vec<Option<LossyString>> = conn.cmd(&cmd).await?;
    for ((_, workers), kind) in some.iter().zip(kinds) {
        if let Some(LossyString(kind)) = kind {
            let workers = String::from_utf8_lossy(workers);
            let workers = workers.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
            found.entry(kind).or_default().extend(workers);
        }
    }
    Ok(found)
}

/// The last sequence number given to a task; it only grows. 0 before the first.
///
/// # Errors
/// Those of any call.
pub async fn sequence(conn: &Connection) -> Result<u64, QueueError> {
    let last: Option<u64> = conn.cmd(redis::cmd("GET").arg(conn.name(Key::Sequence))).await?;
    Ok(last.unwrap_or(0))
}

/// The smallest sequence number that waits: that of the task which has waited longest. `None` when nothing waits.
///
/// Looks at the first task of each priority of each lane, at most 64 lanes and 16 priorities of each; retries in their backoff
/// and what is not indexed yet are left out.
///
/// # Errors
/// Those of any call.
pub async fn oldest_sequence(conn: &Connection) -> Result<Option<u64>, QueueError> {
    let mut lanes_left: Vec<(String, u64)> =
        lanes(conn, LANES).await?.first.into_iter().map(|lane| (lane, 0)).collect();
    let mut oldest = None;
    for _ in 0..PRIORITIES {
        if lanes_left.is_empty() {
            break;
        }
        let mut pipe = redis::pipe();
        for (lane, from) in &lanes_left {
            let key = format!("{}c:{lane}", conn.name(Key::Ready));
            pipe.cmd("ZRANGEBYSCORE").arg(key).arg(from).arg("+inf").arg("WITHSCORES").arg("LIMIT").arg(0).arg(1);
        }
        let firsts: Vec<Vec<(String, f64)>> = conn.pipe(&pipe).await?;
        let found = lanes_left.into_iter().zip(firsts);
        // The next priority of each lane begins behind all that one can hold.
        lanes_left = found
            .filter_map(|((lane, _), first)| {
                let score = first.first()?.1 as u64;
                let sequence = score % BAND;
                oldest = Some(oldest.map_or(sequence, |old: u64| old.min(sequence)));
                Some((lane, (score / BAND + 1) * BAND))
            })
            .collect();
    }
    Ok(oldest)
}

/// Seconds since this number was given out, as far as the queue remembers: see `lua/shared/spread.lua`. `None` where it does not.
///
/// # Errors
/// Those of any call.
pub async fn age_of(conn: &Connection, sequence: u64) -> Result<Option<f64>, QueueError> {
    let mut pipe = redis::pipe();
    let key = format!("{}submitted", conn.name(Key::Ready));
    pipe.cmd("ZRANGEBYSCORE").arg(key).arg(sequence).arg("+inf").arg("LIMIT").arg(0).arg(1).cmd("TIME");
    let (found, (now, _)): (Vec<u64>, (u64, u64)) = conn.pipe(&pipe).await?;
    Ok(found.first().map(|second| now.saturating_sub(*second) as f64))
}

/// Lanes that [`oldest_sequence`] looks at.
const LANES: usize = 64;

/// Priorities of each.
const PRIORITIES: usize = 16;

/// Scores of one priority: see `lua/shared/lanes.lua`.
const BAND: u64 = 1 << 37;
