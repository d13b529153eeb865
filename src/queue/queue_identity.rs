//! The identity of a queue: a random text in [`Key::QueueId`] that signatures include, so that a signature for this queue is of no use in
//! another.

use std::io;
use std::path::Path;

use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use crate::sys::random;

/// Longer is none of ours.
const LONGEST: usize = 128;

/// An identity for a queue that has none: 128 random bits.
///
/// # Errors
/// When the kernel has no random numbers to give.
pub fn fresh() -> io::Result<String> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// The recorded identity; where there is none, `ours` is recorded. Where `ours` is kept in a file, nothing else will do.
///
/// May be repeated. A queue that lost its identity with its data gets it back from whoever remembers it.
///
/// # Errors
/// Those of any call; [`QueueError::Mismatch`] where the queue is another one than the pinned.
pub async fn settle(conn: &Connection, ours: &str, pinned: Option<&Path>) -> Result<String, QueueError> {
    let key = conn.name(Key::QueueId);
    // Not SET with NX: a user that may only SETNX here cannot change what is recorded.
    let _: bool = conn.cmd(redis::cmd("SETNX").arg(&key).arg(ours)).await?;
    let found: Vec<u8> = conn.cmd(redis::cmd("GET").arg(&key)).await?;
    let found = String::from_utf8(found).ok().filter(|found| !found.is_empty() && found.len() <= LONGEST);
    match (found, pinned) {
        (Some(found), _) if found == ours => Ok(found),
        (Some(found), None) => Ok(found),
        (None, None) => {
            Err(QueueError::Mismatch(format!("{key} at {} is not the identity of a queue; delete the key", conn.at())))
        }
        (_, Some(file)) => Err(QueueError::Mismatch(format!(
            "{key} at {} names another queue than the one that this worker knows: somebody may have put tasks here that were signed for another queue. If the queue was created anew and no task has been signed for it yet, run `redis-cli SET {key} {ours}`; otherwise delete {} of every worker",
            conn.at(),
            file.display()
        ))),
    }
}

/// The recorded identity, if there is one.
///
/// # Errors
/// Those of any call.
pub async fn recorded(conn: &Connection) -> Result<Option<String>, QueueError> {
    let found: Option<Vec<u8>> = conn.cmd(redis::cmd("GET").arg(conn.name(Key::QueueId))).await?;
    Ok(found.and_then(|found| String::from_utf8(found).ok()))
}

/// What lies beside a line in place of a signature, if anything, and the recorded identity of the queue.
///
/// # Errors
/// Those of any call.
pub async fn signature_of(conn: &Connection, line: &str) -> Result<(Option<Vec<u8>>, Option<String>), QueueError> {
    let found: Option<Vec<u8>> = conn.cmd(redis::cmd("HGET").arg(conn.name(Key::Signatures)).arg(line)).await?;
    Ok((found, recorded(conn).await?))
}

/// What lies beside each of some lines in place of a signature, if anything.
///
/// # Errors
/// Those of any call.
pub async fn signatures_of(conn: &Connection, lines: &[String]) -> Result<Vec<Option<Vec<u8>>>, QueueError> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    conn.cmd(redis::cmd("HMGET").arg(conn.name(Key::Signatures)).arg(lines)).await
}
