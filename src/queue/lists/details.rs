//! What rows say beside the line: how the task failed, and how its last attempt ended.

use super::super::client::Connection;
use super::super::error::QueueError;
use super::super::keys::{Key, home};
use super::super::lossy_string::LossyString;
use super::collector::Collector;
use crate::model::failure_cause::cause_of;
use crate::model::failure_reason::beyond_kind;
use crate::model::listing::{EndNote, TaskRow};
use crate::model::snapshot::{AttemptView, TaskState};
use crate::model::{AttemptRecord, FinishedValue, text_of_json};

/// Records that are read at once: those of one task may be some 200 KiB.
const AT_ONCE: usize = 50;

/// The workers that the value of a hash names.
pub(super) fn workers_of(state: TaskState, value: &[u8]) -> Vec<String> {
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

/// Adds why they failed, on which workers, and whether they will be tried again, and drops those that have not failed, or are of another state or kind than
/// is asked for.
pub(super) async fn failures(
    conn: &Connection,
    found: &Collector,
    mut rows: Vec<TaskRow>,
) -> Result<Vec<TaskRow>, QueueError> {
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
    let mut has_failed = workers.iter().map(Option::is_some).collect::<Vec<_>>().into_iter();
    let looked_up = rows.iter_mut().zip(kinds).zip(reasons).zip(workers).zip(waits);
    for ((((row, kind), reason), workers), wait) in looked_up {
        row.kind = kind.map(text);
        row.reason = reason.map(text).map(text_of_json);
        row.workers = workers.map(|workers| workers_of(TaskState::Failed, &workers)).unwrap_or_default();
        row.will_retry = wait;
    }
    let filter = found.filter();
    rows.retain(|row| {
        has_failed.next() == Some(true)
            && TaskState::of_failure(row.kind.as_deref()) == filter.state
            && found.wants_workers(&row.workers)
            && (filter.kind.is_none() || row.kind == filter.kind)
            && filter.cause.as_ref().is_none_or(|cause| has_cause(row, cause))
    });
    Ok(rows)
}

/// Whether this is what the failure of a task has in common with others.
fn has_cause(row: &TaskRow, cause: &str) -> bool {
    let (reason, kind) = (row.reason.as_deref().unwrap_or_default(), row.kind.as_deref().unwrap_or_default());
    cause_of(beyond_kind(reason, kind)).is_some_and(|of| of == cause)
}

/// Adds how their last attempts ended, and of those that finished on which worker.
pub(super) async fn ends(conn: &Connection, found: &mut Collector, rows: &mut [TaskRow]) -> Result<(), QueueError> {
    for part in rows.chunks_mut(AT_ONCE) {
        let mut lookup = redis::cmd("HMGET");
        lookup.arg(conn.name(Key::Evidence));
        for row in part.iter() {
            lookup.arg(&row.id);
        }
        let records: Vec<Option<LossyString>> = conn.cmd(&lookup).await?;
        for (row, records) in part.iter_mut().zip(records) {
            let Some(LossyString(records)) = records else { continue };
            found.looked(0, records.len());
            let Some(last) = last_attempt(&records) else { continue };
            if row.workers.is_empty() {
                row.workers = vec![last.worker.clone()];
            }
            row.end = Some(note(&last));
        }
    }
    Ok(())
}

/// The last record, of an attempt or of a cancellation.
fn last_attempt(records: &str) -> Option<AttemptView> {
    let record = records.lines().rev().find_map(|json| serde_json::from_str::<AttemptRecord>(json).ok())?;
    Some(record.into())
}

fn note(last: &AttemptView) -> EndNote {
    EndNote {
        attempt: last.attempt,
        result: last.outcome.to_string(),
        at: last.settled.unwrap_or(last.end),
        took: last.start.map(|start| (last.end - start).max(0.0)),
        peak_bytes: last.peak_memory_bytes,
    }
}

pub(super) fn decode<T: redis::FromRedisValue>(value: redis::Value) -> Result<T, QueueError> {
    redis::from_redis_value(value).map_err(|error| QueueError::Protocol(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_result_does_not_hide_its_worker() {
        let value = [b"n1: \"".as_slice(), &[b'x'; 5000]].concat();
        assert_eq!(workers_of(TaskState::Finished, &value), ["n1"]);
        assert!(workers_of(TaskState::Finished, &[b'x'; 5000]).is_empty());
        assert_eq!(workers_of(TaskState::Failed, b"n1,n2,n1,"), ["n1", "n2", "n1"]);
    }
}
