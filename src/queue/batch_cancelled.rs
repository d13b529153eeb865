//! How many tasks of batches were cancelled. The counters of a batch have them with those that failed, so that the cancelled ones are looked at.

use std::collections::HashMap;

use super::batches::{MemberState, members};
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::kinds;
use super::lossy_string::{self, LossyString};
use crate::model::{BatchName, Outcome};

/// Cancelled tasks that are looked at, the last ones; those before them count as failed.
const LOOKED_AT: usize = 50_000;

/// Tasks in one call.
const PART: usize = 1000;

/// How many of the tasks of these names were cancelled. Cost grows with the number of cancelled tasks.
///
/// # Errors
/// Those of any call.
pub(super) async fn cancelled(conn: &Connection, names: &[BatchName]) -> Result<HashMap<BatchName, u64>, QueueError> {
    let group = Outcome::Cancelled.group();
    let key = format!("{}{group}", conn.name(Key::KindsOf));
    let mut counts: HashMap<BatchName, u64> = names.iter().map(|name| (name.clone(), 0)).collect();
    for from in (0..LOOKED_AT).step_by(PART) {
        let mut page = redis::cmd("ZRANGE");
        page.arg(&key).arg(from).arg(from + PART - 1).arg("REV");
        let lines: Vec<LossyString> = conn.cmd(&page).await?;
        let lines = lossy_string::list(lines);
        let recorded = kinds::recorded(conn, &lines).await?;
        for (member, kind) in members(conn, &lines).await?.into_iter().zip(recorded) {
            let Some(member) = member.filter(|member| member.state == MemberState::GivenUp) else { continue };
            if kind.as_deref() == Some(group.as_str()) {
                member.count(&mut counts);
            }
        }
        if lines.len() < PART {
            break;
        }
    }
    Ok(counts)
}
