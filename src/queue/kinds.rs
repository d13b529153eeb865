//! The groups of failures: `exit 3`, `timed out`, …, and for what Python workers failed the beginning of the reason. Cancelled tasks are a group too.

use std::collections::HashMap;

use super::call_size::parts;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::{self, LossyString};
use crate::model::failure_reason::kind_of;
use crate::model::text_of_json;

/// The groups that have counters, with the number of their tasks. Costs as much as there are groups, not tasks.
///
/// # Errors
/// Those of any call.
pub async fn counted(conn: &Connection) -> Result<Vec<(String, u64)>, QueueError> {
    let groups: HashMap<LossyString, LossyString> = conn.cmd(redis::cmd("HGETALL").arg(conn.name(Key::Groups))).await?;
    let counted = lossy_string::hash(groups).into_iter().filter_map(|(kind, n)| Some((kind, n.parse().ok()?)));
    Ok(counted.filter(|(_, count)| *count > 0).collect())
}

/// Whether every failure has a group that is recorded; what Python workers failed has none.
pub(super) async fn are_recorded(conn: &Connection) -> Result<bool, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hlen(conn.name(Key::Failed)).hlen(conn.name(Key::Kinds));
    let (failed, recorded): (u64, u64) = conn.pipe(&pipe).await?;
    Ok(failed <= recorded)
}

/// The groups that are recorded of some lines.
///
/// # Errors
/// Those of any call.
pub async fn recorded(conn: &Connection, lines: &[String]) -> Result<Vec<Option<String>>, QueueError> {
    values(conn, Key::Kinds, lines).await
}

/// The group of each of some lines of `failed_tasks`: the recorded one, else the beginning of the reason, else `unknown`.
///
/// # Errors
/// Those of any call.
pub async fn of_failures(conn: &Connection, lines: &[String]) -> Result<Vec<String>, QueueError> {
    let kinds = of_lines(conn, lines, recorded(conn, lines).await?, true).await?;
    Ok(kinds.into_iter().map(|kind| kind.unwrap_or_else(|| kind_of(None))).collect())
}

/// The same for lines of which it is not known that they have failed: those that have not are in no group.
pub(super) async fn of_lines(
    conn: &Connection,
    lines: &[String],
    recorded: Vec<Option<String>>,
    have_failed: bool,
) -> Result<Vec<Option<String>>, QueueError> {
    let without = lines.iter().zip(&recorded).filter(|(_, kind)| kind.is_none());
    let without: Vec<String> = without.map(|(line, _)| line.clone()).collect();
    let mut reasons = values(conn, Key::Reason, &without).await?.into_iter();
    let of_reason = |reason: Option<String>| {
        (have_failed || reason.is_some()).then(|| kind_of(reason.map(text_of_json).as_deref()))
    };
    Ok(recorded.into_iter().map(|kind| kind.or_else(|| of_reason(reasons.next().flatten()))).collect())
}

/// The values of some lines in a hash of texts. One round trip, more where they are long.
pub(super) async fn values(conn: &Connection, key: Key, lines: &[String]) -> Result<Vec<Option<String>>, QueueError> {
    let mut found = Vec::with_capacity(lines.len());
    for part in parts(lines, usize::MAX, String::len) {
        let values: Vec<Option<LossyString>> = conn.cmd(redis::cmd("HMGET").arg(conn.name(key)).arg(part)).await?;
        found.extend(values.into_iter().map(|value| value.map(|LossyString(text)| text)));
    }
    Ok(found)
}
