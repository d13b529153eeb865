//! Scans the tasks of one state in bounded steps. Only for people's commands, because the cost grows with the queue.

use super::call_size::{STEPS, step_after};
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::keys::{CLOSE, Key};
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
    key: Key,
    cursor: Option<u64>,
    step: usize,
}

impl StateScan {
    /// A scan from the beginning.
    #[must_use]
    pub fn new(state: TaskState) -> Self {
        Self { key: key_of(state), cursor: Some(0), step: STEPS[1] }
    }

    /// A scan over what [`super::aside`] has set aside.
    #[must_use]
    pub fn of_aside() -> Self {
        Self { key: Key::Aside, cursor: Some(0), step: STEPS[1] }
    }

    /// The next entries; `None` at the end. Lines that are not UTF-8 are passed over.
    ///
    /// # Errors
    /// Those of any call; the scan can go on afterwards.
    pub async fn next(&mut self, conn: &Connection) -> Result<Option<Vec<HashEntry>>, QueueError> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let (next, page): ScanPage =
            conn.cmd(redis::cmd("HSCAN").arg(conn.name(self.key)).arg(cursor).arg("COUNT").arg(self.step)).await?;
        self.cursor = Some(next).filter(|next| *next != 0);
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

pub(super) fn key_of(state: TaskState) -> Key {
    match state {
        TaskState::Todo => Key::Todo,
        TaskState::InProgress => Key::InProgress,
        TaskState::Finished => Key::Finished,
        TaskState::Failed => Key::Failed,
    }
}
