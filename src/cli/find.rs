//! From what a person typed to a task line.

use std::fmt::Write;

use crate::cli::exit::CliError;
use crate::model::TaskId;
use crate::queue::Connection;
use crate::queue::select::{Found, find};
use crate::view::safe_text::safe;
use crate::view::text::shorten;

/// Tasks that are listed when an id is ambiguous.
const LISTED: usize = 10;

/// Columns of a line that are shown there.
const SHOWN: usize = 100;

/// The line of the one task that `text` names: a whole line, or the beginning of an id.
pub(crate) async fn find_one(conn: &Connection, text: &str) -> Result<String, CliError> {
    match find(conn, text).await? {
        Found::One(line) => Ok(line),
        Found::Many(lines) => Err(CliError::Usage(ambiguous(text, &lines))),
        Found::None => Err(CliError::Usage(format!(
            "no task {} is in the queue: give a whole line, or at least 4 digits of an id",
            shorten(&safe(text), SHOWN)
        ))),
    }
}

fn ambiguous(text: &str, lines: &[String]) -> String {
    let mut message = format!("{} is the beginning of {} ids:", safe(text), lines.len());
    for line in lines.iter().take(LISTED) {
        // Writing to a string cannot fail.
        let _ = write!(message, "\n{}  {}", TaskId::of(line), shorten(&safe(line), SHOWN));
    }
    if lines.len() > LISTED {
        let _ = write!(message, "\nand {} more", lines.len() - LISTED);
    }
    message
}
