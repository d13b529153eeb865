//! Everything known about some tasks.

use super::batches::Member;
use super::call_size::parts;
use super::client::Connection;
use super::control::PendingOrder;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::LossyString;
use crate::model::failure_reason::kind_of;
use crate::model::learnt::{Family, Peaks};
use crate::model::snapshot::{AttemptView, TaskState, TaskView};
use crate::model::{AttemptRecord, Needs, TaskId, text_of_json};

/// Answers that [`tasks`] takes for each line.
pub(super) const ROW: usize = 14;

/// Everything known about some lines. One round trip, more where they are long.
///
/// # Errors
/// Those of any call.
pub async fn tasks(conn: &Connection, lines: &[String]) -> Result<Vec<TaskView>, QueueError> {
    let mut found = Vec::with_capacity(lines.len());
    for part in parts(lines, usize::MAX, |line| line.len() * ROW) {
        let mut pipe = redis::pipe();
        for line in part {
            pipe.hexists(conn.name(Key::Todo), line)
                .hget(conn.name(Key::InProgress), line)
                .hget(conn.name(Key::Finished), line)
                .hget(conn.name(Key::Failed), line)
                .hget(conn.name(Key::Reason), line)
                .hget(conn.name(Key::Lost), line)
                .hget(conn.name(Key::Evidence), TaskId::of(line).to_string())
                .hget(conn.name(Key::Marks), line)
                .hget(conn.name(Key::Apart), line)
                .hget(conn.name(Key::Kinds), line)
                .hexists(conn.name(Key::Waiting), line)
                .hget(conn.name(Key::Member), line)
                .hget(conn.name(Key::Grown), line)
                .hget(conn.name(Key::Learnt), Needs::of_line(line).learn().unwrap_or_default());
        }
        found.extend(decode(part, &conn.pipe::<Vec<redis::Value>>(&pipe).await?));
    }
    Ok(found)
}

/// The attempts of some lines, and nothing of their results, which may be large. One round trip.
///
/// # Errors
/// Those of any call.
pub async fn attempts(conn: &Connection, lines: &[String]) -> Result<Vec<Vec<AttemptView>>, QueueError> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = lines.iter().map(|line| TaskId::of(line).to_string()).collect();
    let records: Vec<Option<LossyString>> =
        conn.cmd(redis::cmd("HMGET").arg(conn.name(Key::Evidence)).arg(ids)).await?;
    Ok(records
        .into_iter()
        .map(|records| records.map(|LossyString(text)| attempts_in(&text)).unwrap_or_default())
        .collect())
}

/// A record that is none is passed over.
fn attempts_in(records: &str) -> Vec<AttemptView> {
    let records = records.lines().filter_map(|json| serde_json::from_str::<AttemptRecord>(json).ok());
    records.map(Into::into).collect()
}

pub(super) fn decode(lines: &[String], values: &[redis::Value]) -> Vec<TaskView> {
    let text = |value: &redis::Value| {
        let redis::Value::BulkString(bytes) = value else { return None };
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    lines
        .iter()
        .zip(values.chunks(ROW))
        .map(|(line, row)| {
            let flag = |i: usize| matches!(row.get(i), Some(redis::Value::Int(1) | redis::Value::Boolean(true)));
            let is_todo = flag(0) || flag(10);
            let field = |i: usize| row.get(i).and_then(text);
            let (worker, result, failed) = (field(1), field(2), field(3));
            let reason = field(4).map(text_of_json);
            let kind = failed.is_some().then(|| field(9).unwrap_or_else(|| kind_of(reason.as_deref())));
            let failure = failed.is_some().then(|| TaskState::of_failure(field(9).as_deref()));
            let there = [(is_todo, TaskState::Todo), (worker.is_some(), TaskState::InProgress)];
            let there = there.into_iter().chain([(result.is_some(), TaskState::Finished)]);
            let attempts: Vec<AttemptView> = field(6).map(|records| attempts_in(&records)).unwrap_or_default();
            let last = attempts.iter().rev().find(|attempt| attempt.attempt > 0);
            let member = field(11).and_then(|value| Member::parse(line.as_bytes(), value.as_bytes()));
            let (batches, tags) = member.map(|member| (member.names, member.tags)).unwrap_or_default();
            TaskView {
                batches,
                tags,
                stdout_exact: last.filter(|_| result.is_some()).and_then(|last| last.stdout_exact),
                id: TaskId::of(line).to_string(),
                line: line.clone(),
                states: there.filter(|(there, _)| *there).map(|(_, state)| state).chain(failure).collect(),
                ordered: field(7)
                    .and_then(|mark| PendingOrder::parse(mark.as_bytes()))
                    .filter(|mark| worker.as_ref() == Some(&mark.worker))
                    .map(|mark| mark.op),
                worker,
                result,
                failed_on: failed
                    .map(|workers| workers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
                    .unwrap_or_default(),
                kind,
                reason,
                lost: field(5).and_then(|n| n.parse().ok()).unwrap_or(0),
                attempts,
                declares_memory_bytes: field(12).and_then(|bytes| bytes.parse().ok()),
                learnt: field(13).and_then(|text| {
                    Some(Family { name: Needs::of_line(line).learn()?.to_owned(), peaks: Peaks::parse(&text)? })
                }),
                suspect: field(8).is_some_and(|level| !level.starts_with('0')),
            }
        })
        .collect()
}
