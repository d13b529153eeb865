//! How batches stand. Cost grows with the number of batches asked for and with the tasks in progress, not with the queue.

use std::collections::HashMap;

use super::aside;
use super::batch_cancelled::cancelled;
use super::batch_names::{self, Counters, counters, states};
use super::batch_times;
use super::batches::{BEGUN, BatchRecord, Member};
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::{self, LossyString};
use super::overview::rate_over_last_minute;
use crate::model::snapshot::{Awaited, BatchList, BatchState, BatchView};
use crate::model::{BatchHold, BatchName};

/// Names in one call.
const PART: usize = 250;

/// The names of all batches that were ever made.
///
/// # Errors
/// Those of any call.
pub async fn names(conn: &Connection) -> Result<Vec<String>, QueueError> {
    Ok(lossy_string::list(conn.cmd(redis::cmd("HKEYS").arg(conn.name(Key::Batches))).await?))
}

/// All batches that were ever made, by name.
///
/// # Errors
/// Those of any call.
pub async fn all(conn: &Connection) -> Result<Vec<BatchView>, QueueError> {
    let mut names: Vec<BatchName> = names(conn).await?.iter().filter_map(|name| name.parse().ok()).collect();
    names.sort();
    let mut batches = some(conn, &names).await?;
    batch_times::look_up(conn, &mut batches).await?;
    Ok(batches)
}

/// Names that are looked at where not all batches are wanted.
const LOOKED_AT: usize = 10_000;

/// Some of all batches: those that have not ended, then others, each by name. At most `most`, of 10,000 that are looked at.
///
/// # Errors
/// Those of any call.
pub async fn first(conn: &Connection, most: usize) -> Result<BatchList, QueueError> {
    let batches = conn.name(Key::Batches);
    let known: u64 = conn.cmd(redis::cmd("HLEN").arg(&batches)).await?;
    let (mut cursor, mut names) = (0, Vec::new());
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(&batches).arg(cursor).arg("COUNT").arg(1000);
        let (next, page): ScanPage = conn.cmd(&scan).await?;
        let read = |(name, _): &(Vec<u8>, Vec<u8>)| std::str::from_utf8(name).ok()?.parse::<BatchName>().ok();
        names.extend(page.iter().filter_map(read));
        if next == 0 || names.len() >= LOOKED_AT {
            break;
        }
        cursor = next;
    }
    names.sort();
    names.dedup();
    if names.len() > most {
        let counts = counters(conn, &names).await?;
        let mut found: Vec<(BatchName, Counters)> = names.into_iter().zip(counts).collect();
        found.sort_by_key(|(_, counts)| counts.open.unwrap_or(0) == 0 && counts.submissions == 0);
        names = found.into_iter().take(most).map(|(name, _)| name).collect();
    }
    let mut batches = some(conn, &names).await?;
    batch_times::look_up(conn, &mut batches).await?;
    batches.sort_by_key(BatchView::has_ended);
    Ok(BatchList { batches, known })
}

/// Whether anything is known of some names.
///
/// # Errors
/// Those of any call.
pub async fn are_known(conn: &Connection, names: &[BatchName]) -> Result<Vec<bool>, QueueError> {
    let records = super::batches::records(conn, &names.iter().map(BatchName::top).collect::<Vec<_>>()).await?;
    let is_whole = are_whole(conn).await?;
    let counts = counters(conn, names).await?;
    // A step is known by its counters alone; while these are counted anew, its batch speaks for it.
    let is_known = |((counts, record), name): ((&Counters, Option<BatchRecord>), &BatchName)| {
        counts.open.is_some() || (record.is_some() && (name.is_top() || !is_whole))
    };
    Ok(counts.iter().zip(records).zip(names).map(is_known).collect())
}

/// These batches and steps, in this order; those of which nothing is known are empty.
///
/// # Errors
/// Those of any call.
pub async fn some(conn: &Connection, names: &[BatchName]) -> Result<Vec<BatchView>, QueueError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let Facts { counts, records, rates } = facts(conn, names).await?;
    let running = running(conn, names).await?;
    let aside = if conn.is_local() { aside::of_batches(conn, names).await? } else { HashMap::new() };
    let has_failed = counts.iter().any(|counts| counts.failed > 0);
    let cancelled = if has_failed { cancelled(conn, names).await? } else { HashMap::new() };
    let mut pipe = redis::pipe();
    pipe.hgetall(conn.name(Key::BatchHeld)).hgetall(format!("{}gated", conn.name(Key::Ready)));
    pipe.hgetall(conn.name(Key::BatchWaived)).cmd("TIME");
    ask_whole(conn, &mut pipe);
    let (held, gated, waived, (now, _), state, members, are_there): (_, _, _, (u64, u64), _, _, _) =
        conn.pipe(&pipe).await?;
    let [held, gated, waived] = [held, gated, waived].map(lossy_string::hash);
    let is_whole = whole((state, members, are_there));
    let mut awaited: Vec<BatchName> =
        records.iter().flatten().flat_map(|record| record.after.iter().cloned()).collect();
    awaited.sort();
    awaited.dedup();
    let awaited = self::awaited(conn, &awaited).await?;
    let awaited: HashMap<BatchName, Awaited> =
        awaited.into_iter().map(|awaited| (awaited.name.clone(), awaited)).collect();
    let mut views = Vec::with_capacity(names.len());
    for (at, (name, record)) in names.iter().zip(records).enumerate() {
        let of_batch = gated.get(name.as_str()).and_then(|n| n.parse().ok()).unwrap_or(0);
        let rate = rates[at].as_deref().map_or(0.0, |ring| rate_over_last_minute(ring.split(','), now));
        let held = held.get(name.top().as_str()).map(|text| BatchHold::parse(text));
        let [running, cancelled, aside] =
            [&running, &cancelled, &aside].map(|counts| counts.get(name).copied().unwrap_or(0));
        let released = waived.get(name.as_str()).cloned();
        let now = Now { running, cancelled, aside, gated: of_batch, rate, held, released, is_whole };
        views.push(view(name, &counts[at], record, &now, &awaited));
    }
    Ok(views)
}

/// What is true of a batch at this moment, beside its counters.
struct Now {
    running: u64,
    cancelled: u64,
    aside: u64,
    gated: u64,
    rate: f64,
    held: Option<BatchHold>,
    released: Option<String>,
    /// Whether the counters can be trusted.
    is_whole: bool,
}

fn view(
    name: &BatchName,
    counts: &Counters,
    record: Option<BatchRecord>,
    now: &Now,
    awaited: &HashMap<BatchName, Awaited>,
) -> BatchView {
    let record = record.unwrap_or_default();
    let open = counts.open.unwrap_or(0);
    let running = now.running.min(open);
    let aside = now.aside.min(open - running);
    let blocked = now.gated.min(open - running - aside);
    let waiting = open - running - aside - blocked;
    let cancelled = now.cancelled.min(counts.failed);
    let held = now.held.clone();
    let state = match &held {
        Some(_) | None if !now.is_whole => BatchState::Counting,
        Some(hold) if hold.has_stopped() => BatchState::Stopped,
        Some(_) if open > 0 => BatchState::Paused,
        Some(_) | None if running > 0 => BatchState::Running,
        Some(_) | None if waiting > 0 => BatchState::Waiting,
        Some(_) | None if blocked > 0 => BatchState::Blocked,
        Some(_) | None if aside > 0 => BatchState::Aside,
        Some(_) | None if counts.submissions > 0 => BatchState::Adding,
        Some(_) | None if counts.failed > 0 => BatchState::Failed,
        Some(_) | None if counts.tasks > 0 => BatchState::Finished,
        Some(_) | None => BatchState::Empty,
    };
    let is_going = matches!(state, BatchState::Running | BatchState::Waiting) && blocked + aside == 0 && now.rate > 0.0;
    BatchView {
        name: name.clone(),
        state,
        tasks: counts.tasks,
        open,
        finished: counts.tasks.saturating_sub(open + counts.failed),
        failed: counts.failed - cancelled,
        cancelled,
        running,
        waiting,
        blocked,
        aside,
        starts_at: None,
        submissions: counts.submissions,
        rate_per_second: now.rate,
        eta_seconds: is_going.then(|| (open as f64 / now.rate).ceil() as u64),
        held,
        released: now.released.clone(),
        by: record.by,
        created: record.created,
        max_fails: record.max_fails,
        kill_on_invalid_dep: record.kill_on_invalid_dep,
        after: record.after.iter().filter_map(|name| awaited.get(name).cloned()).collect(),
    }
}

/// How some names stand that others wait for, in their order; cancelled and gone tasks apart from those that failed, and with what holds them.
///
/// # Errors
/// Those of any call.
pub async fn awaited(conn: &Connection, names: &[BatchName]) -> Result<Vec<Awaited>, QueueError> {
    let mut awaited = states(conn, names).await?;
    let held = lossy_string::hash(conn.cmd(redis::cmd("HGETALL").arg(conn.name(Key::BatchHeld))).await?);
    for awaited in &mut awaited {
        awaited.held = held.get(awaited.name.top().as_str()).map(|text| BatchHold::parse(text));
    }
    let mut missed: Vec<&mut Awaited> = awaited.iter_mut().filter(|awaited| awaited.failed > 0).collect();
    let names: Vec<BatchName> = missed.iter().map(|awaited| awaited.name.clone()).collect();
    if !names.is_empty() {
        let (gone, cancelled) = (batch_names::gone(conn, &names).await?, cancelled(conn, &names).await?);
        for (awaited, gone) in missed.iter_mut().zip(gone) {
            awaited.gone = gone.min(awaited.failed);
            awaited.failed -= awaited.gone;
            awaited.cancelled = cancelled.get(&awaited.name).copied().unwrap_or(0).min(awaited.failed);
            awaited.failed -= awaited.cancelled;
        }
    }
    Ok(awaited)
}

/// How many tasks wait that are of batches that are held.
///
/// # Errors
/// Those of any call.
pub async fn held(conn: &Connection) -> Result<u64, QueueError> {
    let names = held_names(conn).await?;
    let names: Vec<BatchName> = names.iter().filter_map(|name| name.parse().ok()).collect();
    Ok(some(conn, &names).await?.iter().map(|batch| batch.waiting).sum())
}

/// The names of the batches that are held.
///
/// # Errors
/// Those of any call.
pub(super) async fn held_names(conn: &Connection) -> Result<Vec<String>, QueueError> {
    Ok(lossy_string::list(conn.cmd(redis::cmd("HKEYS").arg(conn.name(Key::BatchHeld))).await?))
}

/// Of each of these lines, the batch of it that is held, and why.
///
/// # Errors
/// Those of any call.
pub async fn held_of(conn: &Connection, lines: &[String]) -> Result<Vec<Option<(BatchName, BatchHold)>>, QueueError> {
    let held = lossy_string::hash(conn.cmd(redis::cmd("HGETALL").arg(conn.name(Key::BatchHeld))).await?);
    if held.is_empty() {
        return Ok(vec![None; lines.len()]);
    }
    let of = |member: Member| {
        let tops = member.names.iter().map(BatchName::top);
        tops.filter_map(|top| Some((top.clone(), BatchHold::parse(held.get(top.as_str())?)))).next()
    };
    Ok(super::batches::members(conn, lines).await?.into_iter().map(|member| member.and_then(of)).collect())
}

/// Whether the counters can be trusted: not while they are counted anew.
async fn are_whole(conn: &Connection) -> Result<bool, QueueError> {
    let mut pipe = redis::pipe();
    ask_whole(conn, &mut pipe);
    Ok(whole(conn.pipe(&pipe).await?))
}

fn ask_whole(conn: &Connection, pipe: &mut redis::Pipeline) {
    pipe.get(format!("{}counts", conn.name(Key::Ready))).hlen(conn.name(Key::Member));
    pipe.hexists(conn.name(Key::BatchN), BEGUN);
}

fn whole((state, members, are_there): (Option<LossyString>, u64, bool)) -> bool {
    members == 0 || (are_there && state.is_some_and(|LossyString(state)| state == "1"))
}

/// What Redis has of some names, in their order.
#[derive(Default)]
struct Facts {
    counts: Vec<Counters>,
    records: Vec<Option<BatchRecord>>,
    rates: Vec<Option<String>>,
}

/// Names of one round trip.
const TOGETHER: usize = 1000;

async fn facts(conn: &Connection, names: &[BatchName]) -> Result<Facts, QueueError> {
    let mut facts = Facts::default();
    for names in names.chunks(TOGETHER) {
        let mut pipe = redis::pipe();
        for part in names.chunks(PART) {
            let plain: Vec<&str> = part.iter().map(BatchName::as_str).collect();
            pipe.cmd("HMGET").arg(conn.name(Key::BatchN));
            batch_names::each_field(part, |field| {
                pipe.arg(field);
            });
            pipe.cmd("HMGET").arg(conn.name(Key::Batches)).arg(&plain);
            pipe.cmd("HMGET").arg(conn.name(Key::BatchRate)).arg(&plain);
        }
        let replies: Vec<Vec<Option<LossyString>>> = conn.pipe(&pipe).await?;
        let mut replies = replies.into_iter();
        while let (Some(counts), Some(records), Some(rates)) = (replies.next(), replies.next(), replies.next()) {
            facts.counts.extend(batch_names::read(&counts));
            facts.records.extend(records.into_iter().map(|json| serde_json::from_str(&json?.0).ok()));
            facts.rates.extend(rates.into_iter().map(|rate| Some(rate?.0)));
        }
    }
    Ok(facts)
}

/// How many tasks of each of these names run: looks at all that is in progress.
async fn running(conn: &Connection, names: &[BatchName]) -> Result<HashMap<BatchName, u64>, QueueError> {
    let mut counts: HashMap<BatchName, u64> = names.iter().map(|name| (name.clone(), 0)).collect();
    let mut cursor = 0;
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(conn.name(Key::InProgress)).arg(cursor).arg("COUNT").arg(PART);
        let (next, page): ScanPage = conn.cmd(&scan).await?;
        let lines: Vec<String> = page.into_iter().filter_map(|(line, _)| String::from_utf8(line).ok()).collect();
        for member in super::batches::members(conn, &lines).await?.into_iter().flatten() {
            member.count(&mut counts);
        }
        if next == 0 {
            return Ok(counts);
        }
        cursor = next;
    }
}
