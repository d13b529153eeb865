//! Pause and resume of batches.

use std::collections::HashSet;

use crate::cli::exit::CliError;
use crate::cli::known_batches::known;
use crate::model::snapshot::BatchView;
use crate::model::{BatchHold, BatchName, FailureKind, FieldOrder, TaskId, WorkerName};
use crate::queue::batches::{BatchChange, Member, MemberScan, MemberState};
use crate::queue::control::{self, Change};
use crate::queue::{Connection, QueueError, batches, kinds};
use crate::view::text::{count, tasks, tasks_wait};

/// Batches that are known, and no steps.
pub(crate) async fn whole(conn: &Connection, names: &[BatchName]) -> Result<Vec<BatchView>, CliError> {
    if let Some(step) = names.iter().find(|name| !name.is_top()) {
        return Err(CliError::Usage(format!("{step} is a step: name the batch, {}", step.top())));
    }
    known(conn, names).await
}

/// What a pause of them would do, in words.
pub(crate) fn batch_pause_plan(found: &[BatchView]) -> String {
    let names: Vec<BatchName> = found.iter().map(|batch| batch.name.clone()).collect();
    format!("pause {}: {}", joined(&names), sizes(found))
}

/// Holds batches in the name of somebody: nothing of them starts.
pub(crate) async fn pause_batches(conn: &Connection, names: &[BatchName], by: &str) -> Result<(), CliError> {
    // What joined a batch while it waited goes where that has it, so that it is held too.
    while batches::release(conn, None).await?.has_more {}
    batches::change(conn, BatchChange::Hold(&BatchHold::Paused(by.to_owned())), names).await?;
    batches::tell(conn, "paused", names, by).await;
    Ok(())
}

/// Batches that are held, and what letting them go on brings.
pub(crate) struct BatchResume {
    /// Their names.
    pub(crate) names: Vec<BatchName>,
    /// Of those that stopped by themselves, what was given up waits again.
    stopped: Vec<BatchName>,
    again: u64,
    sizes: String,
}

impl BatchResume {
    /// Finds those of some batches that are held; `None` where none is.
    pub(crate) async fn of(conn: &Connection, names: &[BatchName]) -> Result<Option<Self>, CliError> {
        let found = whole(conn, names).await?;
        let held: Vec<&BatchView> = found.iter().filter(|batch| batch.held.is_some()).collect();
        if held.is_empty() {
            return Ok(None);
        }
        let names: Vec<BatchName> = held.iter().map(|batch| batch.name.clone()).collect();
        let stopped: Vec<BatchName> = held
            .iter()
            .filter(|batch| batch.held.as_ref().is_some_and(BatchHold::has_stopped))
            .map(|batch| batch.name.clone())
            .collect();
        let again = if stopped.is_empty() { 0 } else { count_given_up(conn, &stopped).await? };
        Ok(Some(Self { names, stopped, again, sizes: sizes(&found) }))
    }

    /// What it would do, in words.
    pub(crate) fn plan(&self) -> String {
        let again = match self.again {
            0 => String::new(),
            again => format!(", {} that were given up wait again", tasks(again)),
        };
        format!("resume {}: {}{again}", joined(&self.names), self.sizes)
    }

    /// Lets them go on, and says so.
    pub(crate) async fn carry_out(&self, conn: &Connection, order: FieldOrder, by: &str) -> Result<String, CliError> {
        batches::change(conn, BatchChange::GoOn, &self.names).await?;
        batches::tell(conn, "resumed", &self.names, by).await;
        let again = if self.stopped.is_empty() { 0 } else { requeue_given_up(conn, order, &self.stopped).await? };
        let requeued = match again {
            0 => String::new(),
            again => format!("; {} that were given up wait again", tasks(again)),
        };
        Ok(format!("resumed {}{requeued}", joined(&self.names)))
    }
}

/// The tasks that were given up because their batch had stopped wait again.
async fn requeue_given_up(conn: &Connection, order: FieldOrder, stopped: &[BatchName]) -> Result<u64, CliError> {
    let by: WorkerName = "operator".parse().map_err(|_| CliError::Usage("operator is no name".to_owned()))?;
    let (mut scan, mut again) = (MemberScan::default(), 0);
    while let Some(page) = scan.page(conn).await? {
        let lines = given_up(conn, page, stopped).await?;
        for part in lines.chunks(control::BATCH) {
            again += control::change(conn, Change::Requeue, None, part, order, &by).await?.changed;
        }
    }
    Ok(again)
}

/// How many those are.
async fn count_given_up(conn: &Connection, stopped: &[BatchName]) -> Result<u64, CliError> {
    // A scan may bring a member twice.
    let (mut scan, mut found) = (MemberScan::default(), HashSet::new());
    while let Some(page) = scan.page(conn).await? {
        found.extend(given_up(conn, page, stopped).await?.iter().map(|line| TaskId::of(line)));
    }
    Ok(found.len() as u64)
}

/// Those of some members that were given up because their batch, one of these, had stopped.
async fn given_up(conn: &Connection, page: Vec<Member>, stopped: &[BatchName]) -> Result<Vec<String>, QueueError> {
    let is_of =
        |member: &Member| member.state == MemberState::GivenUp && stopped.iter().any(|batch| member.is_of(batch));
    let lines: Vec<String> = page.into_iter().filter(is_of).map(|member| member.line).collect();
    let kinds = kinds::recorded(conn, &lines).await?;
    let given_up = FailureKind::BatchStopped.to_string();
    let is_stopped = |(_, kind): &(String, Option<String>)| kind.as_ref() == Some(&given_up);
    Ok(lines.into_iter().zip(kinds).filter(is_stopped).map(|(line, _)| line).collect())
}

fn sizes(found: &[BatchView]) -> String {
    let of = |figure: fn(&BatchView) -> u64| found.iter().map(figure).sum::<u64>();
    let waiting = of(|batch| batch.waiting + batch.blocked);
    format!("{}, {} in progress continue", tasks_wait(waiting), count(of(|batch| batch.running)))
}

/// Names as a list in words.
pub(crate) fn joined(names: &[BatchName]) -> String {
    names.iter().map(BatchName::as_str).collect::<Vec<_>>().join(", ")
}
