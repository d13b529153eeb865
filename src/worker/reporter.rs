//! Tells Redis what became of claims, in batches: while one call is under way the next outcomes gather. Nothing is dropped: what cannot be told now is
//! kept, in memory and in the spool, until Redis is back.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::events::{Event, TaskKey};
use super::link::Link;
use super::spool::Spool;
use crate::config::Config;
use crate::queue::session::{Settle, Settled};

/// Settlements in one call, at most.
const BATCH: usize = 64;

/// After a server that is up and cannot do it now.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// The loop.
pub struct Reporter {
    /// The way to Redis.
    pub link: Arc<Link>,
    /// What to settle.
    pub settlements: mpsc::Receiver<(TaskKey, Settle)>,
    /// Where answers go.
    pub events: mpsc::Sender<Event>,
    /// The settings.
    pub config: watch::Receiver<Arc<Config>>,
    /// Outcomes on disk until they are acknowledged; `None` where the disk does not take them.
    pub spool: Option<Spool>,
}

impl Reporter {
    /// Until the dispatcher is gone and everything is told.
    pub async fn run(mut self) {
        let mut gathered = Vec::new();
        loop {
            let limit = if self.config.borrow().pipeline_batching { BATCH } else { 1 };
            if self.settlements.recv_many(&mut gathered, limit).await == 0 {
                return;
            }
            let (keys, batch): (Vec<TaskKey>, Vec<Settle>) = gathered.drain(..).unzip();
            self.spool(&batch);
            let answers = self.settle(&batch).await;
            self.unspool();
            self.link.recent.lock().unwrap_or_else(PoisonError::into_inner).add(Instant::now(), batch);
            if self.events.send(Event::Settled(keys.into_iter().zip(answers).collect())).await.is_err() {
                return;
            }
        }
    }

    /// Settles a batch, however long it takes.
    async fn settle(&self, batch: &[Settle]) -> Vec<Settled> {
        loop {
            let session = self.link.session().await;
            let max_retry = self.config.borrow().max_retry;
            match session.settle(batch, max_retry, self.link.keeps_results()).await {
                Ok(answers) => return answers,
                Err(error) => {
                    self.link.report(&session, &error);
                    if !error.breaks_connection() {
                        tracing::error!(error = %error, outcomes = batch.len(), "failed to report; trying again");
                        tokio::time::sleep(BUSY_PAUSE).await;
                    }
                }
            }
        }
    }

    fn spool(&mut self, batch: &[Settle]) {
        if let Some(spool) = &mut self.spool
            && let Err(error) = spool.write(batch)
        {
            tracing::error!(error = %error, "failed to spool outcomes; they are in memory alone");
        }
    }

    fn unspool(&mut self) {
        if let Some(spool) = &mut self.spool
            && let Err(error) = spool.clear()
        {
            tracing::error!(error = %error, "failed to clear the spool");
        }
    }
}
