//! The lanes of the index, see `lua/shared/lanes.lua`: what waits, by what it asks for.

use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string;

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

fn decode<T: redis::FromRedisValue>(value: redis::Value) -> Result<T, QueueError> {
    redis::from_redis_value(value).map_err(|error| QueueError::Protocol(error.to_string()))
}
