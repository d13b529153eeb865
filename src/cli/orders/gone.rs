//! Takes over what workers hold that are gone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::exit::CliError;
use crate::model::snapshot::{WorkerState, WorkerView};
use crate::model::{FieldOrder, WorkerName, WorkerNameError};
use crate::queue::reclaim::{self, is_silent};
use crate::queue::take_over::{Orphan, ReclaimReason, Reclaimed, TakeOver, deregister};
use crate::queue::{Connection, control, inspect};

/// Moves the lines of one worker, then removes its last traces.
pub(crate) async fn take_over(
    conn: &Connection,
    name: &str,
    lines: &[Orphan],
    (reason, max_lost): (ReclaimReason<'_>, u32),
) -> Result<Reclaimed, CliError> {
    let worker = valid(name)?;
    let moved = TakeOver { conn, worker: &worker, reason, max_lost }.lines(lines).await?;
    deregister(conn, &worker).await?;
    Ok(moved)
}

fn valid(name: &str) -> Result<WorkerName, CliError> {
    name.parse().map_err(|error: WorkerNameError| CliError::Usage(error.to_string()))
}

/// Carries out what was ordered for tasks of workers that are gone, and says for how many: no other worker may be there to do it.
pub(super) async fn finish_for_the_gone(
    conn: &Connection,
    order: FieldOrder,
    dead_after: Duration,
    max_lost: u32,
) -> Result<u64, CliError> {
    let overview = inspect::overview(conn).await?;
    let mut done = 0;
    let mut by_worker: BTreeMap<String, Vec<Orphan>> = BTreeMap::new();
    for (worker, orphan) in control::marked(conn, order).await? {
        let known = overview.workers.iter().find(|known| known.name == worker);
        if known.is_none_or(|known| is_gone(known, dead_after)) && worker.parse::<WorkerName>().is_ok() {
            by_worker.entry(worker).or_default().push(orphan);
        }
    }
    for (worker, lines) in by_worker {
        let heartbeat = reclaim::owner(conn, &valid(&worker)?).await?.heartbeat;
        // Judged once more in the same step: it may have sent a heartbeat since the overview.
        let reason = heartbeat
            .map_or(ReclaimReason::Operator, |heartbeat| ReclaimReason::LeaseExpired(dead_after, Some(heartbeat)));
        let moved = take_over(conn, &worker, &lines, (reason, max_lost)).await?;
        done += moved.returned + moved.failed;
    }
    Ok(done)
}

/// Silent for as long as it takes to be dead, whoever's program it is.
pub(crate) fn is_gone(worker: &WorkerView, dead_after: Duration) -> bool {
    let is_old = |age| is_silent(age, 0, dead_after);
    let is_silent = worker.heartbeat_age_seconds.is_none_or(is_old);
    match worker.state {
        // Nobody has declared it so.
        WorkerState::Dead if !worker.extras.is_declared_dead => is_silent,
        WorkerState::Dead => true,
        // Of one that has gone, nothing is left to take over.
        WorkerState::Drained => worker.heartbeat_age_seconds.is_some_and(is_old),
        WorkerState::Live
        | WorkerState::Suspect
        | WorkerState::Draining
        | WorkerState::Silent
        | WorkerState::Python => is_silent,
    }
}
