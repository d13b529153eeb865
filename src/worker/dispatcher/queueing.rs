//! A few tasks wait in each slot, each for the end of the one before it, so that its keeper starts the next without asking the worker.
//!
//! Only while tasks end within milliseconds, and only what slots would take next: the best that is held, in order, of one priority at a time, and
//! where it needs more memory or cores than what it waits for, these are reserved from then on. It is not started until its keeper says so, and can
//! be recalled until then.

use std::time::{Duration, Instant};

use super::Dispatcher;
use crate::model::MilliCores;
use crate::policy::coalesce::{self, Load};
use crate::policy::{Budget, Wait, admission, prefetch};
use crate::worker::events::{Action, Attempt, SlotId, TaskKey};
use crate::worker::ledger::ClaimState;
use crate::worker::placed::Placed;

/// The longest that one waits in a slot: then another slot may have it.
const QUEUED_AT_MOST: Duration = Duration::from_millis(20);

/// A task that has run for longer is not going to end in a moment.
const YOUNG: Duration = Duration::from_millis(10);

impl Dispatcher {
    /// Whether nothing new may start even in a free slot.
    pub(super) fn admits_nothing(&self) -> bool {
        admission::headroom(&self.limits(), &self.node, &Budget::default()).is_err()
    }

    /// Gives each slot its next tasks, or recalls all of them where a slot waits for work or a task has waited too long.
    pub(super) fn fill_pipelines(&mut self, now: Instant) {
        let is_full = matches!(self.headroom(), Err(Wait::Slots));
        if !is_full && self.ledger.held().len() == 0 || self.queued_until().is_some_and(|until| until <= now) {
            self.recall_all();
            return;
        }
        // More run than there are slots after these were lowered: a next task would refill what is to become fewer.
        let is_overfull = self.ledger.budget().tasks > self.slots();
        if !self.may_start(now)
            || !is_full
            || is_overfull
            || self.ledger.held().len() == 0
            || self.intake.pause_until().is_some()
            || self.prefetch_target(now) == 0
            || self.admits_nothing()
        {
            return;
        }
        let depth = prefetch::pipeline_depth(self.completion_rate.rate(now) / f64::from(self.slots().max(1)));
        // Slots that run low. Refilled by half of the depth at least, so that a message to a keeper is worth its wake-up.
        let mut open = self.ledger.open_slots(now.checked_sub(YOUNG).unwrap_or(now));
        open.retain(|(_, waiting, _)| *waiting <= depth / 2);
        // Each gets its next before one gets its next but one.
        for level in 0..depth {
            for (slot, waiting, last) in open.iter_mut().filter(|(_, waiting, _)| *waiting == level) {
                let Some(next) = self.start_after(now, *slot, *last) else { return };
                (*waiting, *last) = (*waiting + 1, next);
            }
        }
    }

    /// Hands the best that is held to a slot, to start after the last that is in it; `None` when it may not go there.
    fn start_after(&mut self, now: Instant, slot: SlotId, last: TaskKey) -> Option<TaskKey> {
        let key = self.ledger.held().next()?;
        let entry = self.ledger.get(key)?;
        let (task, attempt) = (&entry.task, Attempt::of(&entry.claim));
        let fits = self.unreserved().holds(&self.ledger.excess_over(key, last).amounts);
        // All that wait in slots are of one priority, so that one speaks for them.
        let is_of_another = self.ledger.queued().next().is_some_and(|queued| queued.task.prio() != task.prio());
        if !fits || is_of_another || !self.placement.may_queue(task) {
            return None;
        }
        let task = task.clone();
        self.ledger.start_after(key, slot, last, now)?;
        self.actions.push(Action::Start {
            slot,
            key,
            task,
            attempt,
            before: self.lease_end(),
            placed: Placed::default(),
        });
        Some(key)
    }

    /// Whether tasks end so fast that slots are refilled from what was claimed ahead: then no slot waits for a settlement.
    pub(super) fn prefetches(&mut self, now: Instant) -> bool {
        self.prefetch_target(now) > 0
    }

    /// How long events may coalesce before the next are handed in.
    pub(super) fn coalesce(&mut self, now: Instant) -> Duration {
        // Who has switched prefetching off wants each end looked at.
        if !self.prefetches(now) || !self.departure.is_open() {
            return Duration::ZERO;
        }
        let running = self.ledger.budget().tasks;
        coalesce::delay(&Load {
            rate: self.completion_rate.rate(now),
            running,
            is_full: running >= self.slots(),
            all_are_followed: self.ledger.all_have_a_next(),
            cores: u32::try_from(self.node.total.cpu().0 / MilliCores::CORE.0).unwrap_or(u32::MAX),
        })
    }

    /// When the one that has waited longest in a slot is recalled.
    pub(super) fn queued_until(&self) -> Option<Instant> {
        let since = self.ledger.queued().filter_map(|entry| match entry.state {
            ClaimState::Queued { since, .. } => Some(since),
            ClaimState::Held { .. }
            | ClaimState::Starting { .. }
            | ClaimState::Running { .. }
            | ClaimState::Terminating { .. }
            | ClaimState::Settling => None,
        });
        since.min().map(|since| since + QUEUED_AT_MOST)
    }

    /// Recalls everything that waits in slots. What has started in the meantime says so, and runs.
    pub(super) fn recall_all(&mut self) {
        self.actions.extend(self.ledger.recall_all().into_iter().map(|(slot, key)| Action::Recall { slot, key }));
    }

    /// It did not start: held again, where it was, unless it was to end.
    pub(super) fn withdrawn(&mut self, now: Instant, key: TaskKey) {
        match self.ledger.get(key).map(|entry| &entry.state) {
            Some(ClaimState::Queued { .. } | ClaimState::Starting { .. }) => self.ledger.hold_again(key, now),
            Some(ClaimState::Terminating { .. }) => self.never_ran(key),
            Some(ClaimState::Held { .. } | ClaimState::Running { .. } | ClaimState::Settling) | None => {}
        }
    }
}
