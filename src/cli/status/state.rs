//! `distcomp-status state`: prints where tasks stand, a word for each, for programs.

use std::time::Duration;

use serde::Serialize;

use super::context::StatusContext;
use crate::cli::exit::CliError;
use crate::cli::find::{ambiguous, find_aside};
use crate::model::TaskId;
use crate::model::snapshot::Standing;
use crate::queue::find::{TaskMatch, find_all};
use crate::queue::{Connection, batch_gates, inspect};

/// The four hashes are not read in one instant: a task on its way back to todo may look like a failed one.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// A line that is nowhere may be between two hashes: Python's moves are two steps. One that is nowhere for so long is gone.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// What a text of the command line names, and where that stands.
struct NamedTask<'a> {
    text: &'a str,
    /// `None` of an id that no task has.
    line: Option<String>,
    standing: Standing,
}

#[derive(Serialize)]
struct Row<'a> {
    id: Option<String>,
    line: Option<&'a str>,
    state: Standing,
}

/// Prints a word for each text, in order.
pub(super) async fn state(session: &mut StatusContext, texts: &[String]) -> Result<(), CliError> {
    let mut tasks = named(&session.conn, texts).await?;
    look(&session.conn, &mut tasks, |_| true).await?;
    if tasks.iter().any(is_doubtful) {
        tokio::time::sleep(SECOND_LOOK).await;
        name_again(&session.conn, &mut tasks).await?;
        look(&session.conn, &mut tasks, is_doubtful).await?;
    }
    if session.context.is_local {
        look_aside(&session.conn, &mut tasks).await?;
    }
    if tasks.iter().any(is_nowhere) {
        tokio::time::sleep(LAST_LOOK).await;
        look(&session.conn, &mut tasks, is_nowhere).await?;
    }
    look_at_gates(&session.conn, &mut tasks).await?;
    for task in &tasks {
        if session.json {
            session.out.json(&row(task))?;
        } else {
            session.out.line(task.standing.as_str())?;
        }
    }
    Ok(())
}

fn is_doubtful(task: &NamedTask<'_>) -> bool {
    matches!(task.standing, Standing::Failed | Standing::Cancelled | Standing::None)
}

fn is_nowhere(task: &NamedTask<'_>) -> bool {
    task.line.is_some() && task.standing == Standing::None
}

async fn named<'a>(conn: &Connection, texts: &'a [String]) -> Result<Vec<NamedTask<'a>>, CliError> {
    let found = find_all(conn, texts).await?;
    CliError::all(texts.iter().zip(found).map(|(text, found)| {
        let line = match found {
            TaskMatch::One(line) => Some(line),
            TaskMatch::Many(lines) => return Err(CliError::Usage(ambiguous(text, &lines))),
            TaskMatch::None => Some(text.clone()).filter(|text| !TaskId::is_prefix_like(text)),
        };
        Ok(NamedTask { text, line, standing: Standing::None })
    }))
}

/// Searches once more for ids that no task had: a retry moves against the direction of the search.
async fn name_again(conn: &Connection, tasks: &mut [NamedTask<'_>]) -> Result<(), CliError> {
    let without: Vec<&mut NamedTask<'_>> = tasks.iter_mut().filter(|task| task.line.is_none()).collect();
    let texts: Vec<String> = without.iter().map(|task| task.text.to_owned()).collect();
    if texts.is_empty() {
        return Ok(());
    }
    for (task, found) in without.into_iter().zip(find_all(conn, &texts).await?) {
        match found {
            TaskMatch::One(line) => task.line = Some(line),
            TaskMatch::Many(lines) => return Err(CliError::Usage(ambiguous(task.text, &lines))),
            TaskMatch::None => {}
        }
    }
    Ok(())
}

/// Looks where those tasks stand that are `wanted` and have a line.
async fn look(
    conn: &Connection,
    tasks: &mut [NamedTask<'_>],
    wanted: impl Fn(&NamedTask<'_>) -> bool,
) -> Result<(), CliError> {
    let mut wanted: Vec<&mut NamedTask<'_>> = tasks.iter_mut().filter(|task| wanted(task)).collect();
    wanted.retain(|task| task.line.is_some());
    let lines: Vec<String> = wanted.iter().filter_map(|task| task.line.clone()).collect();
    let states = inspect::states(conn, &lines).await?;
    for (task, states) in wanted.into_iter().zip(states) {
        task.standing = Standing::of(&states);
    }
    Ok(())
}

/// Tells the tasks that wait for a batch or a time from those that may run.
async fn look_at_gates(conn: &Connection, tasks: &mut [NamedTask<'_>]) -> Result<(), CliError> {
    let is_waiting = |task: &&mut NamedTask<'_>| task.standing == Standing::Waiting && task.line.is_some();
    let waiting: Vec<&mut NamedTask<'_>> = tasks.iter_mut().filter(is_waiting).collect();
    let lines: Vec<String> = waiting.iter().filter_map(|task| task.line.clone()).collect();
    for (task, is_blocked) in waiting.into_iter().zip(batch_gates::are_blocked(conn, &lines).await?) {
        if is_blocked {
            task.standing = Standing::Blocked;
        }
    }
    Ok(())
}

/// With `--local`: what an earlier command line left waiting.
async fn look_aside(conn: &Connection, tasks: &mut [NamedTask<'_>]) -> Result<(), CliError> {
    for task in tasks.iter_mut().filter(|task| task.standing == Standing::None) {
        if let Some(line) = find_aside(conn, task.text).await? {
            (task.line, task.standing) = (Some(line), Standing::Waiting);
        }
    }
    Ok(())
}

/// An id that no task has is still an id if it is whole.
fn row<'a>(task: &'a NamedTask<'_>) -> Row<'a> {
    let id = task.line.as_deref().map(TaskId::of).or_else(|| TaskId::parse(task.text));
    Row { id: id.map(|id| id.to_string()), line: task.line.as_deref(), state: task.standing }
}
