//! The lanes of the index, see `lua/shared/lanes.lua`: what waits, by what it asks for.

use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string;
use crate::model::{Class, ResourceKind};

/// The lanes whose tasks come first, and how many lanes there are in all.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    /// Best first.
    pub(super) first: Vec<String>,
    /// The best score of each of them.
    pub(super) heads: Vec<f64>,
    pub(super) all: u64,
}

/// The first `most` lanes by their best score. Cost grows with the number of cells, some hundred at most, and with `most`.
///
/// # Errors
/// Those of any call.
pub(super) async fn lanes(conn: &Connection, most: usize) -> Result<Lanes, QueueError> {
    let cells: Vec<String> =
        lossy_string::list(conn.cmd(redis::cmd("ZRANGE").arg(conn.name(Key::Cells)).arg(0).arg(-1)).await?);
    if cells.is_empty() {
        return Ok(Lanes::default());
    }
    let last = isize::try_from(most).unwrap_or(isize::MAX) - 1;
    let mut pipe = redis::pipe();
    for cell in &cells {
        let key = format!("{}h:{cell}", conn.name(Key::Ready));
        pipe.cmd("ZRANGE").arg(&key).arg(0).arg(last).arg("WITHSCORES").zcard(&key);
    }
    let mut replies = conn.pipe::<Vec<redis::Value>>(&pipe).await?.into_iter();
    let mut found: Vec<(f64, String)> = Vec::new();
    let mut all = 0;
    while let (Some(lanes), Some(count)) = (replies.next(), replies.next()) {
        let lanes: Vec<(lossy_string::LossyString, f64)> = decode(lanes)?;
        found.extend(lanes.into_iter().map(|(lossy_string::LossyString(lane), score)| (score, lane)));
        all += decode::<u64>(count)?;
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.truncate(most);
    let (heads, first) = found.into_iter().unzip();
    Ok(Lanes { first, heads, all })
}

/// The lanes of batches that are held, which are in no cell.
///
/// # Errors
/// Those of any call.
pub(super) async fn parked(conn: &Connection) -> Result<Vec<String>, QueueError> {
    let key = format!("{}parked", conn.name(Key::Ready));
    Ok(lossy_string::list(conn.cmd(redis::cmd("HKEYS").arg(key)).await?))
}

/// Where the rows of the grid of cells begin, as parts of a doubling of memory: a quarter each. The scripts have the same.
pub(super) const QUARTERS: [f64; 4] = [1.0, 1.189_207_115_002_721, std::f64::consts::SQRT_2, 1.681_792_830_507_429];

/// Where the columns begin, as parts of a doubling of cores: a half each.
pub(super) const HALVES: [f64; 2] = [1.0, std::f64::consts::SQRT_2];

/// The lane of a class in no batch, of what nobody has failed: as `lua/shared/lanes.lua` names it.
pub(super) fn lane_of(class: &Class) -> String {
    format!("{class}:")
}

/// The cell of the lane of a class that nobody has failed: as `lua/shared/lanes.lua` names it.
pub(super) fn cell_of(class: &Class) -> String {
    let steps = ResourceKind::IN_CLASS.map(|kind| step_of(class.demand.amounts.get(kind), steps_of(kind)));
    format!("{}/{}:", steps.join("/"), class.needs)
}

/// Where the steps of a kind begin, as parts of a doubling.
fn steps_of(kind: ResourceKind) -> &'static [f64] {
    match kind {
        ResourceKind::Memory => &QUARTERS,
        ResourceKind::Cores => &HALVES,
    }
}

fn step_of(amount: u64, begins: &[f64]) -> String {
    if amount == 0 {
        return "-".to_owned();
    }
    // As doubles, which is what the scripts have.
    let amount = amount as f64;
    let doubling = usize::try_from((amount.to_bits() >> 52) & 0x7ff).unwrap_or(0).saturating_sub(1023);
    let part = amount / (doubling as f64).exp2();
    let at = begins.iter().take_while(|begin| **begin <= part).count();
    (doubling * begins.len() + at.saturating_sub(1)).to_string()
}

fn decode<T: redis::FromRedisValue>(value: redis::Value) -> Result<T, QueueError> {
    redis::from_redis_value(value).map_err(|error| QueueError::Protocol(error.to_string()))
}
