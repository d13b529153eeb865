//! What tasks have been seen to need, by family: `lua/shared/learnt.lua` uses it, `lua/shared/learning.lua` adds to it.

use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::LossyString;
use crate::model::learnt::{Family, Peaks};

/// Every family, those with most tasks first. The scripts keep about a thousand.
///
/// # Errors
/// Those of any call.
pub async fn families(conn: &Connection) -> Result<Vec<Family>, QueueError> {
    let all: Vec<(LossyString, LossyString)> = conn.cmd(redis::cmd("HGETALL").arg(conn.name(Key::Learnt))).await?;
    let mut families: Vec<Family> = (all.into_iter())
        .filter_map(|(LossyString(name), LossyString(text))| Some(Family { name, peaks: Peaks::parse(&text)? }))
        .collect();
    families.sort_by(|a, b| b.peaks.tasks.cmp(&a.peaks.tasks).then_with(|| a.name.cmp(&b.name)));
    Ok(families)
}
