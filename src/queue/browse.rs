//! Reads the queue a page at a time, for a person. Each call has a bounded cost for the server and the network, at any depth of the queue and
//! any size of results.

use std::collections::{BTreeSet, HashMap};

use super::batches;
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::homes::keys_of;
use super::keys::{CLOSE, Key, home};
use super::lanes::lanes;
use super::lossy_string::{self, LossyString};
use super::overview::top_groups;
use super::select::TaskGroup;
use crate::model::listing::{TaskFilter, TaskPage, TaskRow};
use crate::model::snapshot::{FailureGroup, TaskState};
use crate::model::{FinishedValue, Outcome, TaskId, text_of_json};

/// A page is full from this many rows on. The last step may bring a few more: what a scan has gone past does not come again.
const ROWS: usize = 100;

/// Entries that one call looks at, at most, when few of them match.
const LOOK_AT_MOST: u64 = 20_000;

/// Calls that one page makes, at most: a table that has shrunk has many empty places.
const STEPS_AT_MOST: usize = 200;

/// Bytes of lines and results that one call reads before it stops. A result may be a mebibyte, and a scan has to take it along.
const READ_AT_MOST: usize = 4 << 20;

/// Entries that a step of the scan looks at: few where each may be large.
const STEP_LARGE: usize = 4;
const STEP: usize = 100;

/// Of the cursor of a page that goes on in the second hash of a state. Those of the server are far smaller.
const IN_SECOND: u64 = 1 << 63;

/// Where nothing matched so far, steps grow to this.
const STEP_BARREN: usize = 1000;

/// The next tasks that match, from `cursor` on; 0 begins.
///
/// # Errors
/// Those of any call.
pub async fn page(conn: &Connection, filter: &TaskFilter, cursor: u64) -> Result<TaskPage, QueueError> {
    let keys = keys_of(filter.state);
    let smallest = if filter.state == TaskState::Finished { STEP_LARGE } else { STEP };
    let (mut page, mut cursor, mut step, mut read) = (TaskPage::default(), cursor, smallest, 0);
    for _ in 0..STEPS_AT_MOST {
        let at = usize::from(cursor & IN_SECOND != 0).min(keys.len() - 1);
        let (next, entries): ScanPage = conn
            .cmd(redis::cmd("HSCAN").arg(conn.name(keys[at])).arg(cursor & !IN_SECOND).arg("COUNT").arg(step))
            .await?;
        let next = match (next, at) {
            (0, 0) if keys.len() > 1 => IN_SECOND,
            (next, 0) => next,
            (0, _) => 0,
            (next, _) => next | IN_SECOND,
        };
        page.looked_at += entries.len() as u64;
        let bytes: usize = entries.iter().map(|(line, value)| line.len() + value.len()).sum();
        read += bytes;
        let found: Vec<TaskRow> = entries.iter().filter_map(|(line, value)| row(filter, line, value)).collect();
        let found = match filter.state {
            TaskState::Failed | TaskState::Cancelled => failures(conn, filter, found).await?,
            TaskState::Todo | TaskState::InProgress | TaskState::Finished => found,
        };
        let found = of_members(conn, filter, found).await?;
        let is_barren = found.is_empty();
        page.rows.extend(found);
        cursor = next;
        page.next = Some(next).filter(|next| *next != 0);
        if page.next.is_none() || page.rows.len() >= ROWS || page.looked_at >= LOOK_AT_MOST || read >= READ_AT_MOST {
            break;
        }
        // As large as the budget for bytes allows, going by what was met last.
        let mean = bytes / entries.len().max(1) + 1;
        let affordable = ((READ_AT_MOST / 4) / mean).max(smallest);
        step = if is_barren { (step * 2).min(STEP_BARREN).min(affordable) } else { smallest };
    }
    Ok(page)
}

/// The row of an entry that matches as far as the entry itself can tell.
fn row(filter: &TaskFilter, line: &[u8], value: &[u8]) -> Option<TaskRow> {
    let line = std::str::from_utf8(line).ok().filter(|line| *line != CLOSE)?;
    let is_wanted = filter.include.as_ref().is_none_or(|text| line.contains(text.as_str()))
        && filter.exclude.as_ref().is_none_or(|text| !line.contains(text.as_str()));
    if !is_wanted {
        return None;
    }
    if filter.state == TaskState::Cancelled && value != Outcome::CANCELLED_GROUP.as_bytes() {
        return None;
    }
    let workers = workers_of(filter.state, value);
    // Those of a cancelled one are looked up.
    if filter.state != TaskState::Cancelled && !is_of(filter, &workers) {
        return None;
    }
    Some(TaskRow { id: TaskId::of(line).to_string(), line: line.to_owned(), workers, ..TaskRow::default() })
}

fn is_of(filter: &TaskFilter, workers: &[String]) -> bool {
    filter.worker.as_ref().is_none_or(|worker| workers.contains(worker))
}

/// The workers that the value of a hash names.
fn workers_of(state: TaskState, value: &[u8]) -> Vec<String> {
    /// Names are shorter; a result may go on for long without a colon.
    const LONGEST: usize = 256;
    let head = &value[..value.len().min(if state == TaskState::Failed { usize::MAX } else { LONGEST })];
    let text = String::from_utf8_lossy(head);
    match state {
        TaskState::Todo | TaskState::Cancelled => Vec::new(),
        TaskState::InProgress => vec![text.into_owned()],
        TaskState::Finished => FinishedValue::parse(&text).worker.map(str::to_owned).into_iter().collect(),
        TaskState::Failed => text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
    }
}

/// Adds why they failed, on which workers, and whether they will be tried again, and drops those of another state, kind or worker than is asked for.
async fn failures(conn: &Connection, filter: &TaskFilter, mut rows: Vec<TaskRow>) -> Result<Vec<TaskRow>, QueueError> {
    if rows.is_empty() {
        return Ok(rows);
    }
    let mut pipe = redis::pipe();
    for key in [Key::Kinds, Key::Reason, Key::Failed] {
        let mut lookup = redis::cmd("HMGET");
        lookup.arg(conn.name(key));
        for row in &rows {
            lookup.arg(&row.line);
        }
        pipe.add_command(lookup);
    }
    for row in &rows {
        pipe.hexists(conn.name(home(&row.line)), &row.line);
    }
    let mut replies = conn.pipe::<Vec<redis::Value>>(&pipe).await?.into_iter();
    let mut take = || replies.next().unwrap_or(redis::Value::Nil);
    type Values = Vec<Option<Vec<u8>>>;
    let (kinds, reasons, workers): (Values, Values, Values) = (decode(take())?, decode(take())?, decode(take())?);
    let waits = rows.iter().map(|_| decode(take())).collect::<Result<Vec<bool>, _>>()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let found = rows.iter_mut().zip(kinds).zip(reasons).zip(workers).zip(waits);
    for ((((row, kind), reason), workers), wait) in found {
        row.kind = kind.map(text);
        row.reason = reason.map(text).map(text_of_json);
        row.workers = workers.map(|workers| workers_of(TaskState::Failed, &workers)).unwrap_or_default();
        row.will_retry = wait;
    }
    rows.retain(|row| {
        TaskState::of_failure(row.kind.as_deref()) == filter.state
            && is_of(filter, &row.workers)
            && (filter.kind.is_none() || row.kind == filter.kind)
    });
    Ok(rows)
}

/// Drops those that are not of the batch, or do not have the tag, that is asked for.
async fn of_members(
    conn: &Connection,
    filter: &TaskFilter,
    mut rows: Vec<TaskRow>,
) -> Result<Vec<TaskRow>, QueueError> {
    if rows.is_empty() || !filter.is_of_members() {
        return Ok(rows);
    }
    let group = TaskGroup { kind: None, batch: filter.batch.clone(), tag: filter.tag.clone() };
    let lines: Vec<String> = rows.iter().map(|row| row.line.clone()).collect();
    let mut members = batches::members(conn, &lines).await?.into_iter();
    rows.retain(|_| members.next().flatten().is_some_and(|member| group.has_member(&member.names, &member.tags)));
    Ok(rows)
}

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
            found.entry(kind).or_default().extend(workers_of(TaskState::Failed, workers));
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

fn decode<T: redis::FromRedisValue>(value: redis::Value) -> Result<T, QueueError> {
    redis::from_redis_value(value).map_err(|error| QueueError::Protocol(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_text_and_by_the_whole_name_of_a_worker() {
        let all = TaskFilter::all(TaskState::Failed);
        assert_eq!(row(&all, b"shell:1:1:1:x", b"n1,n2,n1,").expect("a row").workers, ["n1", "n2", "n1"]);
        let on = |worker: &str| TaskFilter { worker: Some(worker.to_owned()), ..all.clone() };
        assert!(row(&on("n1"), b"shell:1:1:1:x", b"n10,n1,").is_some());
        assert!(row(&on("n1"), b"shell:1:1:1:x", b"n10,").is_none());
        let text = TaskFilter { include: Some("sim".to_owned()), exclude: Some("old".to_owned()), ..all };
        assert!(row(&text, b"shell:1:1:1:./sim", b"").is_some());
        assert!(row(&text, b"shell:1:1:1:./sim old", b"").is_none());
        assert!(row(&text, CLOSE.as_bytes(), b"").is_none());
        assert!(row(&text, b"\xff./sim", b"").is_none());
    }

    #[test]
    fn a_long_result_does_not_hide_its_worker() {
        let value = [b"n1: \"".as_slice(), &[b'x'; 5000]].concat();
        assert_eq!(workers_of(TaskState::Finished, &value), ["n1"]);
        assert!(workers_of(TaskState::Finished, &[b'x'; 5000]).is_empty());
    }
}
