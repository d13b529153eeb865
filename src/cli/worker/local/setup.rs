//! Prepares the queue between the start of the server and the first claim: lifts old orders, recovers tasks, and sets aside those of other
//! command lines.

use std::collections::BTreeMap;

use super::roster::RosterWriter;
use super::run_context::RunContext;
use crate::cli::exit::CliError;
use crate::cli::local::restore_all;
use crate::cli::task_set::{TaskEnd, TaskSet};
use crate::model::snapshot::TaskState;
use crate::model::{TaskId, TaskLine, WorkerName};
use crate::queue::control::{self, Change, change};
use crate::queue::select::{HashEntry, StateScan};
use crate::queue::take_over::{Orphan, ReclaimReason, TakeOver, deregister, scan_in_progress};
use crate::queue::{Connection, aside, inspect};

/// A pause, a stop or a drain that outlives the run for which it was meant would hold this one for ever.
pub(super) async fn lift_orders(run: &RunContext<'_>, conn: &Connection, me: &WorkerName) -> Result<(), CliError> {
    let (is_paused, is_stopped) = control::resume(conn, "").await?;
    let is_drained = control::undrain(conn, me, "").await?;
    let lifted = [(is_paused, "pause"), (is_stopped, "stop"), (is_drained, "drain")];
    for (_, order) in lifted.iter().filter(|(was_there, _)| *was_there) {
        run.context.say(&format!("lifted the {order} that distcomp-ctl had left here"));
    }
    Ok(())
}

/// Puts back what workers of other names have in progress. The server has just been started and the lock is ours: none of them lives. Our own name's is
/// taken up by the worker itself, with what it left unreported.
pub(super) async fn recover_others(run: &RunContext<'_>, conn: &Connection, me: &WorkerName) -> Result<(), CliError> {
    let mut others: BTreeMap<String, Vec<Orphan>> = BTreeMap::new();
    let known = inspect::overview(conn).await?.workers;
    for worker in known.into_iter().filter(|worker| worker.name != me.as_str()) {
        others.insert(worker.name, Vec::new());
    }
    let mut cursor = 0;
    loop {
        let (next, page) = scan_in_progress(conn, cursor, |worker| worker != me.as_str(), run.order).await?;
        for (worker, orphan) in page {
            others.entry(worker).or_default().push(orphan);
        }
        if next == 0 {
            break;
        }
        cursor = next;
    }
    for (name, lines) in others {
        // A name that is none was written by hand.
        let Ok(worker) = name.parse::<WorkerName>() else { continue };
        let (reason, max_lost) = (ReclaimReason::Operator, run.config.max_lost);
        TakeOver { conn, worker: &worker, reason, max_lost }.lines(&lines).await?;
        deregister(conn, &worker).await?;
    }
    Ok(())
}

/// Sets aside what waits and is not of this command line.
///
/// A batch is one atomic step, and cut short the rest is set aside by the next run, which comes here before it claims anything.
pub(super) async fn leave_aside(run: &RunContext<'_>, conn: &Connection, members: &TaskSet) -> Result<(), CliError> {
    let mut scan = StateScan::new(TaskState::Todo);
    while let Some(page) = scan.next(conn).await? {
        let others: Vec<String> = lines(page).filter(|line| !members.contains(line)).collect();
        for batch in others.chunks(aside::BATCH) {
            aside::set_aside(conn, batch, run.order).await?;
        }
    }
    Ok(())
}

/// Puts all back that earlier runs have set aside, and makes whatever waits a part of this run.
pub(super) async fn take_all(
    run: &RunContext<'_>,
    conn: &Connection,
    members: &mut TaskSet,
    mut roster: Option<&mut RosterWriter>,
) -> Result<(), CliError> {
    restore_all(conn, run.order).await?;
    let mut waiting = Vec::new();
    let mut scan = StateScan::new(TaskState::Todo);
    while let Some(page) = scan.next(conn).await? {
        for line in lines(page) {
            waiting.push(TaskId::of(&line));
            if let Some(roster) = roster.as_mut().filter(|_| !members.contains(&line)) {
                let task = TaskLine::parse(&line, run.order);
                roster.add(&line, task.as_ref().map_or(&line, |task| task.cmd()))?;
            }
        }
    }
    members.extend(waiting);
    Ok(())
}

/// Puts those of the command line's tasks back to todo that are out of retries, and says how many.
pub(super) async fn requeue_failed(
    run: &RunContext<'_>,
    conn: &Connection,
    members: &TaskSet,
    by: &WorkerName,
) -> Result<u64, CliError> {
    let mut requeued = 0;
    let mut scan = StateScan::new(TaskState::Failed);
    while let Some(page) = scan.next(conn).await? {
        let ours: Vec<String> = lines(page).filter(|line| members.contains(line)).collect();
        let states = inspect::states(conn, &ours).await?;
        // One that waits for its retry is not out of them.
        let out: Vec<String> = ours
            .into_iter()
            .zip(states)
            .filter(|(_, states)| *states == [TaskState::Failed])
            .map(|(line, _)| line)
            .collect();
        for batch in out.chunks(control::BATCH) {
            let failed = Some(TaskState::Failed);
            requeued += change(conn, Change::Requeue, failed, batch, run.order, by).await?.changed;
        }
    }
    Ok(requeued)
}

/// How many of the command line's tasks an operator has cancelled.
pub(super) async fn count_cancelled(conn: &Connection, members: &TaskSet) -> Result<u64, CliError> {
    let mut tally = members.tally();
    let mut found = 0;
    let mut scan = StateScan::new(TaskState::Cancelled);
    while let Some(page) = scan.next(conn).await? {
        found += lines(page).filter(|line| tally.note(TaskId::of(line), TaskEnd::Cancelled)).count() as u64;
    }
    Ok(found)
}

fn lines(page: Vec<HashEntry>) -> impl Iterator<Item = String> {
    page.into_iter().map(|entry| entry.line)
}
