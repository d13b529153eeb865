//! Scans the tasks of one state in bounded steps. Only for people's commands, because the cost grows with the queue.

use super::call_size::{STEPS, step_after};
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::keys::{CLOSE, Key, home};
use crate::model::snapshot::TaskState;

/// One entry of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashEntry {
    /// The task line.
    pub line: String,
    /// Worker, result or list of workers, by state; empty in todo.
    pub value: String,
}

/// A scan over one state. A line that stays throughout is seen at least once, possibly twice.
#[derive(Debug)]
pub struct StateScan {
    keys: &'static [Key],
    cursor: u64,
    step: usize,
}

impl StateScan {
    /// A scan from the beginning.
    #[must_use]
    pub fn new(state: TaskState) -> Self {
        Self { keys: keys_of(state), cursor: 0, step: STEPS[1] }
    }

    /// A scan over what [`super::aside`] has set aside.
    #[must_use]
    pub fn of_aside() -> Self {
        Self { keys: &[Key::Aside], cursor: 0, step: STEPS[1] }
    }

    /// The next entries; `None` at the end. Lines that are not UTF-8 are passed over.
    ///
    /// # Errors
    /// Those of any call; the scan can go on afterwards.
    pub async fn next(&mut self, conn: &Connection) -> Result<Option<Vec<HashEntry>>, QueueError> {
        let Some((key, rest)) = self.keys.split_first() else { return Ok(None) };
        let (next, page): ScanPage =
            conn.cmd(redis::cmd("HSCAN").arg(conn.name(*key)).arg(self.cursor).arg("COUNT").arg(self.step)).await?;
        self.cursor = next;
        if next == 0 {
            self.keys = rest;
        }
        self.step = step_after(self.step, page.iter().map(|(line, value)| line.len() + value.len()).sum());
        Ok(Some(
            page.into_iter()
                .filter_map(|(line, value)| {
                    let line = String::from_utf8(line).ok().filter(|line| line != CLOSE)?;
                    Some(HashEntry { line, value: String::from_utf8_lossy(&value).into_owned() })
                })
                .collect(),
        ))
    }
}

/// The hashes that hold the tasks of a state, one after the other.
pub(super) fn keys_of(state: TaskState) -> &'static [Key] {
    match state {
        TaskState::Todo => &[Key::Todo, Key::Waiting],
        TaskState::InProgress => &[Key::InProgress],
        TaskState::Finished => &[Key::Finished],
        TaskState::Failed => &[Key::Failed],
    }
}

/// The hash that holds one line in a state.
pub(super) fn key_of(state: TaskState, line: &str) -> Key {
    match state {
        TaskState::Todo => home(line),
        TaskState::InProgress => Key::InProgress,
        TaskState::Finished => Key::Finished,
        TaskState::Failed => Key::Failed,
    }
}
