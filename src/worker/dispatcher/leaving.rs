//! The way out.

use std::time::{Duration, Instant};

use super::Dispatcher;
use crate::policy::Lifecycle;
use crate::worker::events::{Action, TaskKey};
use crate::worker::ledger::{Cause, Entry, Place};

/// How long a worker that was told to go by a signal waits for Redis, with nothing left but outcomes to report.
const LEAVE_AFTER: Duration = Duration::from_secs(5);

/// The same after the second signal: somebody waits.
const LEAVE_NOW: Duration = Duration::from_secs(1);

/// The same of a worker that is not in a hurry: one that was asked to drain or to stop, or that runs what there is and then ends (`--burst`).
const LEAVE_AT_LAST: Duration = Duration::from_secs(30);

impl Dispatcher {
    /// For how long Redis had been of no use when the worker gave up; `None` when it goes because it was told to, or all is done.
    #[must_use]
    pub fn given_up(&self) -> Option<Duration> {
        self.given_up
    }

    pub(super) fn terminate_signal(&mut self, now: Instant) {
        self.lifecycle = self.lifecycle.after_signal();
        if self.lifecycle == Lifecycle::Killing {
            tracing::warn!("second signal: killing running tasks and returning them");
            self.end_all();
        } else {
            let running = self.ledger.budget().tasks;
            tracing::info!(
                running,
                seconds = self.config.drain_timeout.as_secs_f64(),
                "draining: waiting for running tasks to end"
            );
            self.drain_until = Some(now + self.config.drain_timeout);
            self.actions.push(Action::Beat);
        }
    }

    pub(super) fn end_all(&mut self) {
        let keys = self.ledger.iter().map(|(key, _)| key).collect();
        self.end_each(keys, Cause::Shutdown);
    }

    /// Ends these, what waits in slots first: a keeper that has been told of the one that runs would start the next.
    pub(super) fn end_each(&mut self, mut keys: Vec<TaskKey>, cause: Cause) {
        let waits = |key: &TaskKey| matches!(self.ledger.get(*key), Some(Entry { place: Place::Queued { .. }, .. }));
        keys.sort_unstable_by_key(|key| (!waits(key), *key));
        for key in keys {
            self.end_early(key, cause);
        }
    }

    /// Whatever supervises this worker would start it again at once, and a drain would not last.
    fn wait_idle(&mut self) {
        if !std::mem::replace(&mut self.is_waiting_idle, true) {
            let lifted_by = if self.is_drained { "distcomp-ctl resume --worker" } else { "distcomp-ctl resume" };
            tracing::info!(
                lifted_by,
                "all tasks have ended: waiting idle, because a supervisor would restart this worker"
            );
            self.actions.push(Action::Beat);
        }
    }

    /// Since when nothing could be reported, or claimed where that is what the worker waits for.
    fn trouble_since(&self) -> Option<Instant> {
        let claims = self.trouble.claims_refused.filter(|_| self.lifecycle.is_open());
        [self.trouble.unlinked, self.trouble.reports_refused, claims].into_iter().flatten().min()
    }

    /// When a worker with nothing left to do but what Redis does not let it do goes without it; `None` where it stays.
    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        let patience = match self.lifecycle {
            Lifecycle::Open if !self.me.is_burst => return None,
            Lifecycle::Open | Lifecycle::Finishing => LEAVE_AT_LAST,
            Lifecycle::Draining | Lifecycle::Returning => LEAVE_AFTER,
            Lifecycle::Killing => LEAVE_NOW,
        };
        self.trouble_since().map(|since| since + patience)
    }

    /// Whether nothing of a task runs, or is about to.
    fn is_idle(&self) -> bool {
        self.ledger.iter().all(|(_, entry)| matches!(entry.place, Place::Held { .. } | Place::Settling))
    }

    /// A worker that ends by itself and can do nothing any more: what it holds goes back, and it ends with an error.
    fn give_up(&mut self, now: Instant) {
        if !self.lifecycle.is_open() || !self.is_idle() || self.gives_up_at().is_none_or(|at| at > now) {
            return;
        }
        self.given_up = self.trouble_since().map(|since| now.saturating_duration_since(since));
        self.lifecycle = Lifecycle::Finishing;
    }

    /// With nothing left but outcomes that Redis has not taken for a while.
    fn may_leave_unreported(&self, now: Instant) -> bool {
        !self.lifecycle.is_open()
            && self.gives_up_at().is_some_and(|at| at <= now)
            && self.ledger.iter().all(|(_, entry)| entry.place == Place::Settling)
    }

    /// What the way out asks for: the drain time-out, giving back what is held, and going when nothing is left.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.drain_until.is_some_and(|until| until <= now) {
            self.drain_until = None;
            if self.lifecycle < Lifecycle::Returning {
                tracing::warn!("drain_timeout_seconds has passed: terminating running tasks and returning them");
                self.lifecycle = Lifecycle::Returning;
                self.end_all();
            }
        }
        self.give_up(now);
        if !self.lifecycle.is_open() {
            let held: Vec<TaskKey> = self.ledger.held().collect();
            for key in held {
                self.give_back_unstarted(key);
            }
            self.recall_all();
        }
        if self.is_exiting {
            return;
        }
        // A claim whose answer is on its way may have taken something, which must go back first.
        let is_done = self.ledger.is_empty() && self.rejecting == 0 && self.is_claiming.is_none();
        if is_done && self.lifecycle == Lifecycle::Finishing && self.me.is_supervised {
            self.wait_idle();
        } else if is_done && (!self.lifecycle.is_open() || self.is_burst_over()) {
            self.is_exiting = true;
            let left = self.last.as_ref().map_or(0, |last| last.waiting);
            if self.lifecycle.is_open() && left > 0 {
                tracing::warn!(
                    left,
                    "exiting although tasks wait that this worker cannot run; distcomp-status explain says why"
                );
            }
        } else if self.may_leave_unreported(now) {
            self.is_exiting = true;
        }
        if self.is_exiting {
            self.actions.push(Action::Exit);
        }
    }
}
