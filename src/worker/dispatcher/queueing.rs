//! One task waits in each keeper for the end of the one before it, so that a slot is refilled without asking the worker.
//!
//! Only while tasks end within milliseconds, and only what a slot would take next: the best that is held, in order, of one priority at a time, and
//! never one that asks for more than what it waits for. It is not started until its keeper says so, and can be taken back until then.

use std::time::{Duration, Instant};

use super::Dispatcher;
use crate::policy::{Budget, Wait, admission};
use crate::worker::events::{Action, TaskKey};
use crate::worker::ledger::Place;

/// The longest that one waits in a keeper: then another slot may have it.
const QUEUED_AT_MOST: Duration = Duration::from_millis(20);

/// A task that has run for longer is not going to end in a moment.
const YOUNG: Duration = Duration::from_millis(10);

/// Ends a second and slot below which nothing is queued: tasks that take longer than this do not notice the way over the worker.
const LEAST_RATE_PER_SLOT: f64 = 100.0;

impl Dispatcher {
    /// Whether nothing new may start even in a free slot.
    pub(super) fn admits_nothing(&self) -> bool {
        match &self.node {
            Some(node) => admission::headroom(&self.limits(), node, &Budget::default()).is_err(),
            None => true,
        }
    }

    /// Gives each slot its next task, or takes one back where a slot waits for work or a task has waited too long.
    pub(super) fn queue_ahead(&mut self, now: Instant) {
        let is_full = matches!(self.headroom(), Err(Wait::Slots));
        if !is_full && self.ledger.held().len() == 0 || self.queued_until().is_some_and(|until| until <= now) {
            self.withdraw_all();
            return;
        }
        if !self.is_linked
            || !self.has_lease(now)
            || !is_full
            || self.ledger.held().len() == 0
            || self.pause_until.is_some()
            || self.admits_nothing()
        {
            return;
        }
        if self.pace.rate(now) < LEAST_RATE_PER_SLOT * f64::from(self.config.max_tasks) {
            return;
        }
        for behind in self.ledger.young(now.checked_sub(YOUNG).unwrap_or(now)) {
            if self.ledger.queued_behind(behind).is_some() {
                continue;
            }
            let Some(key) = self.ledger.held().next() else { return };
            let (Some(before), Some(entry)) = (self.ledger.get(behind), self.ledger.get(key)) else { return };
            let (task, attempt) = (&entry.task, entry.claim.attempt);
            let fits = task.mem() <= before.task.mem() && task.cpu() <= before.task.cpu();
            if !fits || self.ledger.queued().any(|(_, queued)| queued.task.prio() != task.prio()) {
                return;
            }
            let task = task.clone();
            self.ledger.place(key, Place::Queued { behind, since: now });
            self.actions.push(Action::Queue { key, behind, task, attempt, before: self.lease_end() });
        }
    }

    /// When the one that has waited longest in a keeper is taken back.
    pub(super) fn queued_until(&self) -> Option<Instant> {
        let since = self.ledger.queued().filter_map(|(_, entry)| match entry.place {
            Place::Queued { since, .. } => Some(since),
            Place::Held { .. }
            | Place::Starting
            | Place::Running { .. }
            | Place::Terminating { .. }
            | Place::Settling => None,
        });
        since.min().map(|since| since + QUEUED_AT_MOST)
    }

    /// Asks for everything back that waits in keepers. What has started in the meantime says so, and runs.
    pub(super) fn withdraw_all(&mut self) {
        let queued: Vec<TaskKey> = self.ledger.queued().map(|(key, _)| key).collect();
        for key in queued {
            self.ledger.place(key, Place::Starting);
            self.actions.push(Action::Withdraw(key));
        }
    }

    /// A slot is free for what waits behind its last task: it starts now, and takes up room.
    pub(super) fn next_starts(&mut self, ended: TaskKey) {
        if let Some(next) = self.ledger.queued_behind(ended) {
            self.ledger.place(next, Place::Starting);
        }
    }

    /// It did not start: held again, where it was, unless it was to end.
    pub(super) fn withdrawn(&mut self, now: Instant, key: TaskKey) {
        let Some(entry) = self.ledger.get(key) else { return };
        match entry.place {
            Place::Queued { .. } | Place::Starting => self.ledger.place(key, Place::Held { since: now }),
            Place::Terminating { .. } => self.never_ran(key),
            Place::Held { .. } | Place::Running { .. } | Place::Settling => {}
        }
    }
}
