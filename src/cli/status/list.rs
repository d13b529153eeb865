//! `distcomp-status tasks`: lists the tasks of one state.

use serde_json::{Map, Value, json};

use super::args::TasksArgs;
use super::context::StatusContext;
use crate::cli::exit::CliError;
use crate::cli::output::{columns, is_terminal};
use crate::model::TaskId;
use crate::model::snapshot::TaskState;
use crate::queue::select::{HashEntry, StateScan};
use crate::queue::{aside, inspect};
use crate::view::safe_text::safe;
use crate::view::table::{Column, table, text};
use crate::view::text::count;

/// Rows of a table that are laid out together; more come in further tables, so that memory stays bounded.
const ROWS_AT_ONCE: usize = 1000;

/// Lists tasks until the limit is reached.
pub(super) async fn tasks(session: &mut StatusContext, args: &TasksArgs) -> Result<(), CliError> {
    let state = TaskState::from(args.state);
    let is_table = !session.json && is_terminal();
    let mut scans = vec![StateScan::new(state)];
    if session.context.is_local && state == TaskState::Todo {
        // It waits too, though not for the run that is at work.
        scans.insert(0, StateScan::of_aside());
    }
    let mut shown = 0;
    let mut is_cut = false;
    let mut rows: Vec<Vec<String>> = Vec::new();
    'pages: while let Some(scan) = scans.last_mut() {
        let Some(page) = scan.next(&session.conn).await? else {
            scans.pop();
            continue;
        };
        for entry in page.iter().filter(|entry| is_wanted(entry, state, args)) {
            if args.limit > 0 && shown == args.limit {
                is_cut = true;
                break 'pages;
            }
            shown += 1;
            if session.json {
                session.out.json(&object(entry, state))?;
            } else if is_table {
                rows.push(row(entry, state));
            } else if args.raw {
                session.out.bytes(entry.line.as_bytes())?;
                session.out.bytes(b"\n")?;
            } else {
                session.out.line(&safe(&entry.line))?;
            }
        }
        if rows.len() >= ROWS_AT_ONCE {
            session.out.text(&table(heads(state), std::mem::take(&mut rows), columns()))?;
        }
    }
    if !rows.is_empty() {
        session.out.text(&table(heads(state), rows, columns()))?;
    }
    if is_cut {
        let is_filtered = args.include.is_some() || args.exclude.is_some() || args.worker.is_some();
        let counts = inspect::counts(&session.conn).await?;
        let shows_aside = session.context.is_local && state == TaskState::Todo;
        let set_aside = if shows_aside { aside::count(&session.conn).await? } else { 0 };
        let of = if is_filtered { "those that match".to_owned() } else { count(counts.of(state) + set_aside) };
        session.context.say(&format!("showing {} of {of}; --limit 0 for all", count(shown)));
    }
    Ok(())
}

fn is_wanted(entry: &HashEntry, state: TaskState, args: &TasksArgs) -> bool {
    args.include.as_ref().is_none_or(|text| entry.line.contains(text.as_str()))
        && args.exclude.as_ref().is_none_or(|text| !entry.line.contains(text.as_str()))
        && args.worker.as_ref().is_none_or(|worker| is_of(entry, state, worker))
}

/// Whether an entry concerns a worker: it runs there, ended there, or failed there. Names are compared whole.
pub(crate) fn is_of(entry: &HashEntry, state: TaskState, worker: &str) -> bool {
    match state {
        TaskState::Todo => false,
        TaskState::InProgress => entry.value == worker,
        TaskState::Finished => entry.value.strip_prefix(worker).is_some_and(|rest| rest.starts_with(": ")),
        TaskState::Failed => entry.value.split(',').any(|name| name == worker),
    }
}

fn heads(state: TaskState) -> &'static [Column] {
    const TODO: [Column; 2] = [text("id"), text("line")];
    const WORKER: [Column; 3] = [text("id"), text("worker"), text("line")];
    const FAILED: [Column; 3] = [text("id"), text("failed on"), text("line")];
    match state {
        TaskState::Todo => &TODO,
        TaskState::InProgress | TaskState::Finished => &WORKER,
        TaskState::Failed => &FAILED,
    }
}

fn row(entry: &HashEntry, state: TaskState) -> Vec<String> {
    let mut cells = vec![TaskId::of(&entry.line).to_string()];
    match state {
        TaskState::Todo => {}
        TaskState::InProgress => cells.push(safe(&entry.value).into_owned()),
        TaskState::Finished => cells.push(safe(worker_of_result(&entry.value)).into_owned()),
        TaskState::Failed => cells.push(safe(entry.value.trim_end_matches(',')).into_owned()),
    }
    cells.push(safe(&entry.line).into_owned());
    cells
}

fn worker_of_result(value: &str) -> &str {
    value.split_once(": ").map_or("", |(worker, _)| worker)
}

fn object(entry: &HashEntry, state: TaskState) -> Value {
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(TaskId::of(&entry.line).to_string()));
    object.insert("line".to_owned(), json!(entry.line));
    object.insert("state".to_owned(), json!(state));
    match state {
        TaskState::Todo => {}
        TaskState::InProgress => drop(object.insert("worker".to_owned(), json!(entry.value))),
        TaskState::Finished => drop(object.insert("worker".to_owned(), json!(worker_of_result(&entry.value)))),
        TaskState::Failed => {
            let workers: Vec<&str> = entry.value.split(',').filter(|name| !name.is_empty()).collect();
            object.insert("failed_on".to_owned(), json!(workers));
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_workers_are_compared_whole() {
        let entry = |value: &str| HashEntry { line: "x".to_owned(), value: value.to_owned() };
        assert!(is_of(&entry("node10,node1,"), TaskState::Failed, "node1"));
        assert!(!is_of(&entry("node10,"), TaskState::Failed, "node1"));
        assert!(is_of(&entry("node1: \"a\""), TaskState::Finished, "node1"));
        assert!(!is_of(&entry("node10: \"a\""), TaskState::Finished, "node1"));
        assert!(!is_of(&entry("node10"), TaskState::InProgress, "node1"));
    }
}
