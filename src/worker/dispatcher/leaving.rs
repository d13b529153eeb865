//! The way out.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::Dispatcher;
use crate::policy::Lifecycle;
use crate::worker::events::{Action, TaskKey};
use crate::worker::ledger::{ClaimState, StopReason};

impl Dispatcher {
    pub(super) fn terminate_signal(&mut self, now: Instant) {
        if self.departure.signal(now, self.config.drain_timeout) {
            tracing::warn!("second signal: killing running tasks and returning them");
            self.end_all();
        } else {
            let running = self.ledger.budget().tasks;
            tracing::info!(
                running,
                seconds = self.config.drain_timeout.as_secs_f64(),
                "draining: waiting for running tasks to end"
            );
            self.actions.push(Action::Heartbeat);
        }
    }

    /// The worker's time is over soon: what runs has so long.
    pub(super) fn expire(&mut self, now: Instant, left: Duration) {
        self.departure.expire(now, left);
        tracing::info!(
            running = self.ledger.budget().tasks,
            seconds = left.as_secs_f64(),
            "draining: time_limit_seconds is almost over; waiting for running tasks to end"
        );
        self.actions.push(Action::Heartbeat);
    }

    pub(super) fn end_all(&mut self) {
        let keys = self.ledger.iter().map(|(key, _)| key).collect();
        self.end_each(keys, StopReason::Shutdown);
    }

    /// Ends these, the last of each slot first: a keeper that has been told of the one that runs would start the next.
    pub(super) fn end_each(&mut self, mut keys: Vec<TaskKey>, cause: StopReason) {
        keys.sort_by_cached_key(|key| (Reverse(self.ledger.position(*key)), *key));
        for key in keys {
            self.end_early(key, cause);
        }
    }

    /// Whatever supervises this worker would start it again at once, and a drain would not last.
    fn wait_idle(&mut self) {
        if self.departure.wait_idle() {
            tracing::info!(
                lifted_by = self.departure.lifted_by(),
                "all tasks have ended: waiting idle, because a supervisor would restart this worker"
            );
            self.actions.push(Action::Heartbeat);
        }
    }

    /// Since when nothing could be reported, or claimed where that is what the worker waits for.
    fn trouble_since(&self) -> Option<Instant> {
        let claims = self.intake.refused_since().filter(|_| self.departure.is_open());
        [self.lease.unlinked_since(), self.outbox.refused_since(), claims].into_iter().flatten().min()
    }

    /// When a worker with nothing left to do but what Redis does not let it do goes without it; `None` where it stays.
    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        let patience = self.departure.patience(self.me.is_burst)?;
        self.trouble_since().map(|since| since + patience)
    }

    /// Whether nothing of a task runs, or is about to.
    fn is_idle(&self) -> bool {
        self.ledger.iter().all(|(_, entry)| matches!(entry.state, ClaimState::Held { .. } | ClaimState::Settling))
    }

    /// A worker that ends by itself and can do nothing any more: what it holds goes back, and it ends with an error.
    fn give_up(&mut self, now: Instant) {
        if !self.departure.is_open() || !self.is_idle() || self.gives_up_at().is_none_or(|at| at > now) {
            return;
        }
        self.departure.give_up(self.trouble_since().map(|since| now.saturating_duration_since(since)));
    }

    /// With nothing left but outcomes that Redis has not taken for a while.
    fn may_leave_unreported(&self, now: Instant) -> bool {
        !self.departure.is_open()
            && self.gives_up_at().is_some_and(|at| at <= now)
            && self.ledger.iter().all(|(_, entry)| entry.state == ClaimState::Settling)
    }

    /// A worker that ends by itself does not wait for an hour to try a task.
    fn is_suspect_burst(&self) -> bool {
        self.me.is_burst && self.intake.is_suspect()
    }

    /// When a worker that has nothing to run leaves; `None` where something runs, or it stays however long that lasts.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        let since = self.idle_since.filter(|_| self.departure.lifecycle() < Lifecycle::Draining)?;
        self.config.idle_timeout.map(|timeout| since + timeout)
    }

    /// Leaves as if a signal had come, once nothing has run for long enough.
    fn leave_idle(&mut self, now: Instant) {
        if self.ledger.is_empty() {
            self.idle_since.get_or_insert(now);
        } else {
            self.idle_since = None;
        }
        if self.idle_until().is_some_and(|at| at <= now) {
            self.departure.expire(now, self.config.drain_timeout);
            tracing::info!("leaving: there was nothing to run for idle_timeout_seconds");
            self.actions.push(Action::Heartbeat);
        }
    }

    /// What the way out asks for: the drain time-out, giving back what is held, and going when nothing is left.
    pub(super) fn leave(&mut self, now: Instant) {
        self.leave_idle(now);
        if self.departure.drain_timed_out(now) {
            tracing::warn!("the time to drain has passed: terminating running tasks and returning them");
            self.end_all();
        }
        self.give_up(now);
        if !self.departure.is_open() {
            let held: Vec<TaskKey> = self.ledger.held().collect();
            for key in held {
                self.give_back_unstarted(key);
            }
            self.recall_all();
        }
        if self.departure.is_exiting() {
            return;
        }
        // A claim whose answer is on its way may have taken something, which must go back first.
        let is_done = self.ledger.is_empty() && !self.outbox.is_refusing() && !self.intake.is_asking();
        if is_done && self.departure.lifecycle() == Lifecycle::Finishing && self.me.is_supervised {
            self.wait_idle();
        } else if is_done && (!self.departure.is_open() || self.is_burst_over() || self.is_suspect_burst()) {
            self.departure.exit();
            let left = self.intake.waiting().unwrap_or(0);
            if self.departure.is_open() && left > 0 {
                tracing::warn!(
                    left,
                    "exiting although tasks wait that this worker cannot run; distcomp-status explain says why"
                );
            }
        } else if self.may_leave_unreported(now) {
            self.departure.exit();
        }
        if self.departure.is_exiting() {
            self.actions.push(Action::Exit { given_up: self.departure.given_up() });
        }
    }
}
