//! Finds the stdout of a task that does not run, as exactly as this machine has it, and says where it is not exact.

use std::fs::File;

use crate::cli::results::Remote;
use crate::model::snapshot::{AttemptView, TaskView};
use crate::view::text::count;

/// The bytes, or where they are.
pub(crate) enum StdoutSource {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// All that is in this file.
    File(File),
}

/// A stdout.
pub(crate) struct ExactStdout {
    pub(crate) source: StdoutSource,
    /// It is byte for byte what the task wrote.
    pub(crate) is_exact: bool,
    /// What is missing, and where it is.
    pub(crate) note: Option<String>,
}

impl ExactStdout {
    /// Of a finished task its output; of a failed one the output of its last attempt, or the end of it.
    pub(crate) fn of(task: &TaskView) -> Self {
        let last = task.last_attempt();
        if let Some(exact) = task.exact_output() {
            return Self { source: StdoutSource::Bytes(exact.into_bytes()), is_exact: true, note: None };
        }
        let kept = match (task.output(), last) {
            (Some(text), _) => text,
            (None, Some(last)) if last.stdout_exact == Some(true) => {
                return Self {
                    source: StdoutSource::Bytes(last.stdout_tail.clone().into_bytes()),
                    is_exact: true,
                    note: None,
                };
            }
            (None, last) => last.map(|last| last.stdout_tail.clone()).unwrap_or_default(),
        };
        let named = last.and_then(|last| last.stdout_file.as_deref()).and_then(Remote::parse);
        let note = match named {
            Some(file) if file.is_here() => match file.open(&task.id) {
                Ok(file) => return Self { source: StdoutSource::File(file), is_exact: true, note: None },
                Err(error) => Some(format!("not exact: cannot read the complete output in {}: {error}", file.path)),
            },
            Some(file) => Some(format!("not exact: the complete output is on {}, in {}", file.host, file.path)),
            None => last.map_or_else(|| unknown(task), |last| without_file(task, last)),
        };
        Self { source: StdoutSource::Bytes(kept.into_bytes()), is_exact: false, note }
    }
}

/// Nothing is recorded of how it was made.
fn unknown(task: &TaskView) -> Option<String> {
    task.result.as_ref().map(|_| {
        "may not be exact: no attempt is recorded; white space at the ends and bytes that are not UTF-8 are not kept".to_owned()
    })
}

fn without_file(task: &TaskView, last: &AttemptView) -> Option<String> {
    let total = last.stdout_bytes.map_or_else(String::new, |bytes| format!(" of {} bytes", count(bytes)));
    if let Some(error) = &last.stdout_file_error {
        return Some(format!("not exact: the complete output{total} could not be kept on {}: {error}", last.worker));
    }
    if task.result.is_some() {
        return Some(
            "may not be exact: an earlier version recorded it, without white space at the ends and bytes that are not UTF-8".to_owned(),
        );
    }
    Some(format!("not exact: only the last 4 KiB{total} of stdout of attempt {} are kept", last.attempt))
}
