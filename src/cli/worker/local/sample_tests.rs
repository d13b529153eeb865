//! A task for the tests of this directory.

use crate::model::snapshot::{AttemptView, TaskState, TaskView};
use crate::model::{Outcome, TaskId};

/// A task that ran for a second and ended with this code.
pub(super) fn ended_task(line: &str, exit: i32, start: f64) -> TaskView {
    let state = if exit == 0 { TaskState::Finished } else { TaskState::Failed };
    let attempt = AttemptView {
        attempt: 1,
        worker: "w".to_owned(),
        outcome: Outcome::Exit(exit),
        start: Some(start),
        end: start + 1.0,
        settled: None,
        stdout_exact: Some(true),
        stdout_stripped: None,
        stdout_bytes: None,
        stdout_file: None,
        stdout_file_error: None,
        peak_memory_bytes: None,
        peak_memory_source: None,
        declared_memory_bytes: None,
        sequence: Some(1),
        stdout_tail: String::new(),
        stderr_tail: String::new(),
    };
    TaskView {
        id: TaskId::of(line).to_string(),
        line: line.to_owned(),
        states: vec![state],
        batches: Vec::new(),
        tags: Vec::new(),
        worker: None,
        ordered: None,
        result: (exit == 0).then(|| "w: \"out\"".to_owned()),
        failed_on: Vec::new(),
        kind: None,
        reason: None,
        stdout_exact: Some(true),
        lost: 0,
        suspect: false,
        declares_memory_bytes: None,
        learnt: None,
        attempts: vec![attempt],
    }
}
