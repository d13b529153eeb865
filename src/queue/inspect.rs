//! Reads the queue. [`overview`] costs the same at any depth; [`tasks`] reads some tasks.

use std::collections::HashMap;

use super::autoscale;
use super::batch_gates;
use super::batch_views;
use super::call_size::parts;
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::homes::{STORED, keys_of};
use super::keys::{Key, STOP_FIELD};
use super::kinds;
use super::lanes::{Lanes, lanes};
use super::limits;
use super::lossy_string::{self, LossyString};
use super::overview::{WorkerHashes, health, kinds_of, note_suspects, rates_over_last_minute, top_groups, workers};
use super::{python_workers, share};

pub use super::task_views::{attempts, tasks};

use crate::model::snapshot::{
    Counts, FailureGroup, HoldReasons, Overview, ReservationView, TaskState, TaskView, Totals, WaitingGroup, WorkerView,
};
use crate::model::spread::Spread;
use crate::model::{BatchName, Class, Lane, Outcome, text_of_json};
use crate::policy::estimate;

/// The whole queue at a glance, in four round trips.
///
/// # Errors
/// Those of any call.
pub async fn overview(conn: &Connection) -> Result<Overview, QueueError> {
    let mut pipe = redis::pipe();
    for key in [Key::Todo, Key::Waiting, Key::InProgress, Key::Finished, Key::Failed, Key::Quarantine] {
        pipe.hlen(conn.name(key));
    }
    pipe.hexists(conn.name(Key::Todo), STOP_FIELD);
    pipe.get(conn.name(Key::Paused));
    let hashes = [
        Key::Status,
        Key::Owner,
        Key::Load,
        Key::Workers,
        Key::Tally,
        Key::Rate,
        Key::Groups,
        Key::Samples,
        Key::Reserved,
    ];
    for key in hashes.into_iter().chain([Key::Blocked, Key::Drain]) {
        pipe.hgetall(conn.name(key));
    }
    pipe.zcard(conn.name(Key::Delayed)).zcard(conn.name(Key::RetryElsewhere)).hlen(conn.name(Key::Retrying));
    pipe.hlen(conn.name(Key::Marks));
    pipe.cmd("INFO");
    pipe.cmd("TIME");
    pipe.hgetall(format!("{}gated", conn.name(Key::Ready))).hlen(conn.name(Key::BatchHeld));
    pipe.hlen(conn.name(Key::Policy)).hgetall(conn.name(Key::Blamed)).hgetall(conn.name(Key::Died));
    pipe.hgetall(conn.name(Key::Spread));
    let (mut overview, has_policy) = decode_overview(conn.pipe(&pipe).await?)?;
    if has_policy {
        overview.fair_share = share::view(conn).await?;
    }
    if overview.counts.blocked > 0 {
        overview.blocked_on = batch_gates::blocked_on(conn).await?;
    }
    let mut held = Vec::new();
    if overview.counts.held > 0 {
        overview.counts.held = batch_views::held(conn).await?;
        held = batch_views::held_names(conn).await?;
    }
    overview.limits = limits::views(conn).await?;
    let Lanes { mut first, mut all, .. } = lanes(conn, LANES_JUDGED).await?;
    // The next claim puts lanes of held batches apart.
    let found = first.len();
    first.retain(|lane| Class::of_lane(lane).is_none_or(|lane| !held.iter().any(|name| name == lane.batch)));
    all = all.saturating_sub((found - first.len()) as u64);
    let beyond = first.split_off(first.len().min(Overview::NEEDS));
    overview.is_local = conn.is_local();
    if overview.is_local {
        // A run that was killed is no node to look after.
        overview.workers.retain(|worker| worker.extras.died.is_none());
    }
    python_workers::count_finished(conn, overview.counts.finished, &mut overview.workers).await?;
    overview.needs_left_out = all.saturating_sub(first.len() as u64);
    overview.needs = needs(conn, &first).await?;
    overview.rare_needs = rare(conn, &overview, beyond).await?;
    overview.eta_seconds = estimate::of_overview(&overview);
    Ok(overview)
}

/// Lanes of which it is looked whether some worker could run them.
const LANES_JUDGED: usize = 1024;

/// Of these lanes, those that no worker could run.
async fn rare(conn: &Connection, overview: &Overview, lanes: Vec<String>) -> Result<Vec<WaitingGroup>, QueueError> {
    let fits = |lane: &String| group_of(lane, 1).is_none_or(|group| overview.fits_somewhere(&group));
    let unfit: Vec<String> = lanes.into_iter().filter(|lane| !fits(lane)).collect();
    needs(conn, &unfit).await
}

/// The same for people and programs that look. In a private queue only a run starts workers, and what an interrupted one has left of its worker is not
/// there any more: where no worker listens, there is none.
///
/// # Errors
/// Those of [`overview`].
pub async fn shown_overview(conn: &Connection) -> Result<Overview, QueueError> {
    let mut overview = overview(conn).await?;
    overview.autoscalers = autoscale::at_work(conn).await?;
    if overview.is_local && !overview.workers.is_empty() {
        let mut pipe = redis::pipe();
        pipe.cmd("PUBSUB").arg("NUMSUB").arg(conn.name(Key::Wake));
        let (listeners,): ((String, u64),) = conn.pipe(&pipe).await?;
        if listeners.1 == 0 {
            overview.workers.clear();
            overview.eta_seconds = None;
        }
    }
    Ok(overview)
}

/// The overview but for its needs, and whether there is any policy.
fn decode_overview(replies: Vec<redis::Value>) -> Result<(Overview, bool), QueueError> {
    let mut replies = Replies(replies.into_iter());
    let (plain, extended): (u64, u64) = (replies.take()?, replies.take()?);
    let todo = plain + extended;
    let (in_progress, finished): (u64, u64) = (replies.take()?, replies.take()?);
    let (failed, quarantined): (u64, u64) = (replies.take()?, replies.take()?);
    let stopping: bool = replies.take()?;
    let paused = replies.text()?;
    let (status, owners, loads, processes) = (replies.hash()?, replies.hash()?, replies.hash()?, replies.hash()?);
    let (tally, rate, groups, samples) = (replies.hash()?, replies.hash()?, replies.hash()?, replies.hash()?);
    let (reserved, blocked, drains) = (replies.hash()?, replies.hash()?, replies.hash()?);
    let (backing_off, left_to_others): (u64, u64) = (replies.take()?, replies.take()?);
    // Suspects whose worker was lost are in neither: they have not failed.
    let retries = backing_off + left_to_others;
    let retrying = replies.take::<u64>()?.max(retries).min(failed);
    let ordered: u64 = replies.take()?;
    let info: String = replies.take()?;
    let (now, _): (u64, u64) = replies.take()?;
    let apart = replies.hash()?.values().filter_map(|n| n.parse::<u64>().ok()).sum();
    // For now the number of batches.
    let held: u64 = replies.take()?;
    let policies: u64 = replies.take()?;
    let (blamed, died) = (replies.hash()?, replies.hash()?);
    let spread = Spread::of(&replies.hash()?);
    // The stop command may have come between the two questions.
    let todo = todo.saturating_sub(u64::from(stopping));
    let cancelled = groups.get(Outcome::CANCELLED_GROUP).and_then(|n| n.parse().ok()).unwrap_or(0).min(failed);
    let counts = Counts { todo, in_progress, finished, failed, cancelled, quarantined, blocked: apart, held };
    let (rate_per_second, failed_per_second) = rates_over_last_minute(&rate, now);
    let hashes = WorkerHashes { status, owners, loads, processes, drains, died };
    let mut workers = workers(&hashes, &tally, now);
    note_suspects(&mut workers, &blamed);
    let totals = totals(&tally, &workers);
    let overview = Overview {
        is_local: false,
        counts,
        rate_per_second,
        failed_per_second,
        // Not before it is known what fits where.
        eta_seconds: None,
        failures: top_groups(&groups, &samples, 3),
        paused,
        stopping,
        ordered,
        reservations: reservations(&reserved, &blocked),
        needs: Vec::new(),
        needs_left_out: 0,
        blocked_on: Vec::new(),
        limits: Vec::new(),
        backing_off,
        retries,
        retrying,
        rare_needs: Vec::new(),
        failure_kinds: kinds_of(&groups),
        autoscalers: Vec::new(),
        spread,
        fair_share: None,
        totals,
        redis: health(&info),
        now,
        workers,
    };
    Ok((overview, policies > 0))
}

/// The lines for which workers keep room.
fn reservations(reserved: &HashMap<String, String>, blocked: &HashMap<String, String>) -> Vec<ReservationView> {
    let view = |(class, holder): (&String, &String)| {
        let (worker, _) = holder.rsplit_once('|')?;
        let (_, line) = blocked.get(class)?.split_once('|')?;
        Some(ReservationView { worker: worker.to_owned(), line: line.to_owned() })
    };
    reserved.iter().filter_map(view).collect()
}

/// What was ever counted.
fn totals(tally: &HashMap<String, String>, workers: &[WorkerView]) -> Totals {
    let loads = workers.iter().filter_map(|worker| worker.load.as_ref());
    let total = |name: &str| tally.get(name).and_then(|n| n.parse().ok()).unwrap_or(0);
    Totals {
        finished: total("finished"),
        failed: total("failed"),
        timed_out: total("timed_out"),
        returned: total("returned"),
        lost: total("lost"),
        fenced: loads.map(|load| load.fenced).fold(0, u64::saturating_add),
        invalid: total("invalid"),
        retried: total("retried"),
        failed_for_good: total("final"),
        workers_died: total("died"),
    }
}

/// How many wait in each lane of the index.
async fn needs(conn: &Connection, lanes: &[String]) -> Result<Vec<WaitingGroup>, QueueError> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let ready = conn.name(Key::Ready);
    let mut pipe = redis::pipe();
    for lane in lanes {
        pipe.zcard(format!("{ready}c:{lane}"));
    }
    let counts: Vec<u64> = conn.pipe(&pipe).await?;
    Ok(lanes
        .iter()
        .zip(counts)
        .filter(|(_, waiting)| *waiting > 0)
        .filter_map(|(lane, waiting)| group_of(lane, waiting))
        .collect())
}

/// What waits in a lane.
fn group_of(lane: &str, waiting: u64) -> Option<WaitingGroup> {
    let Lane { demand, needs, failed_on: workers, .. } = Class::of_lane(lane)?;
    // Suspects wait in a lane of their own, whose name begins so.
    let names = workers.split(',').filter(|name| !name.is_empty() && !name.starts_with('!'));
    let failed_on = names.map(str::to_owned).collect();
    Some(WaitingGroup { demand, needs: needs.to_owned(), failed_on, waiting })
}

/// What holds one task back. Constant cost.
///
/// # Errors
/// Those of any call.
pub async fn hold(conn: &Connection, task: &TaskView) -> Result<HoldReasons, QueueError> {
    let mut pipe = redis::pipe();
    pipe.zscore(conn.name(Key::Delayed), &task.line).zscore(conn.name(Key::RetryElsewhere), &task.line).cmd("TIME");
    pipe.get(format!("{}time", conn.name(Key::Ready))).hget(conn.name(Key::Kinds), &task.line);
    if let Some(worker) = task.worker.as_deref().and_then(|worker| worker.parse().ok()) {
        pipe.hget(conn.keys().name_for(Key::Claims, &worker), &task.line);
    }
    let batch = task.batches.first().map(BatchName::top);
    let held = match &batch {
        Some(batch) => super::batches::held(conn, batch).await?,
        None => None,
    };
    let waits_for = batch_gates::gates_of(conn, &task.line).await?;
    let mut replies = Replies(conn.pipe::<Vec<redis::Value>>(&pipe).await?.into_iter());
    let (delayed, avoided): (Option<f64>, Option<f64>) = (replies.take()?, replies.take()?);
    let (now, _): (u64, u64) = replies.take()?;
    // These moments are of the index's own time, which may be ahead of the server's clock.
    let time = replies.text()?;
    let ahead_ms =
        time.and_then(|time| time.split(':').nth(1).and_then(|ahead| ahead.parse::<f64>().ok())).unwrap_or(0.0);
    let failure_group = replies.text()?;
    let claim = replies.text()?;
    let left = |until_ms: f64| (((until_ms - ahead_ms) / 1000.0).ceil() as u64).saturating_sub(now);
    Ok(HoldReasons {
        backoff_seconds: delayed.map(left),
        left_to_others_seconds: avoided.map(left).filter(|seconds| *seconds > 0),
        has_slot: claim.and_then(|claim| claim.split('|').nth(2).map(|started| started != "0")),
        failure_group,
        waits_for,
        held,
    })
}

/// The answers to a pipeline, taken in its order.
struct Replies(std::vec::IntoIter<redis::Value>);

impl Replies {
    fn take<T: redis::FromRedisValue>(&mut self) -> Result<T, QueueError> {
        redis::from_redis_value(self.0.next().unwrap_or(redis::Value::Nil))
            .map_err(|error| QueueError::Protocol(error.to_string()))
    }

    fn hash(&mut self) -> Result<HashMap<String, String>, QueueError> {
        self.take().map(lossy_string::hash)
    }

    fn text(&mut self) -> Result<Option<String>, QueueError> {
        Ok(self.take::<Option<LossyString>>()?.map(|LossyString(text)| text))
    }
}

/// The groups of failures by their counters, largest first, with the reason of each sample. Costs as much as there are kinds, at most 200 are told.
///
/// # Errors
/// Those of any call.
pub async fn failure_groups(conn: &Connection) -> Result<Vec<FailureGroup>, QueueError> {
    const MOST: usize = 200;
    let mut pipe = redis::pipe();
    pipe.hgetall(conn.name(Key::Groups)).hgetall(conn.name(Key::Samples));
    let (groups, samples) = conn.pipe(&pipe).await?;
    let mut all = top_groups(&lossy_string::hash(groups), &lossy_string::hash(samples), MOST);
    if all.is_empty() {
        return Ok(all);
    }
    let mut cmd = redis::cmd("HMGET");
    cmd.arg(conn.name(Key::Reason));
    for group in &all {
        cmd.arg(&group.sample);
    }
    let reasons: Vec<Option<LossyString>> = conn.cmd(&cmd).await?;
    for (group, reason) in all.iter_mut().zip(reasons) {
        group.reason = reason.map(|LossyString(json)| text_of_json(json)).unwrap_or_default();
    }
    Ok(all)
}

/// Just the counts: what a progress bar asks for several times a second.
///
/// # Errors
/// Those of any call.
pub async fn counts(conn: &Connection) -> Result<Counts, QueueError> {
    let mut pipe = redis::pipe();
    for key in [Key::Todo, Key::Waiting, Key::InProgress, Key::Finished, Key::Failed, Key::Quarantine] {
        pipe.hlen(conn.name(key));
    }
    pipe.hexists(conn.name(Key::Todo), STOP_FIELD);
    pipe.hget(conn.name(Key::Groups), Outcome::CANCELLED_GROUP);
    type Answers = (u64, u64, u64, u64, u64, u64, bool, Option<LossyString>);
    let (plain, apart, in_progress, finished, failed, quarantined, stopping, cancelled): Answers =
        conn.pipe(&pipe).await?;
    let todo = (plain + apart).saturating_sub(u64::from(stopping));
    let cancelled = cancelled.and_then(|LossyString(n)| n.parse().ok()).unwrap_or(0).min(failed);
    Ok(Counts { todo, in_progress, finished, failed, cancelled, quarantined, ..Counts::default() })
}

/// Where each of some lines is: the states it is in, none for one that is nowhere. One round trip, a second where some have failed, more where they are
/// long.
///
/// # Errors
/// Those of any call.
pub async fn states(conn: &Connection, lines: &[String]) -> Result<Vec<Vec<TaskState>>, QueueError> {
    // A line may wait in either hash: others may have written it where no worker has found it yet.
    let hashes: Vec<(TaskState, Key)> =
        STORED.into_iter().flat_map(|state| keys_of(state).iter().map(move |key| (state, *key))).collect();
    let mut there: Vec<bool> = Vec::with_capacity(lines.len() * hashes.len());
    for part in parts(lines, usize::MAX, |line| line.len() * hashes.len()) {
        let mut pipe = redis::pipe();
        for line in part {
            for (_, key) in &hashes {
                pipe.hexists(conn.name(*key), line);
            }
        }
        there.extend(conn.pipe::<Vec<bool>>(&pipe).await?);
    }
    let states_of = |flags: &[bool]| {
        let mut states: Vec<TaskState> =
            hashes.iter().zip(flags).filter(|(_, there)| **there).map(|((state, _), _)| *state).collect();
        states.dedup();
        states
    };
    let mut states: Vec<Vec<TaskState>> = there.chunks(hashes.len()).map(states_of).collect();
    let has_failed = |states: &[TaskState]| states.contains(&TaskState::Failed);
    let failed: Vec<String> =
        lines.iter().zip(&states).filter(|(_, states)| has_failed(states)).map(|(line, _)| line.clone()).collect();
    let mut kinds = kinds::recorded(conn, &failed).await?.into_iter();
    for state in states.iter_mut().flatten().filter(|state| **state == TaskState::Failed) {
        *state = TaskState::of_failure(kinds.next().flatten().as_deref());
    }
    Ok(states)
}

/// Who has paused the queue; `None` when nobody has.
///
/// # Errors
/// Those of any call.
pub async fn paused_by(conn: &Connection) -> Result<Option<String>, QueueError> {
    conn.cmd(redis::cmd("GET").arg(conn.name(Key::Paused))).await
}

/// The lines that are not UTF-8, as lossy text, with their reason. Bounded by `limit`.
///
/// # Errors
/// Those of any call.
pub async fn quarantined(conn: &Connection, limit: usize) -> Result<Vec<(String, String)>, QueueError> {
    let (_, page): ScanPage =
        conn.cmd(redis::cmd("HSCAN").arg(conn.name(Key::Quarantine)).arg(0).arg("COUNT").arg(limit.max(10))).await?;
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(page.iter().take(limit).map(|(line, reason)| (lossy(line), lossy(reason))).collect())
}

/// Every decoder of this file on one answer, and what people are shown of it.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(values: &[redis::Value]) -> (Option<Overview>, Vec<TaskView>) {
    let lines = vec!["shell:1:1:1:a".to_owned(); values.len().div_ceil(super::task_views::ROW)];
    (decode_overview(values.to_vec()).ok().map(|(overview, _)| overview), super::task_views::decode(&lines, values))
}
