//! Faults of Redis that last, for all loops together: each is logged when it begins, at growing intervals, and once when it is over. One fault is one
//! entry, however many loops meet it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::policy::OngoingFault;
use crate::queue::QueueError;

/// Different texts of one fault that are logged at once; a further one waits for the next interval.
const TEXTS: usize = 8;

/// What could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// Take the worker's name, before anything else.
    Start,
    /// Connect again.
    Reconnect,
    /// Send a heartbeat.
    Heartbeat,
    /// Claim.
    Claim,
    /// Report outcomes.
    Report,
    /// Look for dead workers.
    Reclaim,
    /// Index lines that others have added.
    Index,
    /// Compare what runs with what Redis holds.
    ReconcileClaims,
    /// Compare what is derived in Redis with the hashes.
    ReconcileRecords,
    /// Release what waited for a batch.
    Release,
    /// Listen for wake-ups.
    Listen,
    /// Publish what a task prints.
    Show,
    /// Write the history of the queue.
    History,
}

impl Doing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reconnect => "reconnect",
            Self::Heartbeat => "send heartbeats",
            Self::Claim => "claim tasks",
            Self::Report => "report outcomes",
            Self::Reclaim => "look for dead workers",
            Self::Index => "index tasks",
            Self::ReconcileClaims => "reconcile claims",
            Self::ReconcileRecords => "compare what is derived",
            Self::Release => "release what waited for a batch",
            Self::Listen => "listen for wake-ups",
            Self::Show => "show output",
            Self::History => "write the history of the queue",
        }
    }

    /// Whether Redis cannot be reached at all, rather than refuse a command.
    fn is_away(self) -> bool {
        matches!(self, Self::Start | Self::Reconnect)
    }
}

/// One fault.
#[derive(Debug)]
struct Fault {
    /// As logged so far.
    texts: Vec<String>,
    /// What it keeps from being done.
    doing: BTreeSet<Doing>,
    standing: OngoingFault,
}

/// All faults that last.
#[derive(Debug, Default)]
pub struct Faults {
    /// Looked at with every call that succeeds.
    any: AtomicBool,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    faults: Vec<Fault>,
    last: Option<QueueError>,
}

/// What to log of a failure.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    First,
    Again,
    Nothing,
}

impl Faults {
    /// Something failed: logs it if it is new, or has lasted.
    pub fn failed(&self, now: Instant, doing: Doing, error: &QueueError) {
        let text = error.without_place();
        let mut open = self.lock();
        self.any.store(true, Ordering::Relaxed);
        open.last = Some(error.clone());
        let (said, fault) = open.note(now, doing, &text);
        let (seconds, failures) = (fault.standing.lasted(now).as_secs(), fault.standing.failures());
        match (said, doing) {
            (Said::Nothing, _) => {}
            (Said::First, Doing::Start) => tracing::warn!(error = %text, "waiting for Redis"),
            (Said::First, Doing::Reconnect) => {
                tracing::warn!(error = %text, "failed to reconnect to Redis; running tasks continue, no new task starts");
            }
            (Said::First, _) => {
                tracing::error!(error = %text, cannot = doing.as_str(), "Redis refuses a command; the worker retries");
            }
            (Said::Again, _) if doing.is_away() => {
                tracing::warn!(error = %text, seconds, failures, "still waiting for Redis");
            }
            (Said::Again, _) => {
                tracing::error!(error = %text, cannot = fault.what(), seconds, failures, "Redis still refuses commands");
            }
        }
    }

    /// Something was done: a fault that kept nothing else from being done is over, which is logged.
    pub fn worked(&self, now: Instant, doing: Doing) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut open = self.lock();
        for fault in open.end(doing) {
            let (seconds, failures) = (fault.standing.lasted(now).as_secs(), fault.standing.failures());
            if doing.is_away() {
                tracing::info!(seconds, failures, "Redis is back");
            } else {
                tracing::info!(seconds, failures, "Redis accepts commands again");
            }
        }
        self.any.store(!open.faults.is_empty(), Ordering::Relaxed);
    }

    /// For a worker that ends because of what it has met for so long.
    #[must_use]
    pub fn given_up(&self, lasted: Duration) -> QueueError {
        let cause = self.last().map_or_else(|| "no answer".to_owned(), |error| error.without_place());
        QueueError::GivenUp { lasted, cause }
    }

    /// The error that was met last.
    #[must_use]
    pub fn last(&self) -> Option<QueueError> {
        self.lock().last.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Enters a failure: under the fault that has said so, or the one that keeps this from being done already.
    fn note(&mut self, now: Instant, doing: Doing, text: &str) -> (Said, &Fault) {
        let known = self.faults.iter().position(|fault| fault.texts.iter().any(|said| said == text));
        let at = known.or_else(|| self.faults.iter().position(|fault| fault.doing.contains(&doing)));
        let Some(mut at) = at else {
            let standing = OngoingFault::begin(now);
            self.faults.push(Fault { texts: vec![text.to_owned()], doing: BTreeSet::from([doing]), standing });
            return (Said::First, &self.faults[self.faults.len() - 1]);
        };
        for (index, other) in self.faults.iter_mut().enumerate() {
            if index != at {
                other.doing.remove(&doing);
            }
        }
        let before = self.faults[..at].iter().filter(|other| other.doing.is_empty()).count();
        let keep = std::mem::take(&mut self.faults[at].doing);
        self.faults[at].doing = keep.into_iter().chain([doing]).collect();
        self.faults.retain(|fault| !fault.doing.is_empty());
        at -= before;
        let fault = &mut self.faults[at];
        let is_due = fault.standing.again(now);
        let is_new = known.is_none() && fault.texts.len() < TEXTS;
        if is_new {
            fault.texts.push(text.to_owned());
        }
        let said = match (is_new, is_due) {
            (true, _) => Said::First,
            (false, true) => Said::Again,
            (false, false) => Said::Nothing,
        };
        (said, &self.faults[at])
    }

    /// Faults that are over now that this was done.
    fn end(&mut self, doing: Doing) -> Vec<Fault> {
        let (over, rest) = std::mem::take(&mut self.faults)
            .into_iter()
            .partition(|fault: &Fault| fault.doing.len() == 1 && fault.doing.contains(&doing));
        self.faults = rest;
        for fault in &mut self.faults {
            fault.doing.remove(&doing);
        }
        over
    }
}

impl Fault {
    fn what(&self) -> String {
        self.doing.iter().map(|doing| doing.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_that_many_loops_meet_is_one_entry() {
        let (mut open, now) = (Open::default(), Instant::now());
        assert_eq!(open.note(now, Doing::Claim, "OOM").0, Said::First);
        assert_eq!(open.note(now, Doing::Heartbeat, "OOM").0, Said::Nothing);
        let (said, fault) = open.note(now + Duration::from_secs(11), Doing::Claim, "OOM");
        assert_eq!((said, fault.what().as_str()), (Said::Again, "send heartbeats, claim tasks"));
        assert!(open.end(Doing::Claim).is_empty(), "heartbeats are still refused");
        assert_eq!(open.end(Doing::Heartbeat).len(), 1);
        assert!(open.faults.is_empty());
    }

    #[test]
    fn a_fault_whose_text_changes_is_the_same_fault() {
        let (mut open, now) = (Open::default(), Instant::now());
        assert_eq!(open.note(now, Doing::Reconnect, "refused").0, Said::First);
        assert_eq!(open.note(now, Doing::Reconnect, "no answer").0, Said::First);
        for _ in 0..9 {
            assert_eq!(open.note(now, Doing::Reconnect, "refused").0, Said::Nothing);
            assert_eq!(open.note(now, Doing::Reconnect, "no answer").0, Said::Nothing);
        }
        assert_eq!(open.faults.len(), 1);
    }

    #[test]
    fn a_loop_that_meets_another_fault_leaves_the_first() {
        let (mut open, now) = (Open::default(), Instant::now());
        open.note(now, Doing::Claim, "OOM");
        open.note(now, Doing::Heartbeat, "no right");
        assert_eq!(open.note(now, Doing::Claim, "no right").0, Said::Nothing);
        assert_eq!(open.faults.len(), 1);
        assert!(open.end(Doing::Heartbeat).is_empty());
        assert_eq!(open.end(Doing::Claim).len(), 1);
    }
}
