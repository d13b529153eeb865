//! Outcomes that Redis has yet to take: in memory, and as far as the disk takes them in the spool.

use std::path::PathBuf;

use super::events::TaskKey;
use super::spool::Spool;
use crate::queue::QueueError;
use crate::queue::call_size::{self, CALL_BYTES};
use crate::queue::session::Settle;

/// Tasks named in a message, at most.
const NAMED: usize = 20;

/// A queue of settlements, oldest first, that survives a restart as far as the spool holds it.
pub struct PendingOutcomes {
    /// Oldest first.
    pub pending: Vec<(TaskKey, Settle)>,
    /// How many of them, from the oldest on, are on disk.
    on_disk: usize,
    /// `None` where the disk does not take them.
    spool: Option<Spool>,
    /// Whether the spool failed last time, which is said once and not for each batch.
    fails: bool,
}

impl PendingOutcomes {
    /// Nothing yet.
    #[must_use]
    pub fn new(spool: Option<Spool>) -> Self {
        Self { pending: Vec::new(), on_disk: 0, spool, fails: false }
    }

    /// Puts on disk what is not there yet.
    pub fn spool(&mut self) {
        let Some(spool) = &mut self.spool else { return };
        let new = self.pending.iter().skip(self.on_disk).map(|(_, settle)| settle);
        if new.len() == 0 {
            return;
        }
        match spool.add(new) {
            Ok(()) => {
                self.on_disk = self.pending.len();
                if std::mem::take(&mut self.fails) {
                    tracing::info!("outcomes are spooled again");
                }
            }
            Err(error) if !self.fails => {
                self.fails = true;
                tracing::error!(error = %error, "failed to spool outcomes; they are only in memory, and after a crash of this worker their tasks would run again");
            }
            Err(_) => {}
        }
    }

    /// Takes the oldest, at most so many and no more than one call carries, to be sent; then follows [`Self::acknowledged`] or [`Self::put_back`].
    #[must_use]
    pub fn take(&mut self, limit: usize) -> (Vec<TaskKey>, Vec<Settle>) {
        let part = call_size::first(&self.pending, limit, CALL_BYTES, |(_, settle)| settle.size()).len();
        let rest = self.pending.split_off(part);
        std::mem::replace(&mut self.pending, rest).into_iter().unzip()
    }

    /// They could not be sent.
    pub fn put_back(&mut self, keys: Vec<TaskKey>, batch: Vec<Settle>) {
        self.pending.splice(0..0, keys.into_iter().zip(batch)).for_each(drop);
    }

    /// So many, which were taken, are acknowledged.
    pub fn acknowledged(&mut self, count: usize) {
        self.on_disk = self.on_disk.saturating_sub(count);
        let Some(spool) = &mut self.spool else { return };
        let kept = self.pending.iter().take(self.on_disk).map(|(_, settle)| settle);
        let written = if self.on_disk == 0 { spool.clear() } else { spool.keep(kept) };
        if let Err(error) = written
            && !std::mem::replace(&mut self.fails, true)
        {
            tracing::error!(error = %error, "failed to update the spool; after a crash some outcomes may be reported twice, which is harmless");
        }
    }

    /// What is left at the end.
    #[must_use]
    pub fn into_unreported(mut self) -> Unreported {
        // A disk that was full may take them now.
        self.spool();
        let unsafe_ones = self.pending.iter().skip(self.on_disk);
        Unreported {
            on_disk: self.on_disk,
            lost: unsafe_ones.map(|(_, settle)| settle.id.to_string()).collect(),
            path: self.spool.map(|spool| spool.path().to_owned()).unwrap_or_default(),
        }
    }
}

/// Outcomes that a worker leaves behind.
#[derive(Debug, Default)]
pub struct Unreported {
    /// How many the next start reports.
    on_disk: usize,
    /// Tasks whose outcome is nowhere but in this process.
    lost: Vec<String>,
    /// The spool.
    path: PathBuf,
}

impl Unreported {
    /// Says what becomes of them; `cause` is why they are unreported.
    pub fn log(&self, cause: Option<&QueueError>) {
        let cause = cause.map_or_else(|| "Redis is unreachable".to_owned(), QueueError::without_place);
        if self.on_disk > 0 {
            tracing::warn!(
                outcomes = self.on_disk,
                error = %cause,
                spool = %self.path.display(),
                "stopping with outcomes that Redis has not accepted; they are in the spool, and the next start of this worker reports them"
            );
        }
        if !self.lost.is_empty() {
            let named = &self.lost[..self.lost.len().min(NAMED)];
            tracing::error!(
                outcomes = self.lost.len(),
                error = %cause,
                tasks = named.join(","),
                "stopping with outcomes that neither Redis nor the spool has accepted: they are lost, and these tasks run again"
            );
        }
    }
}
