//! The attempts of the last minutes: from the end of the event log, with the evidence of some of them. Bounded by number and time, at any rate.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::client::Connection;
use super::error::QueueError;
use super::events;
use super::keys::Key;
use super::lossy_string::LossyString;
use crate::model::AttemptRecord;
use crate::model::event::Event;
use crate::model::snapshot::{RecentAttempt, RecentAttempts, RecentEnd};

/// Attempts of one answer.
const ATTEMPTS: usize = 3000;

/// How long the log is read.
const BUDGET: Duration = Duration::from_millis(500);

/// Entries of the first step. Each may hold hundreds of events: where they hold few, the steps grow.
const FIRST_STEP: usize = 25;
const STEP_AT_MOST: usize = 800;

/// Attempts whose evidence is read.
const EVIDENCE: usize = 300;

/// The attempts that ended, or were told to have started, after `since`, newest first.
///
/// # Errors
/// Those of any call.
pub async fn attempts(conn: &Connection, since: f64) -> Result<RecentAttempts, QueueError> {
    let begin = Instant::now();
    let mut found = RecentAttempts::default();
    let mut ended: HashSet<(String, String)> = HashSet::new();
    // Of each attempt that has ended, the memory that its task asks for.
    let mut declared: HashMap<usize, u64> = HashMap::new();
    let (mut before, mut step) = (None, FIRST_STEP);
    'log: loop {
        let (oldest, page) = events::before(conn, before.as_deref(), step).await?;
        if page.len() < ATTEMPTS / 8 {
            step = (step * 2).min(STEP_AT_MOST);
        }
        for event in page.into_iter().rev() {
            if event.time < since {
                break 'log;
            }
            let demand = event.demand.map(|demand| demand.amounts.mem().0);
            if let Some(attempt) = attempt(event, &mut ended) {
                found.complete_since = attempt.end.unwrap_or(attempt.start);
                declared.extend(demand.filter(|bytes| *bytes > 0).map(|bytes| (found.attempts.len(), bytes)));
                found.attempts.push(attempt);
            }
        }
        let Some(oldest) = oldest else {
            found.complete_since = 0.0;
            break;
        };
        if found.attempts.len() >= ATTEMPTS || begin.elapsed() >= BUDGET {
            break;
        }
        before = Some(oldest);
    }
    if found.attempts.len() < ATTEMPTS && begin.elapsed() < BUDGET {
        found.complete_since = 0.0;
    }
    found.attempts.truncate(ATTEMPTS);
    add_evidence(conn, &mut found.attempts, &declared).await?;
    Ok(found)
}

/// What an event says of an attempt. One that has ended is told once, by its end.
fn attempt(event: Event, ended: &mut HashSet<(String, String)>) -> Option<RecentAttempt> {
    let how = match event.event.as_str() {
        "finished" => RecentEnd::Finished,
        "failed" => RecentEnd::Failed,
        "lost" => RecentEnd::Lost,
        "returned" | "reclaimed" => RecentEnd::Returned,
        "started" => RecentEnd::Runs,
        _ => return None,
    };
    let (worker, id) = (event.worker?, event.id.unwrap_or_default());
    let is_first = id.is_empty() || ended.insert((worker.clone(), format!("{id} {}", event.attempt.unwrap_or(0))));
    let (start, end) = match how {
        RecentEnd::Runs if is_first => (event.time, None),
        RecentEnd::Runs => return None,
        // Of one that never started, nothing is to be drawn.
        RecentEnd::Finished | RecentEnd::Failed | RecentEnd::Returned | RecentEnd::Lost => {
            (event.start?, Some(event.end.unwrap_or(event.time)))
        }
    };
    let attempt = event.attempt.unwrap_or(1);
    Some(RecentAttempt { id, worker, start, end, ended: how, attempt, peak_over_declared: None })
}

/// Adds what the evidence says of the newest attempts that have ended.
async fn add_evidence(
    conn: &Connection,
    attempts: &mut [RecentAttempt],
    declared: &HashMap<usize, u64>,
) -> Result<(), QueueError> {
    let of: Vec<usize> = (0..attempts.len())
        .filter(|at| attempts[*at].end.is_some() && !attempts[*at].id.is_empty())
        .take(EVIDENCE)
        .collect();
    if of.is_empty() {
        return Ok(());
    }
    let mut cmd = redis::cmd("HMGET");
    cmd.arg(conn.name(Key::Evidence));
    for at in &of {
        cmd.arg(&attempts[*at].id);
    }
    let records: Vec<Option<LossyString>> = conn.cmd(&cmd).await?;
    for (at, records) in of.into_iter().zip(records) {
        let attempt = &mut attempts[at];
        let Some(LossyString(records)) = records else { continue };
        let mut records = records.lines().rev().filter_map(|json| serde_json::from_str::<AttemptRecord>(json).ok());
        let Some(record) = records.find(|record| record.attempt == attempt.attempt) else { continue };
        let declared = record.declared_bytes.or_else(|| declared.get(&at).copied()).filter(|bytes| *bytes > 0);
        attempt.peak_over_declared =
            record.peak_bytes.zip(declared).map(|(peak, declared)| peak as f64 / declared as f64);
    }
    Ok(())
}
