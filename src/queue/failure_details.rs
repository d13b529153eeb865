//! When failures of a group happened, and what they have in common. The cost is bounded: it grows with the number of groups, not of failures.

use std::collections::HashMap;

use super::call_size::parts;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::LossyString;
use crate::model::failure_cause::{FailureCause, FailureDetail, cause_of};
use crate::model::failure_reason::beyond_kind;
use crate::model::text_of_json;

/// Reasons that are read for all groups together.
const REASONS: usize = 2000;

/// And for one group, at least and at most.
const OF_GROUP: (usize, usize) = (10, 500);

/// Groups whose trend is counted.
const TRENDS: usize = 100;

/// Periods of the trend, and the length of each in milliseconds.
const PERIODS: u64 = 12;
const PERIOD_MS: u64 = 300_000;

/// Causes of a group that are told.
const CAUSES: usize = 5;

/// The details of these groups, in their order. What Python workers failed, and what failed before the sets of groups were kept, is in none.
///
/// # Errors
/// Those of any call.
pub async fn failure_details(conn: &Connection, kinds: &[String]) -> Result<Vec<FailureDetail>, QueueError> {
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let each = (REASONS / kinds.len()).clamp(OF_GROUP.0, OF_GROUP.1);
    let mut pipe = redis::pipe();
    for kind in kinds {
        let key = format!("{}{kind}", conn.name(Key::KindsOf));
        pipe.cmd("ZRANGE").arg(&key).arg(0).arg(0).arg("WITHSCORES");
        pipe.cmd("ZRANGE").arg(&key).arg(-1).arg(-1).arg("WITHSCORES");
        pipe.cmd("ZRANGE").arg(&key).arg(-isize::try_from(each).unwrap_or(1)).arg(-1);
    }
    let mut replies = conn.pipe::<Vec<redis::Value>>(&pipe).await?.into_iter();
    let mut details = Vec::with_capacity(kinds.len());
    let mut newest = Vec::with_capacity(kinds.len());
    while let (Some(first), Some(last), Some(lines)) = (replies.next(), replies.next(), replies.next()) {
        let moment = |found: Vec<(LossyString, f64)>| found.first().map(|(_, ms)| ms / 1000.0);
        let (first_failed, last_failed) = (moment(decode(first)?), moment(decode(last)?));
        details.push(FailureDetail { first_failed, last_failed, ..FailureDetail::default() });
        newest.push(decode::<Vec<LossyString>>(lines)?);
    }
    for ((detail, lines), kind) in details.iter_mut().zip(newest).zip(kinds) {
        let lines: Vec<String> = lines.into_iter().rev().map(|LossyString(line)| line).collect();
        detail.looked_at = lines.len() as u64;
        detail.causes = causes(conn, kind, &lines).await?;
    }
    for (detail, recent) in details.iter_mut().zip(trends(conn, kinds).await?) {
        detail.recent = recent;
    }
    Ok(details)
}

async fn causes(conn: &Connection, kind: &str, lines: &[String]) -> Result<Vec<FailureCause>, QueueError> {
    let mut found: HashMap<String, FailureCause> = HashMap::new();
    for part in parts(lines, usize::MAX, String::len) {
        let reasons: Vec<Option<LossyString>> =
            conn.cmd(redis::cmd("HMGET").arg(conn.name(Key::Reason)).arg(part)).await?;
        for (line, reason) in part.iter().zip(reasons) {
            let reason = reason.map(|LossyString(json)| text_of_json(json)).unwrap_or_default();
            let Some(text) = cause_of(beyond_kind(&reason, kind)) else { continue };
            let cause = found.entry(text.clone());
            cause.or_insert_with(|| FailureCause { text, count: 0, sample: line.clone() }).count += 1;
        }
    }
    let mut causes: Vec<FailureCause> = found.into_values().collect();
    causes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.text.cmp(&b.text)));
    causes.truncate(CAUSES);
    Ok(causes)
}

/// The trends of the first groups; of none where the user of Redis may not count, as with a list of permissions of an earlier version.
async fn trends(conn: &Connection, kinds: &[String]) -> Result<Vec<Vec<u64>>, QueueError> {
    let now = u64::try_from(conn.time().await?.as_millis()).unwrap_or(0);
    let kinds = &kinds[..kinds.len().min(TRENDS)];
    let mut pipe = redis::pipe();
    for kind in kinds {
        for period in (0..PERIODS).rev() {
            let from = now.saturating_sub((period + 1) * PERIOD_MS);
            let to = now.saturating_sub(period * PERIOD_MS);
            pipe.cmd("ZCOUNT").arg(format!("{}{kind}", conn.name(Key::KindsOf))).arg(format!("({from}")).arg(to);
        }
    }
    match conn.pipe::<Vec<u64>>(&pipe).await {
        Ok(counts) => Ok(counts.chunks(usize::try_from(PERIODS).unwrap_or(1)).map(<[u64]>::to_vec).collect()),
        Err(error) if error.breaks_connection() => Err(error),
        Err(_) => Ok(Vec::new()),
    }
}

fn decode<T: redis::FromRedisValue>(value: redis::Value) -> Result<T, QueueError> {
    redis::from_redis_value(value).map_err(|error| QueueError::Protocol(error.to_string()))
}
