//! `distcomp-status tasks`: lists tasks.

use serde_json::Value;

use super::args::TasksArgs;
use super::context::StatusContext;
use crate::cli::exit::CliError;
use crate::cli::output::{columns, is_terminal};
use crate::cli::task_state::is_of;
use crate::model::snapshot::TaskState;
use crate::model::{FinishedValue, TaskId};
use crate::queue::select::{HashEntry, StateScan, TaskGroup};
use crate::queue::{aside, inspect};
use crate::view::json;
use crate::view::safe_text::safe;
use crate::view::table::{Column, table, text};
use crate::view::text::count;

/// Rows of a table that are laid out together; more come in further tables, so that memory stays bounded.
const ROWS_AT_ONCE: usize = 1000;

/// The order in which tasks of all states are listed. A task in two of them is listed under the first.
const ALL: [TaskState; 5] =
    [TaskState::InProgress, TaskState::Failed, TaskState::Todo, TaskState::Cancelled, TaskState::Finished];

/// Lists tasks until the limit is reached.
pub(super) async fn tasks(session: &mut StatusContext, args: &TasksArgs) -> Result<(), CliError> {
    let states = args.group.states(args.state.map(TaskState::from))?.unwrap_or_else(|| ALL.to_vec());
    let group = args.group.resolve(&session.conn).await?;
    let mut list = List { args, states, group, shown: 0, rows: Vec::new() };
    let mut is_cut = false;
    for state in list.states.clone() {
        is_cut = !list.of_state(session, state).await?;
        if is_cut {
            break;
        }
    }
    list.flush(session)?;
    if is_cut {
        let has_texts = args.include.is_some() || args.exclude.is_some() || args.worker.is_some();
        let is_filtered = has_texts || !list.group.is_any();
        let of = if is_filtered { "those that match".to_owned() } else { count(total(session, &list.states).await?) };
        session.context.say(&format!("showing {} of {of}; --limit 0 for all", count(list.shown)));
    }
    Ok(())
}

/// How many tasks there are in these states.
async fn total(session: &StatusContext, states: &[TaskState]) -> Result<u64, CliError> {
    let overview = inspect::shown_overview(&session.conn).await?;
    let sum: u64 = states.iter().map(|state| overview.counts.of(*state)).sum();
    // A retry stands in two states.
    let twice = if states.len() > 1 { overview.retries } else { 0 };
    let shows_aside = session.context.is_local && states.contains(&TaskState::Todo);
    let set_aside = if shows_aside { aside::count(&session.conn).await? } else { 0 };
    Ok(sum.saturating_sub(twice) + set_aside)
}

/// The list so far.
struct List<'a> {
    args: &'a TasksArgs,
    states: Vec<TaskState>,
    group: TaskGroup,
    shown: u64,
    rows: Vec<Vec<String>>,
}

impl List<'_> {
    /// Lists the tasks of one state; false when the limit was reached before their end.
    async fn of_state(&mut self, session: &mut StatusContext, state: TaskState) -> Result<bool, CliError> {
        let mut scans = vec![StateScan::of_group(state, self.group.clone())];
        if session.context.is_local && state == TaskState::Todo && self.group.is_any() {
            // It waits too, though not for the run that is at work.
            scans.insert(0, StateScan::of_aside());
        }
        while let Some(scan) = scans.last_mut() {
            let Some(mut page) = scan.next(&session.conn).await? else {
                scans.pop();
                continue;
            };
            page.retain(|entry| is_wanted(entry, state, self.args));
            for entry in self.not_listed_before(session, state, page).await? {
                if self.args.limit > 0 && self.shown == self.args.limit {
                    return Ok(false);
                }
                self.shown += 1;
                self.add(session, &entry, state)?;
            }
            if self.rows.len() >= ROWS_AT_ONCE {
                self.flush(session)?;
            }
        }
        Ok(true)
    }

    /// Without those that stand in another state too, under which they are listed.
    async fn not_listed_before(
        &self,
        session: &StatusContext,
        state: TaskState,
        page: Vec<HashEntry>,
    ) -> Result<Vec<HashEntry>, CliError> {
        if self.states.first() == Some(&state) {
            return Ok(page);
        }
        let lines: Vec<String> = page.iter().map(|entry| entry.line.clone()).collect();
        let places = inspect::states(&session.conn, &lines).await?;
        let is_first = |there: &[TaskState]| {
            self.states.iter().find(|state| there.contains(state)).is_none_or(|first| *first == state)
        };
        Ok(page.into_iter().zip(places).filter(|(_, there)| is_first(there)).map(|(entry, _)| entry).collect())
    }

    fn add(&mut self, session: &mut StatusContext, entry: &HashEntry, state: TaskState) -> Result<(), CliError> {
        if session.json {
            session.out.json(&object(entry, state))
        } else if is_terminal() {
            let mut row = row(entry, state);
            if self.states.len() > 1 {
                row = vec![row.remove(0), state.as_str().to_owned(), row.pop().unwrap_or_default()];
            }
            self.rows.push(row);
            Ok(())
        } else if self.args.raw {
            session.out.bytes(entry.line.as_bytes())?;
            session.out.bytes(b"\n")
        } else {
            session.out.line(&safe(&entry.line))
        }
    }

    /// Prints the rows of the table so far.
    fn flush(&mut self, session: &mut StatusContext) -> Result<(), CliError> {
        const OF_ALL: [Column; 3] = [text("id"), text("state"), text("line")];
        if self.rows.is_empty() {
            return Ok(());
        }
        let heads = match self.states.as_slice() {
            [state] => heads(*state),
            _ => &OF_ALL,
        };
        session.out.text(&table(heads, std::mem::take(&mut self.rows), columns()))
    }
}

fn is_wanted(entry: &HashEntry, state: TaskState, args: &TasksArgs) -> bool {
    args.include.as_ref().is_none_or(|text| entry.line.contains(text.as_str()))
        && args.exclude.as_ref().is_none_or(|text| !entry.line.contains(text.as_str()))
        && args.worker.as_ref().is_none_or(|worker| is_of(entry, state, worker))
}

fn heads(state: TaskState) -> &'static [Column] {
    const TODO: [Column; 2] = [text("id"), text("line")];
    const WORKER: [Column; 3] = [text("id"), text("worker"), text("line")];
    const FAILED: [Column; 3] = [text("id"), text("failed on"), text("line")];
    match state {
        TaskState::Todo => &TODO,
        TaskState::InProgress | TaskState::Finished => &WORKER,
        TaskState::Failed | TaskState::Cancelled => &FAILED,
    }
}

fn row(entry: &HashEntry, state: TaskState) -> Vec<String> {
    let mut cells = vec![TaskId::of(&entry.line).to_string()];
    match state {
        TaskState::Todo => {}
        TaskState::InProgress => cells.push(safe(&entry.value).into_owned()),
        TaskState::Finished => cells.push(safe(FinishedValue::parse(&entry.value).worker_or_empty()).into_owned()),
        TaskState::Failed | TaskState::Cancelled => cells.push(safe(entry.value.trim_end_matches(',')).into_owned()),
    }
    cells.push(safe(&entry.line).into_owned());
    cells
}

fn object(entry: &HashEntry, state: TaskState) -> Value {
    let workers: Vec<&str> = match state {
        TaskState::Todo => Vec::new(),
        TaskState::InProgress => vec![&entry.value],
        TaskState::Finished => vec![FinishedValue::parse(&entry.value).worker_or_empty()],
        TaskState::Failed | TaskState::Cancelled => entry.value.split(',').filter(|name| !name.is_empty()).collect(),
    };
    Value::Object(json::task(&entry.line, state, workers))
}
