//! Selects the tasks of a task file: its lines are looked up, so that the cost is that of the file and not of the queue.

use std::collections::HashSet;
use std::path::Path;

use super::select::{AT_ONCE, Selector, Verb, is_open};
use super::selected::Selected;
use crate::cli::exit::CliError;
use crate::cli::submit::{Origin, ParseRules, TaskReader};
use crate::model::FieldOrder;
use crate::model::snapshot::{TaskState, TaskView};
use crate::queue::select::{HashEntry, TaskGroup};
use crate::queue::{Connection, inspect};
use crate::view::progress::Progress;

impl Selector {
    /// Looks at the lines of a file, each once.
    pub(super) async fn select_of_file(
        &self,
        conn: &Connection,
        (file, order): (&Path, FieldOrder),
        (group, now): (&TaskGroup, f64),
        selected: &mut Selected,
        progress: &mut Progress,
    ) -> Result<(), CliError> {
        let origin = Origin::of_files(&[file.to_owned()])?;
        // Whoever shares the queue: what is there already can only be taken away.
        let mut reader = TaskReader::new(&origin, ParseRules { order, python_workers: false });
        let mut seen = HashSet::new();
        loop {
            let mut chunk = Vec::new();
            while chunk.len() < AT_ONCE {
                let Some(line) = reader.next()? else { break };
                let place = line.place;
                let task = line.task.map_err(|problem| CliError::Usage(format!("{place}: {problem}")))?;
                if seen.insert(task.id()) {
                    chunk.push(task.as_str().to_owned());
                }
            }
            if chunk.is_empty() {
                return Ok(());
            }
            progress.advance(chunk.len() as u64);
            let looked_at = chunk.len() as u64;
            let (here, cancelled) = self.here(conn, chunk).await?;
            let found = self.of_group(conn, here, group).await?;
            selected.cancelled += cancelled;
            selected.elsewhere += looked_at - cancelled - found.len() as u64;
            self.keep(conn, &found, now, selected).await?;
        }
    }

    /// The lines that are in a state that counts, and how many were left out because they are cancelled.
    async fn here(&self, conn: &Connection, lines: Vec<String>) -> Result<(Vec<(String, TaskState)>, u64), CliError> {
        let (mut here, mut cancelled) = (Vec::new(), 0);
        let states = inspect::states(conn, &lines).await?;
        for (line, states) in lines.into_iter().zip(states) {
            if !self.includes(&line) {
                continue;
            }
            if states == [TaskState::Cancelled] && self.leaves_cancelled() && self.group.is_empty() {
                cancelled += 1;
                continue;
            }
            // A retry is in todo and in failed: it is selected where it waits.
            let state = states.iter().find(|state| self.states.contains(state)).copied();
            let wants_open = self.verb == Verb::Cancel;
            let is_here = state != Some(TaskState::Failed) || is_open(&states) == wants_open;
            here.extend(state.filter(|_| is_here).map(|state| (line, state)));
        }
        Ok((here, cancelled))
    }

    /// Those of a group and of a worker, for which everything known of a task has to be read.
    async fn of_group(
        &self,
        conn: &Connection,
        here: Vec<(String, TaskState)>,
        group: &TaskGroup,
    ) -> Result<Vec<HashEntry>, CliError> {
        if group.is_any() && self.worker.is_none() {
            return Ok(here.into_iter().map(|(line, _)| HashEntry { line, value: String::new() }).collect());
        }
        let lines: Vec<String> = here.iter().map(|(line, _)| line.clone()).collect();
        let found = inspect::tasks(conn, &lines).await?.into_iter().zip(here);
        let entries =
            found.filter(|(task, _)| group.has(task)).map(|(task, (_, state))| (entry_of(&task, state), state));
        Ok(entries.filter(|(entry, state)| self.fits(entry, *state)).map(|(entry, _)| entry).collect())
    }
}

/// The entry of one of the hashes that a task stands for.
fn entry_of(task: &TaskView, state: TaskState) -> HashEntry {
    let value = match state {
        TaskState::Todo => String::new(),
        TaskState::InProgress => task.worker.clone().unwrap_or_default(),
        TaskState::Finished => task.result.clone().unwrap_or_default(),
        TaskState::Failed | TaskState::Cancelled => task.failed_on.join(","),
    };
    HashEntry { line: task.line.clone(), value }
}
