//! Asking for tasks, taking them in, starting them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Dispatcher, Skip};
use crate::config::Prefetch;
use crate::model::{Amounts, Outcome, Room, TaskId, TaskLine};
use crate::policy::{Wait, admission, prefetch};
use crate::queue::session::{Claim, ClaimReply, ClaimRequest, QueueState, STARVE};
use crate::worker::events::{Action, Attempt, TaskKey};
use crate::worker::ledger::{ClaimState, StopReason};
use crate::worker::outcome;

/// A prefetched task is given back when there is a slot and it has not fitted for this long.
pub(super) const HELD_AT_MOST: Duration = Duration::from_secs(1);

/// The most tasks one claim starts.
const CLAIM_AT_MOST: u32 = 256;

/// Outcomes that wait to be told, at most, while more is claimed. Where Redis is slower than the tasks, they would otherwise pile up without end, listed as
/// in progress, and a crash would run all of them again.
pub(super) const UNREPORTED_AT_MOST: u32 = 512;

impl Dispatcher {
    pub(super) fn claimed(&mut self, now: Instant, reply: ClaimReply) {
        let fixed = (!self.config.auto_sleep).then_some(self.config.poll_interval);
        let since = self.intake.answered(now, &reply, fixed).map_or(now, |asked| asked.since);
        self.meters.claims += 1;
        self.meters.claimed += (reply.claims.len() + reply.unsigned.len()) as u64;
        let took = now.saturating_duration_since(since);
        self.round_trip.took(took);
        self.meters.claim_seconds.add(took.as_secs_f64());
        if matches!(reply.state, QueueState::Stopping | QueueState::Draining) && self.departure.is_open() {
            self.order(reply.state == QueueState::Draining, true);
        }
        self.set_other_order(reply.state == QueueState::OtherOrder);
        for claim in reply.claims {
            self.accept_claim(now, claim);
        }
        self.look_again();
        for (claim, problem) in reply.unsigned {
            tracing::warn!(task = %TaskId::of(&claim.line), problem, "not signed: refused");
            if let Some((key, _)) = self.ledger.active(&claim.line) {
                // It was signed when it started; what is in the queue now is not, and nothing of it counts.
                self.end_early(key, StopReason::Revoked);
            }
            self.refuse(claim, Outcome::Unsigned, &problem);
        }
    }

    /// Settles a claim as failed for ever, without its ever having been an entry.
    fn refuse(&mut self, claim: Claim, outcome: Outcome, problem: &str) {
        let key = self.ledger.next_key();
        self.outbox.refuse();
        self.meters.ended(outcome);
        let settle = outcome::settle_refused(claim.line, claim.token, outcome, problem);
        self.actions.push(Action::Settle(key, Box::new(settle)));
    }

    pub(super) fn accept_claim(&mut self, now: Instant, claim: Claim) {
        self.skip.remove(&claim.line);
        if let Some((key, entry)) = self.ledger.active(&claim.line) {
            if matches!(entry.state, ClaimState::Terminating { cause: StopReason::Revoked, .. }) {
                // The attempt that was taken from us still dies: give this one back until it has.
                self.skip.insert(Arc::clone(&claim.line), Skip::Dying);
                if let Ok(task) = TaskLine::parse(&claim.line, self.me.order) {
                    let key = self.ledger.hold(claim, task, now);
                    self.give_back_unstarted(key);
                }
            } else {
                self.ledger.replace_token(key, claim.token);
            }
            return;
        }
        match TaskLine::parse(&claim.line, self.me.order) {
            Ok(task) => {
                let task = task.declaring(claim.mem);
                self.ledger.hold(claim, task, now);
            }
            Err(problem) => self.refuse(claim, Outcome::Invalid, &problem.to_string()),
        }
    }

    /// Starts what is held and fits, best first.
    pub(super) fn start_held(&mut self, now: Instant) {
        if !self.may_start(now) {
            return;
        }
        let before = self.lease_end();
        let held: Vec<TaskKey> = self.ledger.held().collect();
        for key in held {
            let Ok(room) = self.headroom() else { return };
            if self.next_start().is_some_and(|at| at > now) {
                return;
            }
            let Some(entry) = self.ledger.get(key) else { continue };
            if room.holds(entry.task.demand()) {
                let (task, attempt) = (entry.task.clone(), Attempt::of(&entry.claim));
                let Some(placed) = self.placement.place(key, &task) else { continue };
                tracing::debug!(task = %task.id(), attempt = attempt.number, line = task.as_str(), "starting");
                let Some(slot) = self.ledger.start(key) else { continue };
                self.intake.started(now);
                // First the others leave the cores that are this task's own.
                self.move_shared();
                self.actions.push(Action::Start { slot, key, task, attempt, before, placed });
            }
        }
    }

    /// Before when nothing starts, where starts are spaced (`min_seconds_between_starts`).
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.intake.next_start(self.config.min_between_starts)
    }

    /// Whether a claim would be made if it were due.
    pub(super) fn wants_claim(&self) -> bool {
        self.lease.is_linked()
            && !self.intake.is_asking()
            && self.intake.is_trusted(self.ledger.is_empty())
            && self.departure.is_open()
            && self.intake.pause_until().is_none()
            && !self.outbox.is_returning()
            && self.ledger.settling() < UNREPORTED_AT_MOST
    }

    pub(super) fn claim(&mut self, now: Instant) {
        if !self.wants_claim() {
            return;
        }
        let held = u32::try_from(self.ledger.held().len()).unwrap_or(u32::MAX);
        let (slots, room) = match self.headroom() {
            Ok(room) if held == 0 => (room.slots.min(CLAIM_AT_MOST), Some(room)),
            Ok(room) => (0, Some(room)),
            Err(Wait::Slots) => (0, None),
            // A burst has to know that nothing is left for a node that admits nothing.
            Err(Wait::Below { .. }) if self.is_hopeless_burst(now) => (0, None),
            Err(Wait::Below { .. }) => return,
        };
        let is_hopeless = self.is_hopeless_burst(now);
        let target = if is_hopeless { 0 } else { self.prefetch_target(now) };
        let prefetch = if held <= target / 2 { target - held } else { 0 };
        // Without prefetch Redis never shows more in progress than there are slots: one is free only once its outcome is recorded.
        let slots = if target == 0 { slots.saturating_sub(self.ledger.settling()) } else { slots };
        // What may not start yet is left for others.
        let slots = if self.next_start().is_some_and(|at| at > now) {
            0
        } else if self.config.min_between_starts.is_zero() {
            slots
        } else {
            slots.min(1)
        };
        let (slots, prefetch) = if self.config.pipeline_batching { (slots, prefetch) } else { (slots.min(1), 0) };
        let (slots, prefetch) = if self.intake.is_suspect() { (slots.min(1), 0) } else { (slots, prefetch) };
        let is_last_question = self.me.is_burst && !self.intake.has_asked_since() && self.ledger.is_empty();
        if (slots + prefetch == 0 && !is_hopeless) || !(self.intake.is_due(now) || is_last_question) {
            return;
        }
        let room = room.unwrap_or_default();
        // What a slot has left when one of those that run has ended.
        let after_one = self.unreserved().plus(&self.ledger.largest_running().amounts);
        let offer = self.capacity.offer(now);
        let number = self.intake.asked(now, slots, prefetch);
        self.intake.tried();
        self.actions.push(Action::Claim(ClaimRequest {
            token: format!("{}.{number}", self.me.instance),
            room: Room { slots, ..room },
            prefetch: Room { slots: prefetch, amounts: after_one },
            offer,
            traits: Arc::clone(self.placement.traits()),
            free: self.placement.free(),
            prefer_wait: self.config.prefer_wait,
            dead_after: self.config.dead_after,
            starve_after: STARVE,
            wants_leftovers: self.me.is_burst,
            wants_signatures: self.me.wants_signatures,
            skip: self.skipped(),
        }));
    }

    fn is_hopeless_burst(&self, now: Instant) -> bool {
        self.me.is_burst && self.ledger.is_empty() && self.capacity.is_hopeless(now)
    }

    /// Takes in what the last look at the node says of its capacity, and asks at once for a task that room is kept for when there is enough, or when
    /// there will not be.
    pub(super) fn measure_capacity(&mut self, now: Instant) {
        let node = self.node;
        let reserved = self
            .intake
            .reserved()
            .and_then(|(line, mem)| Some(TaskLine::parse(line, self.me.order).ok()?.declaring(mem)));
        let wanted = reserved.as_ref().map(TaskLine::demand);
        let (limits, budget) = (self.limits(), self.ledger.budget());
        let is_given_up = self.capacity.observe(now, &limits, &node, &budget, wanted);
        if let Some(task) = reserved
            && (is_given_up || self.headroom().is_ok_and(|room| room.holds(task.demand())))
        {
            if is_given_up {
                tracing::warn!(task = %task.id(), needs = %task.demand().mem(), free = %node.free.mem(), "reservation given up: this node cannot run the task");
            }
            self.intake.hurry();
        }
    }

    /// What nobody has spoken for, whether there is a slot or not.
    pub(super) fn unreserved(&self) -> Amounts {
        admission::unreserved(&self.node, &self.ledger.budget())
    }

    /// How many tasks may be prefetched. They are asked for in gulps of at least half of it, so that a claim is worth its round trip.
    pub(super) fn prefetch_target(&mut self, now: Instant) -> u32 {
        // A slot that its keeper refills is a start that nobody spaces.
        if !self.config.min_between_starts.is_zero() {
            return 0;
        }
        let fixed = match self.config.prefetch {
            Prefetch::Auto => None,
            Prefetch::Fixed(fixed) => Some(fixed),
        };
        prefetch::prefetch_target(self.completion_rate.rate(now), self.round_trip, fixed)
    }

    pub(super) fn skipped(&self) -> Vec<Arc<str>> {
        let (limits, budget) = (self.limits(), self.ledger.budget());
        self.skip
            .iter()
            .filter(|(_, skip)| match skip {
                Skip::Memory(peak) => !admission::may_retake(&limits, &self.node, &budget, *peak),
                Skip::Dying => true,
            })
            .map(|(line, _)| Arc::clone(line))
            .collect()
    }

    /// When a held task goes back; `None` where it is not held.
    pub(super) fn held_until(&self, key: TaskKey) -> Option<Instant> {
        match self.ledger.get(key).map(|entry| &entry.state) {
            Some(ClaimState::Held { since }) => Some(*since + HELD_AT_MOST),
            Some(
                ClaimState::Queued { .. }
                | ClaimState::Starting { .. }
                | ClaimState::Running { .. }
                | ClaimState::Terminating { .. }
                | ClaimState::Settling,
            )
            | None => None,
        }
    }

    /// Gives back what is held and does not fit although there is a slot, and, where there is none, what is more than would now be prefetched:
    /// brief tasks were followed by long ones, and others may have slots.
    pub(super) fn return_stuck(&mut self, now: Instant) {
        // What a claim brings now comes after what is held, and would start before it.
        if self.intake.is_asking() {
            return;
        }
        let is_full = matches!(self.headroom(), Err(Wait::Slots));
        let kept = if is_full { self.prefetch_target(now) as usize } else { 0 };
        // All behind the first of them too: what was claimed later would start before it comes back.
        let is_due = |key: &TaskKey| self.held_until(*key).is_some_and(|until| until <= now);
        let stuck: Vec<TaskKey> = self.ledger.held().skip(kept).skip_while(|key| !is_due(key)).collect();
        for key in stuck {
            self.give_back_unstarted(key);
        }
    }

    pub(super) fn is_burst_over(&self) -> bool {
        self.me.is_burst && self.intake.is_exhausted()
    }
}
