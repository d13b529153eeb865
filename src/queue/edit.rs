//! An operator's edit of tasks that wait: each line becomes another one in one atomic step, with all that belongs to it.

use super::args::Args;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::LossyString;
use super::records::{EditArgs, EditedLine};
use super::reply::Reply;
use super::scripts;
use super::session::{AVOID, base_score};
use crate::model::{TaskId, TaskLine};

/// How many lines one call edits at most: each takes some dozen commands of the server.
pub const BATCH: usize = 50;

/// A line that waits, and the one that it is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// What waits.
    pub old: TaskLine,
    /// What is to wait.
    pub new: TaskLine,
    /// The signature of the new line; `None` for one that is not signed.
    pub signature: Option<String>,
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// The new line waits in place of the old one.
    Done,
    /// The old line did not wait any more.
    Gone,
    /// The new line is in the queue already, or has ended: nothing was changed.
    Taken,
    /// The old line is signed, and the new one would not be: nothing was changed.
    Unsigned,
}

/// Edits at most [`BATCH`] lines.
///
/// Each line is replaced in one step, whatever becomes of the others; safe to repeat: what has been done is answered as done.
///
/// # Errors
/// Those of any call.
pub async fn edit(conn: &Connection, lines: &[Replacement]) -> Result<Vec<Edited>, QueueError> {
    let lines = &lines[..lines.len().min(BATCH)];
    let mut args = Args::new();
    args.record(EditArgs { avoid: AVOID });
    for Replacement { old, new, signature } in lines {
        args.record(EditedLine {
            old: old.as_str(),
            old_id: old.id(),
            old_class: old.class(),
            new: new.as_str(),
            id: new.id(),
            class: new.class(),
            base_score: base_score(new.prio()),
            signature: signature.as_deref().unwrap_or_default(),
        });
    }
    let reply = Reply::new(conn.script(&scripts::EDIT, None, &args).await?)?;
    if reply.len() != lines.len() {
        return Err(QueueError::Protocol(format!("{} answers to {} edits", reply.len(), lines.len())));
    }
    (0..reply.len())
        .map(|at| match reply.text(at)?.as_str() {
            "edited" => Ok(Edited::Done),
            "gone" => Ok(Edited::Gone),
            "taken" => Ok(Edited::Taken),
            "unsigned" => Ok(Edited::Unsigned),
            other => Err(QueueError::Protocol(format!("edit answered {other:?}"))),
        })
        .collect()
}

/// The ids that a task had before its line was edited, the last first; of the last eight edits.
///
/// # Errors
/// Those of any call.
pub async fn earlier_ids(conn: &Connection, line: &str) -> Result<Vec<String>, QueueError> {
    let found: Option<LossyString> = conn.cmd(redis::cmd("HGET").arg(conn.name(Key::Edited)).arg(line)).await?;
    let ids = found.map(|LossyString(ids)| ids).unwrap_or_default();
    let ids = ids.trim_start_matches('+').split(',').filter(|id| TaskId::parse(id).is_some());
    Ok(ids.map(str::to_owned).collect())
}
