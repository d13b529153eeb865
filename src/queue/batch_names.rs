//! What is known of names of batches: whether there is such a name, and how many of it are open. Reads only.

use std::collections::BTreeMap;

use super::call_size;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::LossyString;
use crate::model::BatchName;
use crate::model::snapshot::Awaited;

/// How some names stand, in their order; cancelled and gone tasks count as failed. Not one instant for more than a few hundred.
///
/// # Errors
/// Those of any call.
pub async fn states(conn: &Connection, names: &[BatchName]) -> Result<Vec<Awaited>, QueueError> {
    let mut states = Vec::with_capacity(names.len());
    for part in call_size::parts(names, PART, |name| name.as_str().len() * 8) {
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(conn.name(Key::BatchN));
        each_field(part, |field| {
            pipe.arg(field);
        });
        pipe.cmd("HMGET").arg(conn.name(Key::BatchWaived)).arg(part.iter().map(BatchName::as_str).collect::<Vec<_>>());
        let (counts, waived): (Vec<Option<LossyString>>, Vec<Option<LossyString>>) = conn.pipe(&pipe).await?;
        for ((name, counts), waived) in part.iter().zip(read(&counts)).zip(waived) {
            states.push(Awaited {
                name: name.clone(),
                open: counts.open.unwrap_or(0),
                failed: counts.failed,
                cancelled: 0,
                gone: 0,
                tasks: counts.tasks,
                submissions: counts.submissions,
                is_known: counts.open.is_some(),
                is_waived: waived.is_some(),
                held: None,
            });
        }
    }
    Ok(states)
}

/// Which of these names are released, and by whom; empty where nobody is named.
///
/// # Errors
/// Those of any call.
pub async fn released(conn: &Connection, names: &[BatchName]) -> Result<BTreeMap<BatchName, String>, QueueError> {
    let mut released = BTreeMap::new();
    for part in call_size::parts(names, PART, |name| name.as_str().len()) {
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(conn.name(Key::BatchWaived)).arg(part.iter().map(BatchName::as_str).collect::<Vec<_>>());
        let by: Vec<Option<LossyString>> = conn.cmd(&cmd).await?;
        released.extend(part.iter().cloned().zip(by).filter_map(|(name, by)| Some((name, by?.0))));
    }
    Ok(released)
}

/// The counters of one name. Each level of a batch has its own, except for submissions, which are of the whole batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    /// Tasks that wait or run; `None` where nothing is known of the name.
    pub(super) open: Option<u64>,
    /// Tasks that were given up or are gone.
    pub(super) failed: u64,
    /// All tasks that it ever had.
    pub(super) tasks: u64,
    /// Submissions that are under way, or were cut short.
    pub(super) submissions: u64,
}

/// The counters of some names, in their order.
///
/// # Errors
/// Those of any call.
pub(super) async fn counters(conn: &Connection, names: &[BatchName]) -> Result<Vec<Counters>, QueueError> {
    let mut found = Vec::with_capacity(names.len());
    for part in call_size::parts(names, PART, |name| name.as_str().len() * 4) {
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(conn.name(Key::BatchN));
        each_field(part, |field| {
            cmd.arg(field);
        });
        let values: Vec<Option<LossyString>> = conn.cmd(&cmd).await?;
        found.extend(read(&values));
    }
    Ok(found)
}

/// Names in one call.
const PART: usize = 250;

/// Hands out the fields that hold the counters of some names: four of each.
pub(super) fn each_field(names: &[BatchName], mut hand: impl FnMut(&str)) {
    let mut field = String::new();
    for name in names.iter().map(BatchName::as_str) {
        hand(name);
        let top = name.split('/').next().unwrap_or(name);
        for (name, suffix) in [(name, '!'), (name, '='), (top, '+')] {
            field.clear();
            field.push_str(name);
            field.push(suffix);
            hand(&field);
        }
    }
}

/// What stands in these fields. Others may have written to them: what is no number is not there, and none is below zero.
pub(super) fn read(values: &[Option<LossyString>]) -> impl Iterator<Item = Counters> {
    values.as_chunks().0.iter().map(|[open, failed, tasks, submissions]| Counters {
        open: number(open),
        failed: number(failed).unwrap_or(0),
        tasks: number(tasks).unwrap_or(0),
        submissions: number(submissions).unwrap_or(0),
    })
}

fn number(value: &Option<LossyString>) -> Option<u64> {
    let number = value.as_ref()?.0.parse::<i64>().ok()?;
    Some(u64::try_from(number).unwrap_or(0))
}

/// How many tasks of each of these names are gone unfinished.
///
/// # Errors
/// Those of any call.
pub(super) async fn gone(conn: &Connection, names: &[BatchName]) -> Result<Vec<u64>, QueueError> {
    let mut found = Vec::with_capacity(names.len());
    for part in call_size::parts(names, PART, |name| name.as_str().len()) {
        let fields: Vec<String> = part.iter().map(|name| format!("{name}~")).collect();
        let values: Vec<Option<LossyString>> =
            conn.cmd(redis::cmd("HMGET").arg(conn.name(Key::BatchN)).arg(fields)).await?;
        found.extend(values.iter().map(|value| number(value).unwrap_or(0)));
    }
    Ok(found)
}

/// The names of the batches that are known, unless there are more than `most`.
///
/// # Errors
/// Those of any call.
pub async fn all(conn: &Connection, most: usize) -> Result<Vec<BatchName>, QueueError> {
    let batches = conn.name(Key::Batches);
    let known: usize = conn.cmd(redis::cmd("HLEN").arg(&batches)).await?;
    if known > most {
        return Ok(Vec::new());
    }
    let names: Vec<String> = conn.cmd(redis::cmd("HKEYS").arg(&batches)).await?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Of each of these batches, how many of its open tasks wait behind a gate.
///
/// # Errors
/// Those of any call.
pub async fn gated(conn: &Connection, batches: &[BatchName]) -> Result<Vec<u64>, QueueError> {
    if batches.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = batches.iter().map(BatchName::as_str).collect();
    let key = format!("{}gated", conn.name(Key::Ready));
    let gated: Vec<Option<i64>> = conn.cmd(redis::cmd("HMGET").arg(key).arg(names)).await?;
    Ok(gated.into_iter().map(|number| u64::try_from(number.unwrap_or(0)).unwrap_or(0)).collect())
}
