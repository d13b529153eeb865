//! What is in progress: all of it at once, as far as it is not too much, so that it can be sorted by anything.

use super::super::client::{Connection, ScanPage};
use super::super::error::QueueError;
use super::super::keys::Key;
use super::super::lossy_string::LossyString;
use super::collector::Collector;
use super::details::workers_of;
use crate::model::WorkerName;
use crate::model::listing::{ClaimNote, PageCursor, TaskRow};
use crate::model::snapshot::TaskState;

/// Rows at most.
const MOST: usize = 5000;

/// Entries that a step looks at.
const STEP: usize = 1000;

/// Bytes of lines that are read.
const BYTES: usize = 8 << 20;

/// All that match, up to [`MOST`].
pub(super) async fn all(conn: &Connection, found: &mut Collector) -> Result<Option<PageCursor>, QueueError> {
    let mut cursor = 0;
    loop {
        let (next, entries): ScanPage =
            conn.cmd(redis::cmd("HSCAN").arg(conn.name(Key::InProgress)).arg(cursor).arg("COUNT").arg(STEP)).await?;
        cursor = next;
        found.looked(entries.len(), entries.iter().map(|(line, value)| line.len() + value.len()).sum());
        let rows = entries.iter().filter_map(|(line, value)| {
            let row = found.row(std::str::from_utf8(line).ok()?)?;
            let workers = workers_of(TaskState::InProgress, value);
            found.wants_workers(&workers).then_some(TaskRow { workers, ..row })
        });
        let rows = with_claims(conn, rows.collect()).await?;
        found.add(conn, rows).await?;
        if cursor == 0 || found.len() >= MOST || found.read >= BYTES {
            return Ok(None);
        }
    }
}

/// With their claims, of those that one of our workers holds.
async fn with_claims(conn: &Connection, mut rows: Vec<TaskRow>) -> Result<Vec<TaskRow>, QueueError> {
    let holder = |row: &TaskRow| row.workers.first().and_then(|worker| worker.parse::<WorkerName>().ok());
    let mut pipe = redis::pipe();
    let mut held = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        if let Some(worker) = holder(row) {
            pipe.hget(conn.keys().name_for(Key::Claims, &worker), &row.line);
            held.push(at);
        }
    }
    if held.is_empty() {
        return Ok(rows);
    }
    let claims: Vec<Option<LossyString>> = conn.pipe(&pipe).await?;
    for (at, claim) in held.into_iter().zip(claims) {
        rows[at].claim = claim.and_then(|LossyString(claim)| note(&claim));
    }
    Ok(rows)
}

/// The claim of one line, if this worker of ours holds it.
pub(super) async fn claim(conn: &Connection, line: &str, worker: &str) -> Result<Option<ClaimNote>, QueueError> {
    let Ok(worker) = worker.parse::<WorkerName>() else { return Ok(None) };
    let lookup = redis::cmd("HGET").arg(conn.keys().name_for(Key::Claims, &worker)).arg(line).to_owned();
    let claim: Option<LossyString> = conn.cmd(&lookup).await?;
    Ok(claim.and_then(|LossyString(claim)| note(&claim)))
}

/// Of `TOKEN|ATTEMPT|STARTED|SCORE|MS`.
fn note(claim: &str) -> Option<ClaimNote> {
    let mut parts = claim.split('|').skip(1);
    let attempt = parts.next()?.parse().ok()?;
    let has_slot = parts.next()? != "0";
    let since = parts.nth(1).and_then(|ms| ms.parse::<u64>().ok()).map(|ms| ms as f64 / 1000.0);
    Some(ClaimNote { attempt, has_slot, since })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_says_which_attempt_it_is_and_since_when() {
        let since = Some(1_700_000_000.5);
        assert_eq!(note("t|2|1|77|1700000000500"), Some(ClaimNote { attempt: 2, has_slot: true, since }));
        assert_eq!(note("t|1|0|77"), Some(ClaimNote { attempt: 1, has_slot: false, since: None }));
        assert_eq!(note("no claim"), None);
    }
}
