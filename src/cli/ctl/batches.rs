//! `pause`, `resume`, `close` and `release` of batches.

use std::collections::HashSet;

use serde_json::json;

use super::context::CtlContext;
use super::switch::{agreed, done};
use crate::cli::exit::CliError;
use crate::cli::known_batches::known;
use crate::host::user_name;
use crate::model::snapshot::BatchView;
use crate::model::{BatchName, TaskId, WorkerName};
use crate::queue::batches::{BatchChange, Member, MemberScan, MemberState};
use crate::queue::control::{self, Change};
use crate::queue::{Connection, QueueError, batch_views, batches, kinds};
use crate::view::text::{count, counted, tasks};

/// Holds batches: nothing of them starts.
pub(super) async fn pause(session: &mut CtlContext, names: &[BatchName]) -> Result<(), CliError> {
    let found = whole(session, names).await?;
    let plan = format!("pause {}: {}", joined(names), sizes(&found));
    if !agreed(session, "pause", &plan, json!(names))? {
        return Ok(());
    }
    // What joined a batch while it waited goes where that has it, so that it is held too.
    while batches::release(&session.conn, None).await?.has_more {}
    batches::change(&session.conn, BatchChange::Hold(&format!("paused by {}", user_name())), names).await?;
    let text = format!("paused {}; distcomp-ctl resume {} continues", joined(names), spaced(names));
    done(session, "pause", &text, json!(names))
}

/// Lets held batches go on; of one that had stopped, what was given up for that waits again.
pub(super) async fn resume(session: &mut CtlContext, names: &[BatchName]) -> Result<(), CliError> {
    let found = whole(session, names).await?;
    let held: Vec<&BatchView> = found.iter().filter(|batch| batch.held.is_some()).collect();
    if held.is_empty() {
        let are = if names.len() == 1 { "is not held" } else { "are not held" };
        return done(session, "resume", &format!("{} {are}", joined(names)), json!([]));
    }
    let held_names: Vec<BatchName> = held.iter().map(|batch| batch.name.clone()).collect();
    let stopped: Vec<BatchName> = held
        .iter()
        .filter(|batch| batch.held.as_deref().is_some_and(|reason| reason.starts_with(batches::STOPPED)))
        .map(|batch| batch.name.clone())
        .collect();
    let again = if stopped.is_empty() { 0 } else { count_given_up(session, &stopped).await? };
    let again = if again > 0 { format!(", {} that were given up wait again", tasks(again)) } else { String::new() };
    let plan = format!("resume {}: {}{again}", joined(&held_names), sizes(&found));
    if !agreed(session, "resume", &plan, json!(held_names))? {
        return Ok(());
    }
    batches::change(&session.conn, BatchChange::GoOn, &held_names).await?;
    let again = if stopped.is_empty() { 0 } else { requeue_given_up(session, &stopped).await? };
    let requeued = if again > 0 { format!("; {} that were given up wait again", tasks(again)) } else { String::new() };
    done(session, "resume", &format!("resumed {}{requeued}", joined(&held_names)), json!(held_names))
}

/// The tasks that were given up because their batch had stopped wait again.
async fn requeue_given_up(session: &mut CtlContext, stopped: &[BatchName]) -> Result<u64, CliError> {
    let by: WorkerName = "operator".parse().map_err(|_| CliError::Usage("operator is no name".to_owned()))?;
    let (mut scan, mut again) = (MemberScan::default(), 0);
    while let Some(page) = scan.page(&session.conn).await? {
        let lines = given_up(&session.conn, page, stopped).await?;
        for part in lines.chunks(control::BATCH) {
            let changed = control::change(&session.conn, Change::Requeue, None, part, session.order, &by).await?;
            again += changed.changed;
        }
    }
    Ok(again)
}

/// How many those are.
async fn count_given_up(session: &CtlContext, stopped: &[BatchName]) -> Result<u64, CliError> {
    // A scan may bring a member twice.
    let (mut scan, mut found) = (MemberScan::default(), HashSet::new());
    while let Some(page) = scan.page(&session.conn).await? {
        found.extend(given_up(&session.conn, page, stopped).await?.iter().map(|line| TaskId::of(line)));
    }
    Ok(found.len() as u64)
}

/// Those of some members that were given up because their batch, one of these, had stopped.
async fn given_up(conn: &Connection, page: Vec<Member>, stopped: &[BatchName]) -> Result<Vec<String>, QueueError> {
    let is_of =
        |member: &Member| member.state == MemberState::GivenUp && stopped.iter().any(|batch| member.is_of(batch));
    let lines: Vec<String> = page.into_iter().filter(is_of).map(|member| member.line).collect();
    let kinds = kinds::recorded(conn, &lines).await?;
    let is_stopped = |(_, kind): &(String, Option<String>)| kind.as_deref() == Some(batches::STOPPED);
    Ok(lines.into_iter().zip(kinds).filter(is_stopped).map(|(line, _)| line).collect())
}

/// Ends submissions that were cut short: nothing more is to come.
pub(super) async fn close(session: &mut CtlContext, names: &[BatchName]) -> Result<(), CliError> {
    let found = whole(session, names).await?;
    let submissions: u64 = found.iter().map(|batch| batch.submissions).sum();
    if submissions == 0 {
        return done(session, "close", &format!("no submission to {} is under way", joined(names)), json!([]));
    }
    let plan = format!(
        "close {}: {} under way or cut short counts as complete, and what waits for the batch goes on when its tasks have ended",
        joined(names),
        counted(submissions, "submission")
    );
    if !agreed(session, "close", &plan, json!(names))? {
        return Ok(());
    }
    batches::change(&session.conn, BatchChange::Close, names).await?;
    done(session, "close", &format!("closed {}", joined(names)), json!(names))
}

/// Lets what waits for batches or steps go on without them.
pub(super) async fn release(session: &mut CtlContext, names: &[BatchName]) -> Result<(), CliError> {
    for (name, is_known) in names.iter().zip(batch_views::are_known(&session.conn, names).await?) {
        if !is_known {
            session.context.warn(&format!("nothing is known of {name}: what waits for it starts at once, also later"));
        }
    }
    let plan = format!("release what waits for {}: it need not wait any more, now or later", joined(names));
    if !agreed(session, "release", &plan, json!(names))? {
        return Ok(());
    }
    batches::change(&session.conn, BatchChange::Waive(&user_name()), names).await?;
    done(session, "release", &format!("released what waits for {}", joined(names)), json!(names))
}

/// Batches that are known, and no steps.
async fn whole(session: &CtlContext, names: &[BatchName]) -> Result<Vec<BatchView>, CliError> {
    if let Some(step) = names.iter().find(|name| !name.is_top()) {
        return Err(CliError::Usage(format!("{step} is a step: name the batch, {}", step.top())));
    }
    known(&session.conn, names).await
}

fn sizes(found: &[BatchView]) -> String {
    let of = |figure: fn(&BatchView) -> u64| found.iter().map(figure).sum::<u64>();
    let waiting = of(|batch| batch.waiting + batch.blocked);
    format!("{} wait, {} in progress continue", tasks(waiting), count(of(|batch| batch.running)))
}

fn joined(names: &[BatchName]) -> String {
    names.iter().map(BatchName::as_str).collect::<Vec<_>>().join(", ")
}

fn spaced(names: &[BatchName]) -> String {
    names.iter().map(BatchName::as_str).collect::<Vec<_>>().join(" ")
}
