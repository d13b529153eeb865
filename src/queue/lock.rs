//! Locks in Redis for work that one worker at a time should do. A holder can lose its lock, so no decision depends on a lock alone.

use std::time::Duration;

use super::args::millis;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;

/// A lock that has longer to live than it was ever given, by this and more, is left from before the server's clock was set back.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// `SET NX PX`, or an extension when the holder is us.
pub(super) async fn try_lock(
    conn: &Connection,
    key: Key,
    holder: &str,
    for_at_most: Duration,
) -> Result<bool, QueueError> {
    try_lock_name(conn, &conn.name(key), holder, for_at_most).await
}

/// The same with the full name of a key.
pub(super) async fn try_lock_name(
    conn: &Connection,
    name: &str,
    holder: &str,
    for_at_most: Duration,
) -> Result<bool, QueueError> {
    let set: Option<String> =
        conn.cmd(redis::cmd("SET").arg(name).arg(holder).arg("NX").arg("PX").arg(millis(for_at_most))).await?;
    if set.is_some() {
        return Ok(true);
    }
    let present: Option<String> = conn.cmd(redis::cmd("GET").arg(name)).await?;
    if present.as_deref() != Some(holder) {
        let left: i64 = conn.cmd(redis::cmd("PTTL").arg(name)).await?;
        if u64::try_from(left).is_ok_and(|left| left > millis(for_at_most * 2 + CLOCK_SLACK)) {
            let _: i64 = conn.cmd(redis::cmd("DEL").arg(name)).await?;
        }
        return Ok(false);
    }
    let _: i64 = conn.cmd(redis::cmd("PEXPIRE").arg(name).arg(millis(for_at_most))).await?;
    Ok(true)
}
