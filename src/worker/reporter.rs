//! Tells Redis what became of claims, in batches: while one call is under way the next outcomes gather. Nothing is dropped: what cannot be told now is
//! kept, in memory and in the spool, until Redis is back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::events::{Event, TaskKey};
use super::failpoint::failpoint;
use super::link::Link;
use super::spool::Spool;
use crate::config::Config;
use crate::queue::session::{Settle, Settled};
use crate::queue::{QueueError, Session};

/// Settlements in one call, at most.
const BATCH: usize = 64;

/// How long outcomes gather while they come in a stream.
const GATHER: Duration = Duration::from_millis(8);

/// After a server that is up and cannot do it now.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// The loop.
pub struct Reporter {
    /// The way to Redis.
    pub link: Arc<Link>,
    /// What to settle.
    pub settlements: mpsc::UnboundedReceiver<(TaskKey, Settle)>,
    /// Where answers go.
    pub events: mpsc::Sender<Event>,
    /// The settings.
    pub config: watch::Receiver<Arc<Config>>,
    /// Whether slots are refilled from what was claimed ahead. Where they are not, the next claim waits for a settlement, and with it the slot.
    pub looks_ahead: Arc<AtomicBool>,
    /// Outcomes on disk until they are acknowledged; `None` where the disk does not take them.
    pub spool: Option<Spool>,
    /// Whether the spool failed last time, which is said once and not for each batch.
    pub spool_fails: bool,
}

impl Reporter {
    /// Until the dispatcher is gone and everything is told.
    pub async fn run(mut self) {
        let mut pending: Vec<(TaskKey, Settle)> = Vec::new();
        let mut last_batch = Instant::now();
        loop {
            let limit = if self.config.borrow().pipeline_batching { BATCH } else { 1 };
            if pending.is_empty() && self.settlements.recv_many(&mut pending, limit).await == 0 {
                return;
            }
            // One that comes alone goes at once; in a stream of them a few milliseconds make a batch, and hold up no slot.
            let holds_up_slots = !self.looks_ahead.load(Ordering::Relaxed);
            if pending.len() < limit && !holds_up_slots && last_batch.elapsed() < GATHER * 3 {
                tokio::time::sleep(GATHER).await;
                while pending.len() < limit
                    && let Ok(more) = self.settlements.try_recv()
                {
                    pending.push(more);
                }
            }
            last_batch = Instant::now();
            self.spool(&pending);
            let session = self.session_or_more(&mut pending).await;
            let rest = pending.split_off(pending.len().min(limit));
            let (keys, batch): (Vec<TaskKey>, Vec<Settle>) = std::mem::replace(&mut pending, rest).into_iter().unzip();
            failpoint!("spooled");
            match self.settle(&session, &batch).await {
                Some(answers) => {
                    // First of all: whoever reconnects from here on must know of it.
                    self.link.recent.lock().unwrap_or_else(PoisonError::into_inner).add(Instant::now(), batch);
                    failpoint!("settled");
                    self.spool(&pending);
                    failpoint!("reported");
                    if self.events.send(Event::Settled(keys.into_iter().zip(answers).collect())).await.is_err() {
                        return;
                    }
                }
                None => pending.splice(0..0, keys.into_iter().zip(batch)).for_each(drop),
            }
        }
    }

    /// A session; while there is none, what else comes is spooled too, so that the worker may go.
    async fn session_or_more(&mut self, pending: &mut Vec<(TaskKey, Settle)>) -> Session {
        let link = Arc::clone(&self.link);
        loop {
            if let Some(session) = link.present() {
                return session;
            }
            tokio::select! {
                session = link.session() => return session,
                more = self.settlements.recv_many(pending, BATCH) => {
                    if more == 0 {
                        return link.session().await;
                    }
                    self.spool(pending);
                }
            }
        }
    }

    /// Settles a batch; `None` when that has to be tried again.
    async fn settle(&self, session: &Session, batch: &[Settle]) -> Option<Vec<Settled>> {
        let max_retry = self.config.borrow().max_retry;
        match session.settle(batch, max_retry, self.link.keeps_results()).await {
            Ok(answers) => Some(answers),
            Err(error) => {
                self.link.report(session, &error);
                if !error.breaks_connection() && !matches!(error, QueueError::Fenced) {
                    tracing::error!(error = %error, outcomes = batch.len(), "failed to report; trying again");
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                None
            }
        }
    }

    fn spool(&mut self, pending: &[(TaskKey, Settle)]) {
        let Some(spool) = &mut self.spool else { return };
        match spool.write(pending.iter().map(|(_, settle)| settle)) {
            Err(error) if !self.spool_fails => {
                self.spool_fails = true;
                tracing::error!(error = %error, "failed to spool outcomes; they are in memory alone, and a crash of this worker would run their tasks again");
            }
            // An empty batch writes nothing, and so shows nothing.
            Ok(()) if self.spool_fails && !pending.is_empty() => {
                self.spool_fails = false;
                tracing::info!("outcomes are spooled again");
            }
            Ok(()) | Err(_) => {}
        }
    }
}
