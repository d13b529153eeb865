//! Tells Redis what became of claims, in batches: while one call is under way the next outcomes are coalesced. Nothing is dropped: what cannot be told now is
//! kept, in memory and in the spool, until Redis takes it, or the worker goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::events::{Event, TaskKey};
use super::failpoint::failpoint;
use super::faults::Doing;
use super::link::Link;
use super::pending_outcomes::{PendingOutcomes, Unreported};
use crate::config::Config;
use crate::queue::Session;
use crate::queue::session::{Settle, Settled};

/// Settlements in one call, at most.
const BATCH: usize = 64;

/// How long outcomes are coalesced while they come in a stream.
const COALESCE_TIME: Duration = Duration::from_millis(8);

/// After a server that is up and cannot do it now.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Settles outcomes, as many as it can in one call.
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
    pub prefetches: Arc<AtomicBool>,
    /// What has yet to be told.
    pub outcomes: PendingOutcomes,
    /// When the last batch went.
    pub last_batch: Instant,
}

/// The dispatcher has gone: nothing more comes.
struct Over;

impl Reporter {
    /// Until the dispatcher is gone and everything is told, or Redis refuses it.
    pub async fn run(mut self) -> Unreported {
        while self.step().await.is_ok() {}
        self.outcomes.into_unreported()
    }

    async fn step(&mut self) -> Result<(), Over> {
        let limit = if self.config.borrow().pipeline_batching { BATCH } else { 1 };
        if self.outcomes.pending.is_empty() && self.settlements.recv_many(&mut self.outcomes.pending, limit).await == 0
        {
            return Err(Over);
        }
        self.coalesce(limit).await;
        self.outcomes.spool();
        let session = self.session_or_more().await?;
        let (keys, batch) = self.outcomes.take(limit);
        failpoint!("spooled");
        match self.settle(&session, &batch).await {
            Ok(answers) => {
                // First of all: whoever reconnects from here on must know of it.
                self.link.replay_buffer.lock().unwrap_or_else(PoisonError::into_inner).add(Instant::now(), batch);
                failpoint!("settled");
                self.outcomes.acknowledged(keys.len());
                failpoint!("reported");
                self.events.send(Event::Settled(keys.into_iter().zip(answers).collect())).await.map_err(|_| Over)
            }
            Err(is_refused) => {
                self.outcomes.put_back(keys, batch);
                self.after_failure(is_refused).await
            }
        }
    }

    /// One that comes alone goes at once; in a stream of them a few milliseconds make a batch, and hold up no slot.
    async fn coalesce(&mut self, limit: usize) {
        let holds_up_slots = !self.prefetches.load(Ordering::Relaxed);
        if self.outcomes.pending.len() < limit && !holds_up_slots && self.last_batch.elapsed() < COALESCE_TIME * 3 {
            tokio::time::sleep(COALESCE_TIME).await;
            while self.outcomes.pending.len() < limit
                && let Ok(more) = self.settlements.try_recv()
            {
                self.outcomes.pending.push(more);
            }
        }
        self.last_batch = Instant::now();
    }

    /// A session; while there is none, what else comes is spooled too, so that the worker may go.
    async fn session_or_more(&mut self) -> Result<Session, Over> {
        let link = Arc::clone(&self.link);
        loop {
            if let Some(session) = link.present() {
                return Ok(session);
            }
            tokio::select! {
                session = link.session() => return Ok(session),
                more = self.more() => more?,
            }
        }
    }

    /// Settles a batch; on failure, whether Redis refused it.
    async fn settle(&self, session: &Session, batch: &[Settle]) -> Result<Vec<Settled>, bool> {
        let max_retry = self.config.borrow().max_retry;
        let answers = session.settle(batch, max_retry, self.link.keeps_results()).await;
        match answers {
            Ok(answers) => {
                self.link.worked(Doing::Report);
                Ok(answers)
            }
            Err(error) => Err(self.link.report(session, Doing::Report, &error)),
        }
    }

    /// Waits before the next try, and spools what else comes meanwhile; a refusal is told to the dispatcher, which decides how long to stay for it.
    async fn after_failure(&mut self, is_refused: bool) -> Result<(), Over> {
        if !is_refused {
            return Ok(());
        }
        self.events.send(Event::ReportRefused).await.map_err(|_| Over)?;
        let end = tokio::time::Instant::now() + BUSY_PAUSE;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ok(()),
                more = self.more() => more?,
            }
        }
    }

    /// Takes in what else has become of claims, and spools it.
    async fn more(&mut self) -> Result<(), Over> {
        if self.settlements.recv_many(&mut self.outcomes.pending, BATCH).await == 0 {
            return Err(Over);
        }
        self.outcomes.spool();
        Ok(())
    }
}
