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
pub(crate) struct Selected {
    /// The lines.
    pub(crate) lines: SpillList,
    /// The first few of them.
    pub(crate) examples: Vec<String>,
    /// The state that all were found in; a line that has left it since is passed over. `None` for lines that were named, and for several states.
    pub(crate) state: Option<TaskState>,
    /// Lines passed over by `--older-than` because no attempt is dated by Redis: of Python workers, and of earlier versions.
    pub(crate) undated: u64,
    /// Lines of `--file` that are not in the queue, or not in a state that counts here.
    pub(crate) elsewhere: u64,
    /// Cancelled tasks that would have been selected if they had failed.
    pub(crate) cancelled: u64,
    /// The group of failures that was asked for.
    pub(crate) kind: Option<String>,
    /// Result files of theirs that other hosts hold.
    pub(crate) remote: Vec<Remote>,
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
    pub(crate) async fn named(conn: &Connection, texts: &[String]) -> Result<Self, CliError> {
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
