//! `--wait`: follows submitted lines to their end.
//!
//! The lines are gone through in order; each step asks only about the first ones not known to be done, so that the cost is one look at each line
//! and one small question per poll.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::common::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::groups::{Groups, kinds_of};
use crate::cli::progress::Progress;
use crate::cli::spool::{Spool, Spooled};
use crate::model::snapshot::TaskState;
use crate::queue::select::Entry;
use crate::queue::{Connection, inspect};
use crate::view::failures::failures;
use crate::view::text::tasks;

/// Time between two questions while nothing moves.
const POLL: Duration = Duration::from_millis(500);

/// A line that is nowhere may be on its way between two hashes: Python's moves are two steps.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// Lines asked about in one step.
const CHUNK: usize = 500;

/// How lines ended.
#[derive(Default)]
struct Ends {
    finished: u64,
    failed: u64,
    gone: u64,
    groups: Groups,
}

/// Waits until every line has finished, is out of retries, or is gone.
pub(super) async fn wait(context: &Context, conn: &Connection, spool: Spool, quiet: bool) -> Result<Exit, CliError> {
    let total = spool.len();
    let spooled = spool.read().map_err(|error| CliError::io("read the lines to wait for", error))?;
    let failed = |error| CliError::io("listen for signals", error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut ends = Ends::default();
    let exit = tokio::select! {
        result = follow(conn, spooled, total, &mut ends, quiet) => result.map(|()| None)?,
        _ = interrupt.recv() => Some(Exit::Interrupted),
        _ = terminate.recv() => Some(Exit::Terminated),
    };
    if let Some(exit) = exit {
        context.say("no longer waiting; the tasks stay queued and go on (distcomp-ctl cancel stops them)");
        return Ok(exit);
    }
    report(context, conn, ends, quiet).await
}

async fn follow(
    conn: &Connection,
    mut lines: Spooled,
    total: u64,
    ends: &mut Ends,
    quiet: bool,
) -> Result<(), CliError> {
    let mut progress = Progress::new("done", total, !quiet);
    let mut done = 0;
    let mut pending: Vec<String> = Vec::new();
    loop {
        if pending.is_empty() {
            pending = lines.take(CHUNK).map_err(|error| CliError::io("read the lines to wait for", error))?;
            if pending.is_empty() {
                return Ok(());
            }
        }
        let before = pending.len();
        pending = settle(conn, pending, ends).await?;
        done += (before - pending.len()) as u64;
        if pending.is_empty() {
            progress.set(done);
            continue;
        }
        // Those further down that are done already show in the counts, unless others fill the queue too.
        let counts = inspect::counts(conn).await?;
        progress.set(done.max(total.saturating_sub(counts.todo + counts.in_progress)));
        progress.note(format!("{} running, ", counts.in_progress));
        tokio::time::sleep(POLL).await;
    }
}

/// Counts those of some lines that have come to their end; returns the others.
async fn settle(conn: &Connection, lines: Vec<String>, ends: &mut Ends) -> Result<Vec<String>, CliError> {
    let first = inspect::states(conn, &lines).await?;
    let mut open = Vec::new();
    let mut doubtful = Vec::new();
    for (line, states) in lines.into_iter().zip(first) {
        match end_of(&states) {
            End::Open => open.push(line),
            End::Finished => ends.finished += 1,
            End::Failed | End::Gone => doubtful.push(line),
        }
    }
    if doubtful.is_empty() {
        return Ok(open);
    }
    // The four hashes were not read in one instant: a task on its way back to todo may look like a failed one.
    tokio::time::sleep(SECOND_LOOK).await;
    let second = inspect::states(conn, &doubtful).await?;
    let mut failed = Vec::new();
    for (line, states) in doubtful.into_iter().zip(second) {
        match end_of(&states) {
            End::Open => open.push(line),
            End::Finished => ends.finished += 1,
            End::Failed => failed.push(Entry { line, value: String::new() }),
            End::Gone => ends.gone += 1,
        }
    }
    ends.failed += failed.len() as u64;
    for failure in kinds_of(conn, failed).await? {
        ends.groups.add(&failure);
    }
    Ok(open)
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Finished,
    Failed,
    Gone,
}

fn end_of(states: &[TaskState]) -> End {
    if states.contains(&TaskState::Todo) || states.contains(&TaskState::InProgress) {
        End::Open
    } else if states.contains(&TaskState::Finished) {
        End::Finished
    } else if states.contains(&TaskState::Failed) {
        End::Failed
    } else {
        End::Gone
    }
}

async fn report(context: &Context, conn: &Connection, ends: Ends, quiet: bool) -> Result<Exit, CliError> {
    let gone = if ends.gone == 0 { String::new() } else { format!(", {} purged meanwhile", ends.gone) };
    if !quiet || ends.failed > 0 {
        context.say(&format!("{} finished, {} failed{gone}", tasks(ends.finished), ends.failed));
    }
    if ends.failed == 0 {
        return Ok(Exit::Done);
    }
    let groups = ends.groups.finish(conn).await?;
    anstream::eprintln!("{}", failures(&groups, crate::cli::common::columns()).trim_end());
    Ok(Exit::TasksFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_task_that_waits_for_its_retry_is_not_done() {
        assert_eq!(end_of(&[TaskState::Todo, TaskState::Failed]), End::Open);
        assert_eq!(end_of(&[TaskState::InProgress, TaskState::Failed]), End::Open);
        assert_eq!(end_of(&[TaskState::Failed]), End::Failed);
        assert_eq!(end_of(&[TaskState::Finished]), End::Finished);
        assert_eq!(end_of(&[]), End::Gone);
    }
}
