//! A few tasks wait in each keeper for the end of the one before them, so that a slot is refilled without asking the worker.
//!
//! Only while tasks end within milliseconds, and only what slots would take next: the best that is held, in order, of one priority at a time, and
//! where it needs more memory or cores than what it waits for, these are reserved from then on. It is not started until its keeper says so, and can
//! be taken back until then.

use std::time::{Duration, Instant};

use super::Dispatcher;
use crate::model::MilliCores;
use crate::policy::coalesce::{self, Load};
use crate::policy::{Budget, Wait, admission, prefetch};
use crate::worker::events::{Action, TaskKey};
use crate::worker::ledger::Place;

/// The longest that one waits in a keeper: then another slot may have it.
const QUEUED_AT_MOST: Duration = Duration::from_millis(20);

/// A task that has run for longer is not going to end in a moment.
const YOUNG: Duration = Duration::from_millis(10);

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
        // More run than there are slots after these were lowered: a line would refill what is to become fewer.
        let is_overfull = self.ledger.budget().tasks > self.slots();
        if !self.is_linked
            || !self.has_lease(now)
            || !is_full
            || is_overfull
            || self.ledger.held().len() == 0
            || self.pause_until.is_some()
            || self.ahead_target(now) == 0
            || self.admits_nothing()
        {
            return;
        }
        let depth = prefetch::pipeline_depth(self.pace.rate(now) / f64::from(self.slots().max(1)));
        // Slots that run low, with the last of their line. Refilled by half of it at least, so that a message to a keeper is worth its wake-up.
        let young = self.ledger.young(now.checked_sub(YOUNG).unwrap_or(now));
        let lines = young.into_iter().filter_map(|running| self.ledger.line(running));
        let mut lines: Vec<(u32, TaskKey)> = lines.filter(|(waiting, _)| *waiting <= depth / 2).collect();
        // Each gets its next before one gets its next but one.
        for level in 0..depth {
            for (waiting, last) in lines.iter_mut().filter(|(waiting, _)| *waiting == level) {
                let Some(next) = self.queue_behind(now, *last) else { return };
                (*waiting, *last) = (*waiting + 1, next);
            }
        }
    }

    /// Hands the best that is held to the keeper of another, behind it; `None` when that one may not go there.
    fn queue_behind(&mut self, now: Instant, behind: TaskKey) -> Option<TaskKey> {
        let key = self.ledger.held().next()?;
        let (before, entry) = (self.ledger.get(behind)?, self.ledger.get(key)?);
        let (task, attempt) = (&entry.task, entry.claim.attempt);
        let beyond = task.demand().beyond(before.task.demand());
        let fits = self.unreserved().holds(&beyond.amounts);
        // All that wait in keepers are of one priority, so that one speaks for them.
        let is_of_another = self.ledger.queued().next().is_some_and(|(_, queued)| queued.task.prio() != task.prio());
        if !fits || is_of_another {
            return None;
        }
        let task = task.clone();
        self.ledger.queue(key, behind, now);
        self.actions.push(Action::Queue { key, behind, task, attempt, before: self.lease_end() });
        Some(key)
    }

    /// Whether tasks end so fast that slots are refilled from what was claimed ahead: then no slot waits for a settlement.
    pub fn looks_ahead(&mut self, now: Instant) -> bool {
        self.ahead_target(now) > 0
    }

    /// How long news may gather before they are handed in.
    pub fn gather(&mut self, now: Instant) -> Duration {
        // Who has switched looking ahead off wants each end looked at.
        if !self.looks_ahead(now) || !self.lifecycle.is_open() {
            return Duration::ZERO;
        }
        let running = self.ledger.budget().tasks;
        coalesce::delay(&Load {
            rate: self.pace.rate(now),
            running,
            is_full: running >= self.slots(),
            all_are_followed: self.ledger.all_are_followed(),
            cores: u32::try_from(self.node.unwrap_or_default().total.cpu().0 / MilliCores::CORE.0).unwrap_or(u32::MAX),
        })
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
        self.actions.extend(self.ledger.ask_back().into_iter().map(Action::Withdraw));
    }

    /// A slot is free for what waits behind its last task: it starts now, and takes up room.
    pub(super) fn next_starts(&mut self, ended: TaskKey) {
        if let Some(next) = self.ledger.next_after(ended) {
            self.ledger.place(next, Place::Starting);
        }
    }

    /// It did not start: held again, where it was, unless it was to end.
    pub(super) fn withdrawn(&mut self, now: Instant, key: TaskKey) {
        let Some(entry) = self.ledger.get(key) else { return };
        let place = entry.place.clone();
        // Where it was its turn, that of the next one has come.
        if self.ledger.before(key).is_none_or(|before| !self.ledger.is_ahead(before)) {
            self.next_starts(key);
        }
        match place {
            Place::Queued { .. } | Place::Starting => self.ledger.place(key, Place::Held { since: now }),
            Place::Terminating { .. } => self.never_ran(key),
            Place::Held { .. } | Place::Running { .. } | Place::Settling => {}
        }
    }
}
