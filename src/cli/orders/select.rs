//! Selects the tasks that a command changes.

use std::path::PathBuf;

use super::select_args::SelectArgs;
use super::selected::Selected;
use crate::cli::duration::parse_duration;
use crate::cli::exit::CliError;
use crate::cli::submit::are_there;
use crate::cli::task_group::GroupArgs;
use crate::cli::task_state::is_of;
use crate::model::snapshot::TaskState;
use crate::model::{FieldOrder, Outcome};
use crate::queue::control::Change;
use crate::queue::select::{HashEntry, StateScan, TaskGroup};
use crate::queue::{Connection, inspect};
use crate::view::progress::Progress;

/// Tasks whose evidence is in memory at once.
pub(super) const AT_ONCE: usize = 100;

/// What is to be done with the tasks that are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Requeue,
    Cancel,
    Purge,
    Edit,
}

impl From<Change> for Verb {
    fn from(change: Change) -> Self {
        match change {
            Change::Requeue => Self::Requeue,
            Change::Cancel => Self::Cancel,
            Change::Purge => Self::Purge,
        }
    }
}

/// A selection that has been checked.
#[derive(Debug)]
pub(crate) struct Selector {
    pub(super) verb: Verb,
    pub(crate) states: Vec<TaskState>,
    pub(super) group: GroupArgs,
    include: Option<String>,
    pub(super) worker: Option<String>,
    older_than: Option<f64>,
    /// A task file, whose lines are looked at in place of all.
    file: Option<PathBuf>,
}

impl Selector {
    /// Checks flags that stand in place of lines.
    pub(crate) fn new(verb: impl Into<Verb>, args: &SelectArgs) -> Result<Self, CliError> {
        let verb = verb.into();
        let state = args.state.map(TaskState::from);
        let is_bare = state.is_none()
            && args.group.is_empty()
            && args.include.is_none()
            && args.worker.is_none()
            && args.older_than.is_none()
            && args.file.is_none();
        // All failed tasks are what one wants to try again; what is cancelled or purged is gone.
        if is_bare && !args.all && verb != Verb::Requeue {
            return Err(CliError::Usage(format!(
                "no tasks selected to {}: use --state, --kind, --include, --worker, --older-than, --file, lines, or --all",
                verb.as_str()
            )));
        }
        if verb == Verb::Edit {
            only_waiting(args)?;
        }
        if verb == Verb::Cancel && state == Some(TaskState::Finished) {
            return Err(CliError::Usage("finished tasks cannot be cancelled; purge removes them".to_owned()));
        }
        if args.worker.is_some() && state == Some(TaskState::Todo) {
            return Err(CliError::Usage(
                "--worker cannot be used with --state todo: waiting tasks have no worker".to_owned(),
            ));
        }
        if args.older_than.is_some() && state.is_some_and(|state| !has_ended(&state)) {
            return Err(CliError::Usage(
                "--older-than selects by the end of an attempt: use it with --state finished, failed or cancelled"
                    .to_owned(),
            ));
        }
        let among = if verb == Verb::Edit { Some(TaskState::Todo) } else { state };
        let mut states = match (args.group.states(among)?, verb) {
            // Those that run are counted.
            (_, Verb::Edit) => vec![TaskState::Todo, TaskState::InProgress],
            (Some(states), _) => states,
            (None, Verb::Requeue) => vec![TaskState::Failed],
            (None, Verb::Cancel) => vec![TaskState::Todo, TaskState::InProgress],
            (None, Verb::Purge) => TaskState::ALL.to_vec(),
        };
        if verb == Verb::Cancel && states == [TaskState::Cancelled] {
            return Err(CliError::Usage("these tasks are cancelled already; purge removes them".to_owned()));
        }
        if args.older_than.is_some() {
            states.retain(has_ended);
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
        Ok(Self { verb, states, group: args.group.clone(), include, worker, older_than, file })
    }

    /// The states in words, `failed`, `todo or in_progress`.
    /// Empty for all of them.
    pub(crate) fn states(&self) -> String {
        let states: Vec<&str> = self.states.iter().map(|state| state.as_str()).collect();
        match states.as_slice() {
            all if all.len() == TaskState::ALL.len() => String::new(),
            [first @ .., before, last] => {
                format!("{}{before} or {last}", first.iter().map(|state| format!("{state}, ")).collect::<String>())
            }
            _ => states.concat(),
        }
    }

    /// Goes through the task file, if one is named, or through the queue, and keeps what fits.
    pub(crate) async fn select(&self, conn: &Connection, order: FieldOrder, quiet: bool) -> Result<Selected, CliError> {
        let Some(file) = &self.file else { return self.scan(conn, quiet).await };
        let (mut selected, group, now) = self.begin(conn).await?;
        let mut progress = Progress::new("looked at", 0, !quiet);
        self.select_of_file(conn, (file, order), (&group, now), &mut selected, &mut progress).await?;
        Ok(selected)
    }

    /// A selection without a task so far, the group that it is of, and the time that ages are counted to.
    async fn begin(&self, conn: &Connection) -> Result<(Selected, TaskGroup, f64), CliError> {
        let state = (self.states.len() == 1).then(|| self.states[0]);
        let group = self.group.resolve(conn).await?;
        // Ages are by one clock, that of Redis: those of workers, and ours, may be anywhere.
        let now = if self.older_than.is_some() { conn.time().await?.as_secs_f64() } else { 0.0 };
        Ok((Selected { kind: group.kind.clone(), ..Selected::new(state) }, group, now))
    }

    /// Goes through the queue and keeps what fits.
    pub(crate) async fn scan(&self, conn: &Connection, quiet: bool) -> Result<Selected, CliError> {
        let (mut selected, group, now) = self.begin(conn).await?;
        let mut progress = Progress::new("looked at", 0, !quiet);
        for state in &self.states {
            let mut scan = StateScan::of_group(*state, group.clone());
            while let Some(page) = scan.next(conn).await? {
                progress.advance(page.len() as u64);
                let page: Vec<HashEntry> = page.into_iter().filter(|entry| self.fits(entry, *state)).collect();
                let page = self.in_place(conn, *state, page).await?;
                for chunk in page.chunks(AT_ONCE) {
                    self.keep(conn, chunk, now, &mut selected).await?;
                }
            }
        }
        selected.cancelled = self.left_cancelled(conn, &group).await?;
        Ok(selected)
    }

    /// How many cancelled tasks these flags would select, if they counted as failed.
    async fn left_cancelled(&self, conn: &Connection, group: &TaskGroup) -> Result<u64, CliError> {
        if !self.leaves_cancelled() || self.older_than.is_some() {
            return Ok(0);
        }
        let all = inspect::counts(conn).await?.cancelled;
        if all == 0 || (self.include.is_none() && self.worker.is_none() && group.is_any()) {
            return Ok(all);
        }
        // With the worker they had failed on, and what they belong to, where that is asked for.
        let is_short = self.worker.is_none() && group.is_any();
        let mut scan = if is_short {
            StateScan::of_hash(TaskState::Cancelled)
        } else {
            StateScan::of_group(TaskState::Cancelled, group.clone())
        };
        let mut found = 0;
        while let Some(page) = scan.next(conn).await? {
            let is_cancelled = |entry: &&HashEntry| !is_short || entry.value == Outcome::CANCELLED_GROUP;
            let cancelled = page.iter().filter(is_cancelled);
            found += cancelled.filter(|entry| self.fits(entry, TaskState::Cancelled)).count() as u64;
        }
        Ok(found)
    }

    /// Whether somebody may expect cancelled tasks among those that are selected.
    pub(super) fn leaves_cancelled(&self) -> bool {
        self.verb == Verb::Requeue && self.states == [TaskState::Failed] && self.group.kind.is_none()
    }

    /// A retry is in todo and in failed: it is selected where it waits. What has failed for good cannot be cancelled.
    async fn in_place(
        &self,
        conn: &Connection,
        state: TaskState,
        page: Vec<HashEntry>,
    ) -> Result<Vec<HashEntry>, CliError> {
        let wants_open = match state {
            TaskState::Failed if self.verb == Verb::Cancel => true,
            TaskState::Failed | TaskState::Cancelled if self.states.contains(&TaskState::Todo) => false,
            TaskState::Todo
            | TaskState::InProgress
            | TaskState::Finished
            | TaskState::Failed
            | TaskState::Cancelled => return Ok(page),
        };
        let lines: Vec<String> = page.iter().map(|entry| entry.line.clone()).collect();
        let states = inspect::states(conn, &lines).await?;
        let found = page.into_iter().zip(states).filter(|(_, states)| is_open(states) == wants_open);
        Ok(found.map(|(entry, _)| entry).collect())
    }

    pub(super) fn includes(&self, line: &str) -> bool {
        self.include.as_ref().is_none_or(|text| line.contains(text.as_str()))
    }

    pub(super) fn fits(&self, entry: &HashEntry, state: TaskState) -> bool {
        self.includes(&entry.line) && self.worker.as_ref().is_none_or(|worker| is_of(entry, state, worker))
    }

    pub(super) async fn keep(
        &self,
        conn: &Connection,
        entries: &[HashEntry],
        now: f64,
        selected: &mut Selected,
    ) -> Result<(), CliError> {
        // What is purged may have left files, which records name.
        if self.older_than.is_none() && self.verb != Verb::Purge {
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

pub(super) fn is_open(states: &[TaskState]) -> bool {
    states.contains(&TaskState::Todo) || states.contains(&TaskState::InProgress)
}

fn has_ended(state: &TaskState) -> bool {
    match state {
        TaskState::Todo | TaskState::InProgress => false,
        TaskState::Finished | TaskState::Failed | TaskState::Cancelled => true,
    }
}

impl Verb {
    /// `requeue`, `cancel`, `purge`, `edit`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Cancel => "cancel",
            Self::Purge => "purge",
            Self::Edit => "edit",
        }
    }
}

/// `requeue`, `cancel`, `purge`.
pub(crate) fn verb(change: Change) -> &'static str {
    Verb::from(change).as_str()
}

/// Refuses what selects tasks that do not wait.
fn only_waiting(args: &SelectArgs) -> Result<(), CliError> {
    let refused = [
        (args.state.is_some_and(|state| TaskState::from(state) != TaskState::Todo), "--state can only be todo"),
        (args.worker.is_some(), "--worker cannot be used with edit"),
        (args.older_than.is_some(), "--older-than cannot be used with edit"),
    ];
    match refused.into_iter().find(|(is_given, _)| *is_given) {
        Some((_, what)) => Err(CliError::Usage(format!("{what}: edit changes only tasks that wait"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::task_state::StateArg;

    fn args() -> SelectArgs {
        SelectArgs {
            lines: Vec::new(),
            state: None,
            group: GroupArgs::default(),
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
        assert_eq!(Selector::new(Change::Purge, &sim).unwrap().states.len(), 5);
        let old = SelectArgs { older_than: Some("7d".to_owned()), ..args() };
        assert_eq!(Selector::new(Change::Purge, &old).unwrap().states(), "finished, failed or cancelled");
        let oom = SelectArgs { group: GroupArgs { kind: Some("oom".to_owned()), ..GroupArgs::default() }, ..args() };
        for change in [Change::Requeue, Change::Cancel, Change::Purge] {
            assert_eq!(Selector::new(change, &oom).unwrap().states(), "failed");
        }
        let gone =
            SelectArgs { group: GroupArgs { kind: Some("cancelled".to_owned()), ..GroupArgs::default() }, ..args() };
        assert_eq!(Selector::new(Change::Requeue, &gone).unwrap().states(), "cancelled");
    }

    #[test]
    fn only_what_waits_is_edited() {
        let sim = SelectArgs { include: Some("sim".to_owned()), ..args() };
        assert!(Selector::new(Verb::Edit, &sim).is_ok());
        assert!(Selector::new(Verb::Edit, &SelectArgs { state: Some(StateArg::Todo), ..sim.clone() }).is_ok());
        let kind = |kind: &str| GroupArgs { kind: Some(kind.to_owned()), ..GroupArgs::default() };
        assert!(Selector::new(Verb::Edit, &SelectArgs { group: kind("exit 3"), ..args() }).is_ok(), "a retry");
        for wrong in [
            args(),
            SelectArgs { state: Some(StateArg::Failed), ..args() },
            SelectArgs { worker: Some("n1".to_owned()), ..sim.clone() },
            SelectArgs { older_than: Some("1h".to_owned()), ..sim },
            SelectArgs { group: kind("cancelled"), ..args() },
        ] {
            assert!(Selector::new(Verb::Edit, &wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_cannot_fit_is_refused() {
        let finished = SelectArgs { state: Some(StateArg::Finished), ..args() };
        assert!(Selector::new(Change::Cancel, &finished).is_err());
        let cancelled = SelectArgs { state: Some(StateArg::Cancelled), ..args() };
        assert!(Selector::new(Change::Cancel, &cancelled).is_err());
        assert_eq!(Selector::new(Change::Requeue, &cancelled).unwrap().states(), "cancelled");
        let todo = SelectArgs { state: Some(StateArg::Todo), worker: Some("n1".to_owned()), ..args() };
        assert!(Selector::new(Change::Purge, &todo).is_err());
        let old = SelectArgs { state: Some(StateArg::Todo), older_than: Some("1h".to_owned()), ..args() };
        assert!(Selector::new(Change::Purge, &old).is_err());
    }
}
