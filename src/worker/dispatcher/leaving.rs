//! The way out.

use std::time::Instant;

use super::{Dispatcher, LEAVE_AFTER};
use crate::policy::Lifecycle;
use crate::worker::events::{Action, TaskKey};
use crate::worker::ledger::{Cause, Place};

impl Dispatcher {
    pub(super) fn terminate_signal(&mut self, now: Instant) {
        self.lifecycle = self.lifecycle.after_signal();
        if self.lifecycle == Lifecycle::Killing {
            tracing::warn!("second signal: killing what runs and giving it back");
            self.end_all();
        } else {
            let running = self.ledger.budget().tasks;
            tracing::info!(running, seconds = self.config.drain_timeout.as_secs_f64(), "draining: what runs may end");
            self.drain_until = Some(now + self.config.drain_timeout);
            self.actions.push(Action::Beat);
        }
    }

    pub(super) fn end_all(&mut self) {
        let keys = self.ledger.iter().map(|(key, _)| key).collect();
        self.end_each(keys, Cause::Shutdown);
    }

    /// Ends these, the last of each line first: a keeper that has been told of the one that runs would start the next.
    pub(super) fn end_each(&mut self, mut keys: Vec<TaskKey>, cause: Cause) {
        keys.sort_unstable();
        for key in keys.into_iter().rev() {
            self.end_early(key, cause);
        }
    }

    /// After a signal, with nothing left but outcomes that Redis has been unable to take for a while.
    pub(super) fn may_leave_unreported(&self, now: Instant) -> bool {
        self.lifecycle >= Lifecycle::Draining
            && self.unlinked_since.is_some_and(|since| now.saturating_duration_since(since) >= LEAVE_AFTER)
            && self.ledger.iter().all(|(_, entry)| entry.place == Place::Settling)
    }

    /// What the way out asks for: the drain time-out, giving back what is held, and going when nothing is left.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.drain_until.is_some_and(|until| until <= now) {
            self.drain_until = None;
            if self.lifecycle < Lifecycle::Returning {
                tracing::warn!("the drain time-out has passed: terminating what runs and giving it back");
                self.lifecycle = Lifecycle::Returning;
                self.end_all();
            }
        }
        if !self.lifecycle.is_open() {
            let held: Vec<TaskKey> = self.ledger.held().collect();
            for key in held {
                self.give_back_unstarted(key);
            }
            self.withdraw_all();
        }
        if self.is_exiting {
            return;
        }
        // A claim whose answer is on its way may have taken something, which must go back first.
        let is_done = self.ledger.is_empty() && self.rejecting == 0 && self.is_claiming.is_none();
        if is_done && (!self.lifecycle.is_open() || self.is_burst_over()) {
            self.is_exiting = true;
            let left = self.last.as_ref().map_or(0, |last| last.waiting);
            if self.lifecycle.is_open() && left > 0 {
                tracing::warn!(left, "leaving tasks that this worker cannot run: distcomp-status explain says why");
            }
        } else if self.may_leave_unreported(now) {
            tracing::warn!("Redis is out of reach: leaving with outcomes in the spool");
            self.is_exiting = true;
        }
        if self.is_exiting {
            self.actions.push(Action::Exit);
        }
    }
}
