//! Selects the tasks that a command changes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::args::SelectArgs;
use crate::cli::duration::parse_duration;
use crate::cli::exit::CliError;
use crate::cli::find::find_one;
use crate::cli::results::Remote;
use crate::cli::spill_list::SpillList;
use crate::cli::status::is_of;
use crate::cli::submit::{Origin, ParseRules, TaskReader, are_there};
use crate::model::FieldOrder;
use crate::model::snapshot::{AttemptView, TaskState, TaskView};
use crate::queue::control::Change;
use crate::queue::select::{HashEntry, StateScan};
use crate::queue::{Connection, inspect};
use crate::view::progress::Progress;

/// Lines shown as examples.
const EXAMPLES: usize = 3;

/// Tasks whose evidence is in memory at once.
const AT_ONCE: usize = 100;

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
    /// Result files of theirs that other hosts hold.
    pub(super) remote: Vec<Remote>,
}

/// A selection that has been checked.
#[derive(Debug)]
pub(super) struct Selector {
    change: Change,
    states: Vec<TaskState>,
    include: Option<String>,
    worker: Option<String>,
    older_than: Option<f64>,
    /// A task file, whose lines are looked at in place of all.
    file: Option<PathBuf>,
}

impl Selector {
    /// Checks flags that stand in place of lines.
    pub(super) fn new(change: Change, args: &SelectArgs) -> Result<Self, CliError> {
        let state = args.state.map(TaskState::from);
        let is_bare = state.is_none()
            && args.include.is_none()
            && args.worker.is_none()
            && args.older_than.is_none()
            && args.file.is_none();
        // All failed tasks are what one wants to try again; what is cancelled or purged is gone.
        if is_bare && !args.all && change != Change::Requeue {
            return Err(CliError::Usage(format!(
                "no tasks selected to {}: use --state, --include, --worker, --older-than, --file, lines, or --all",
                verb(change)
            )));
        }
        if change == Change::Cancel && state == Some(TaskState::Finished) {
            return Err(CliError::Usage("finished tasks cannot be cancelled; purge removes them".to_owned()));
        }
        if args.worker.is_some() && state == Some(TaskState::Todo) {
            return Err(CliError::Usage(
                "--worker cannot be used with --state todo: waiting tasks have no worker".to_owned(),
            ));
        }
        let is_ended = |state: &TaskState| matches!(state, TaskState::Finished | TaskState::Failed);
        if args.older_than.is_some() && state.is_some_and(|state| !is_ended(&state)) {
            return Err(CliError::Usage(
                "--older-than selects by the end of an attempt: use it with --state finished or failed".to_owned(),
            ));
        }
        let mut states = match (state, change) {
            (Some(state), _) => vec![state],
            (None, Change::Requeue) => vec![TaskState::Failed],
            (None, Change::Cancel) => vec![TaskState::Todo, TaskState::InProgress],
            (None, Change::Purge) => TaskState::ALL.to_vec(),
        };
        if args.older_than.is_some() {
            states.retain(is_ended);
            if states.is_empty() {
                return Err(CliError::Usage(
                    "--older-than cannot be used with cancel: it selects finished attempts".to_owned(),
                ));
            }
        }
        let older_than = args.older_than.as_deref().map(|text| parse_duration("--older-than", text)).transpose()?;
        let (include, worker, file) = (args.include.clone(), args.worker.clone(), args.file.clone());
        if let Some(file) = &file {
            are_there(std::slice::from_ref(file))?;
        }
        Ok(Self { change, states, include, worker, older_than, file })
    }

    /// The states in words, `failed`, `todo or in_progress`.
    pub(super) fn states(&self) -> String {
        self.states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(" or ")
    }

    /// Goes through the queue and keeps what fits.
    pub(super) async fn select(&self, conn: &Connection, order: FieldOrder, quiet: bool) -> Result<Selected, CliError> {
        let state = (self.states.len() == 1).then(|| self.states[0]);
        let mut selected = Selected::new(state);
        // Ages are by one clock, that of Redis: those of workers, and ours, may be anywhere.
        let now = if self.older_than.is_some() { conn.time().await?.as_secs_f64() } else { 0.0 };
        let mut progress = Progress::new("looked at", 0, !quiet);
        if let Some(file) = &self.file {
            self.select_of_file(conn, (file, order), now, &mut selected, &mut progress).await?;
            return Ok(selected);
        }
        for state in &self.states {
            let mut scan = StateScan::new(*state);
            while let Some(page) = scan.next(conn).await? {
                progress.advance(page.len() as u64);
                let mut page: Vec<HashEntry> = page.into_iter().filter(|entry| self.fits(entry, *state)).collect();
                if *state == TaskState::Failed && self.states.contains(&TaskState::Todo) {
                    page = without_waiting(conn, page).await?;
                }
                for chunk in page.chunks(AT_ONCE) {
                    self.keep(conn, chunk, now, &mut selected).await?;
                }
            }
        }
        Ok(selected)
    }

    /// Looks at the lines of a file, each once.
    async fn select_of_file(
        &self,
        conn: &Connection,
        (file, order): (&Path, FieldOrder),
        now: f64,
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
            let mut found = Vec::new();
            for task in inspect::tasks(conn, &chunk).await? {
                // A retry is in todo and in failed: it is selected where it waits.
                let state = task.states.iter().find(|state| self.states.contains(state)).copied();
                let is_retry = state == Some(TaskState::Failed) && task.states.len() > 1;
                let entry = state.filter(|_| !is_retry).map(|state| (entry_of(&task, state), state));
                match entry.filter(|(entry, state)| self.fits(entry, *state)) {
                    Some((entry, _)) => found.push(entry),
                    None => selected.elsewhere += 1,
                }
            }
            self.keep(conn, &found, now, selected).await?;
        }
    }

    fn fits(&self, entry: &HashEntry, state: TaskState) -> bool {
        self.include.as_ref().is_none_or(|text| entry.line.contains(text.as_str()))
            && self.worker.as_ref().is_none_or(|worker| is_of(entry, state, worker))
    }

    async fn keep(
        &self,
        conn: &Connection,
        entries: &[HashEntry],
        now: f64,
        selected: &mut Selected,
    ) -> Result<(), CliError> {
        // What is purged may have left files, which records name.
        if self.older_than.is_none() && self.change != Change::Purge {
            return entries.iter().try_for_each(|entry| selected.push(&entry.line, &[]));
        }
        let lines: Vec<String> = entries.iter().map(|entry| entry.line.clone()).collect();
        for (entry, attempts) in entries.iter().zip(inspect::attempts(conn, &lines).await?) {
            match (self.older_than, attempts.last().and_then(|last| last.settled)) {
                (Some(_), None) => selected.undated += 1,
                (Some(age), Some(settled)) if now - settled < age => {}
                (Some(_) | None, _) => selected.push(&entry.line, &attempts)?,
            }
        }
        Ok(())
    }
}

/// The entry of one of the hashes that a task stands for.
fn entry_of(task: &TaskView, state: TaskState) -> HashEntry {
    let value = match state {
        TaskState::Todo => String::new(),
        TaskState::InProgress => task.worker.clone().unwrap_or_default(),
        TaskState::Finished => task.result.clone().unwrap_or_default(),
        TaskState::Failed => task.failed_on.join(","),
    };
    HashEntry { line: task.line.clone(), value }
}

/// A retry is in todo and in failed: it is selected where it waits.
async fn without_waiting(conn: &Connection, page: Vec<HashEntry>) -> Result<Vec<HashEntry>, CliError> {
    let lines: Vec<String> = page.iter().map(|entry| entry.line.clone()).collect();
    let states = inspect::states(conn, &lines).await?;
    Ok(page
        .into_iter()
        .zip(states)
        .filter(|(_, states)| !states.contains(&TaskState::Todo) && !states.contains(&TaskState::InProgress))
        .map(|(entry, _)| entry)
        .collect())
}

impl Selected {
    fn new(state: Option<TaskState>) -> Self {
        Self { lines: SpillList::new(), examples: Vec::new(), state, undated: 0, elsewhere: 0, remote: Vec::new() }
    }

    fn push(&mut self, line: &str, attempts: &[AttemptView]) -> Result<(), CliError> {
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

/// `requeue`, `cancel`, `purge`.
pub(super) fn verb(change: Change) -> &'static str {
    match change {
        Change::Requeue => "requeue",
        Change::Cancel => "cancel",
        Change::Purge => "purge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::StateArg;

    fn args() -> SelectArgs {
        SelectArgs {
            lines: Vec::new(),
            state: None,
            include: None,
            worker: None,
            older_than: None,
            file: None,
            all: false,
        }
    }

    #[test]
    fn nothing_said_is_refused_but_for_requeue() {
        for change in [Change::Cancel, Change::Purge] {
            assert!(Selector::new(change, &args()).is_err_and(|error| error.to_string().contains("--all")));
            assert!(Selector::new(change, &SelectArgs { all: true, ..args() }).is_ok());
        }
        assert_eq!(Selector::new(Change::Requeue, &args()).unwrap().states(), "failed");
    }

    #[test]
    fn states_follow_the_command_where_none_is_said() {
        let sim = SelectArgs { include: Some("sim".to_owned()), ..args() };
        assert_eq!(Selector::new(Change::Requeue, &sim).unwrap().states(), "failed");
        assert_eq!(Selector::new(Change::Cancel, &sim).unwrap().states(), "todo or in_progress");
        assert_eq!(Selector::new(Change::Purge, &sim).unwrap().states.len(), 4);
        let old = SelectArgs { older_than: Some("7d".to_owned()), ..args() };
        assert_eq!(Selector::new(Change::Purge, &old).unwrap().states(), "finished or failed");
    }

    #[test]
    fn what_cannot_fit_is_refused() {
        let finished = SelectArgs { state: Some(StateArg::Finished), ..args() };
        assert!(Selector::new(Change::Cancel, &finished).is_err());
        let todo = SelectArgs { state: Some(StateArg::Todo), worker: Some("n1".to_owned()), ..args() };
        assert!(Selector::new(Change::Purge, &todo).is_err());
        let old = SelectArgs { state: Some(StateArg::Todo), older_than: Some("1h".to_owned()), ..args() };
        assert!(Selector::new(Change::Purge, &old).is_err());
    }
}
