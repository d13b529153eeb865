//! What a selection found.

use crate::cli::exit::CliError;
use crate::cli::find::find_one;
use crate::cli::results::Remote;
use crate::cli::spill_list::SpillList;
use crate::model::snapshot::{AttemptView, TaskState};
use crate::queue::{Connection, inspect};

/// Lines shown as examples.
const EXAMPLES: usize = 3;

/// What a selection found.
pub(super) struct Selected {
    /// The lines.
    pub(super) lines: SpillList,
    /// The first few of them.
    pub(super) examples: Vec<String>,
    /// The state that all were found in; a line that has left it since is passed over. `None` for lines that were named, and for several states.
    pub(super) state: Option<TaskState>,
    /// Lines passed over by `--older-than` because no attempt is dated by Redis: of Python workers, and of earlier versions.
    pub(super) undated: u64,
    /// Lines of `--file` that are not in the queue, or not in a state that counts here.
    pub(super) elsewhere: u64,
    /// Cancelled tasks that would have been selected if they had failed.
    pub(super) cancelled: u64,
    /// The group of failures that was asked for.
    pub(super) kind: Option<String>,
    /// Result files of theirs that other hosts hold.
    pub(super) remote: Vec<Remote>,
}

impl Selected {
    pub(super) fn new(state: Option<TaskState>) -> Self {
        Self {
            lines: SpillList::new(),
            examples: Vec::new(),
            state,
            undated: 0,
            elsewhere: 0,
            cancelled: 0,
            kind: None,
            remote: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, line: &str, attempts: &[AttemptView]) -> Result<(), CliError> {
        if self.examples.len() < EXAMPLES {
            self.examples.push(line.to_owned());
        }
        let named = attempts.iter().filter_map(|attempt| Remote::parse(attempt.stdout_file.as_deref()?));
        self.remote.extend(named);
        self.lines.push(line).map_err(|error| CliError::io("store the selected lines in a temporary file", error))
    }

    /// Lines that were named.
    pub(super) async fn named(conn: &Connection, texts: &[String]) -> Result<Self, CliError> {
        let mut lines: Vec<String> = Vec::new();
        for text in texts {
            let line = find_one(conn, text).await?;
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let mut selected = Self::new(None);
        for task in inspect::tasks(conn, &lines).await? {
            selected.push(&task.line, &task.attempts)?;
        }
        Ok(selected)
    }
}
