//! Finds the task line that a person named by its text or its id.

use std::fmt::Write;

use crate::cli::exit::CliError;
use crate::model::TaskId;
use crate::model::snapshot::TaskState;
use crate::queue::find::{TaskMatch, find};
use crate::queue::select::StateScan;
use crate::queue::{Connection, QueueError};
use crate::view::safe_text::safe;
use crate::view::text::shorten;

/// Tasks that are listed when an id is ambiguous.
const LISTED: usize = 10;

/// Columns of a line that are shown there.
const SHOWN: usize = 100;

/// The line of the task in progress with this whole id: those are few.
pub(crate) async fn find_running(conn: &Connection, id: &str) -> Result<Option<String>, QueueError> {
    let mut scan = StateScan::new(TaskState::InProgress);
    while let Some(page) = scan.next(conn).await? {
        if let Some(found) = page.into_iter().find(|entry| TaskId::of(&entry.line).to_string() == id) {
            return Ok(Some(found.line));
        }
    }
    Ok(None)
}

/// The line of the one task that `text` names: a whole line, or the beginning of an id.
pub(crate) async fn find_one(conn: &Connection, text: &str) -> Result<String, CliError> {
    let found = find(conn, text).await?;
    if conn.is_local()
        && found == TaskMatch::None
        && let Some(line) = find_aside(conn, text).await?
    {
        return Err(CliError::Usage(format!(
            "{} is set aside: an earlier command in this directory left it waiting; to run it, use distcomp run with its file or command, or --all",
            shorten(&safe(&line), SHOWN)
        )));
    }
    match found {
        TaskMatch::One(line) => Ok(line),
        TaskMatch::Many(lines) => Err(CliError::Usage(ambiguous(text, &lines))),
        TaskMatch::None => Err(CliError::Usage(format!(
            "no task {} in the queue: give a complete line, or at least 4 digits of an id",
            shorten(&safe(text), SHOWN)
        ))),
    }
}

/// A line that a run of `--local` has set aside, by itself or by the beginning of its id.
pub(crate) async fn find_aside(conn: &Connection, text: &str) -> Result<Option<String>, CliError> {
    let mut scan = StateScan::of_aside();
    while let Some(page) = scan.next(conn).await? {
        let is_it = |line: &str| {
            line == text || (TaskId::is_prefix_like(text) && TaskId::of(line).to_string().starts_with(text))
        };
        if let Some(entry) = page.into_iter().find(|entry| is_it(&entry.line)) {
            return Ok(Some(entry.line));
        }
    }
    Ok(None)
}

/// The message for the beginning of several ids.
pub(crate) fn ambiguous(text: &str, lines: &[String]) -> String {
    let mut message = format!("{} is ambiguous, it is a prefix of {} ids:", safe(text), lines.len());
    for line in lines.iter().take(LISTED) {
        // Writing to a string cannot fail.
        let _ = write!(message, "\n{}  {}", TaskId::of(line), shorten(&safe(line), SHOWN));
    }
    if lines.len() > LISTED {
        let _ = write!(message, "\nand {} more", lines.len() - LISTED);
    }
    message
}
