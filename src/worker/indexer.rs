//! Keeps the index of waiting tasks true when others write to the hashes: fast while much is missing, at most 1 % of the server's time otherwise.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::events::Event;
use super::faults::Doing;
use super::link::Link;
use crate::model::FieldOrder;
use crate::queue::index::{self, IndexPass};
use crate::queue::{QueueError, Session};

/// A pass runs this long after the last one, of whichever worker, even when the counts agree: one line added and one removed cancel out in them.
const FULL_PASS: Duration = Duration::from_secs(5);

/// How long the lock is ours without being renewed.
const LOCK: Duration = Duration::from_secs(5);

/// How long a gap counts as closed after a pass.
const STALE: Duration = Duration::from_secs(5);

/// How often an open lock is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What the last claim said: lines waiting, lines indexed.
pub type Gap = Option<(u64, u64)>;

/// Adds what the index lacks, a bounded step at a time.
pub struct Indexer {
    /// The way to Redis.
    pub link: Arc<Link>,
    /// What the last claim said.
    pub gap: watch::Receiver<Gap>,
    /// The field order of the queue.
    pub order: FieldOrder,
    /// Somebody waits for what is found.
    pub found: mpsc::Sender<Event>,
}

impl Indexer {
    /// For ever; it is dropped at shutdown.
    pub async fn run(mut self) {
        let mut last_full = Instant::now();
        let mut handled: Gap = None;
        loop {
            let full_due = tokio::time::sleep_until((last_full + FULL_PASS).into());
            // A gap that a pass has just closed stands until the next claim says otherwise, or for a while.
            let stale = tokio::time::sleep_until((last_full + STALE).into());
            tokio::select! {
                _ = self.gap.wait_for(|gap| *gap != handled && gap.is_some_and(|(waiting, indexed)| waiting != indexed)) => {}
                () = stale, if handled.is_some() => {
                    handled = None;
                    continue;
                }
                () = full_due => {}
            }
            let Some(session) = self.link.present() else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let is_asked = self.gap.borrow().is_some_and(|(waiting, indexed)| waiting != indexed);
            match self.pass(&session, is_asked).await {
                Ok(true) => {
                    self.link.worked(Doing::Index);
                    last_full = Instant::now();
                    handled = *self.gap.borrow();
                    let _ = self.found.send(Event::Woken).await;
                }
                Ok(false) => {
                    self.link.worked(Doing::Index);
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    self.link.report(&session, Doing::Index, &error);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// A whole pass; false when another worker is at it. One that nobody asked for is left out while the last is fresh.
    async fn pass(&self, session: &Session, is_asked: bool) -> Result<bool, QueueError> {
        let conn = session.connection();
        if !is_asked && index::is_fresh(conn).await? {
            return Ok(true);
        }
        let mut pass = IndexPass::new();
        let (mut indexed, mut rejected, mut dropped) = (0, 0, 0);
        let mut locked_at: Option<Instant> = None;
        loop {
            if locked_at.is_none_or(|at| at.elapsed() > LOCK / 2) {
                if !index::lock(conn, session.instance(), LOCK).await? {
                    return Ok(false);
                }
                locked_at = Some(Instant::now());
            }
            let start = Instant::now();
            let step = pass.step(conn, self.order).await?;
            let took = start.elapsed();
            indexed += step.indexed;
            rejected += step.rejected;
            dropped += step.dropped;
            if step.is_done {
                break;
            }
            // While a large part of the queue is not indexed, claims would miss what matters most: a quarter of the time. Else a hundredth.
            let is_urgent = self.gap.borrow().is_some_and(|(waiting, known)| known < waiting / 2 + 1);
            let share = if step.indexed > 0 && is_urgent { 1 } else { 99 };
            tokio::time::sleep((took * share).min(Duration::from_secs(1))).await;
        }
        index::unlock(conn, session.instance(), FULL_PASS).await?;
        if rejected > 0 {
            tracing::warn!(rejected, "moved invalid lines out of todo_tasks");
        }
        if indexed + dropped > 0 {
            tracing::info!(indexed, dropped, "indexed changes that other programs made to todo_tasks");
        }
        Ok(true)
    }
}
