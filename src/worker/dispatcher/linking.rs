//! What the worker says to Redis and hears from it: heartbeats, orders, and what is still ours after a reconnect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Dispatcher;
use super::departure::Ordered;
use crate::model::snapshot::{RunningTask, WaitReason, WorkerLoad};
use crate::model::{Accounting, Amounts, TaskLine};
use crate::policy::Wait;
use crate::queue::call_size::{self, CALL_BYTES};
use crate::queue::session::{Claim, Heartbeat, HeartbeatReply, QueueState, Reasserted, Revoked};
use crate::view::waits::sentence;
use crate::worker::events::{Action, Inventory, TaskKey};
use crate::worker::ledger::{ClaimState, StopReason};

/// Tasks that have run for less are not named in heartbeats.
const SHOWN_AFTER: Duration = Duration::from_millis(500);

/// Bytes of lines that a heartbeat names as started, and as stopped, about: it must not be late.
const HEARTBEAT_BYTES: usize = CALL_BYTES / 4;

/// Characters of a line that heartbeats tell.
const SHOWN: usize = 200;

impl Dispatcher {
    pub(super) fn heartbeat(&mut self, now: Instant) -> Heartbeat {
        let budget = self.ledger.budget();
        let wait = self.waiting_for();
        let room = self.headroom().ok().filter(|_| wait.is_none());
        let load = WorkerLoad {
            running: budget.tasks,
            slots: self.slots(),
            held: u32::try_from(self.ledger.held().len()).unwrap_or(u32::MAX),
            waiting: wait.as_ref().and_then(sentence),
            wait,
            room: room.map(|room| brief(&room.amounts)),
            offer: self.capacity.offer(now).map(|offer| offer.amounts),
            traits: Some((**self.placement.traits()).clone()),
            free: Some(self.placement.free()),
            reserved: self.intake.reserved().map(|(line, _)| line.to_owned()),
            fenced: self.meters.fenced,
            reconnects: self.meters.reconnects,
            mean_seconds: self.meters.task_seconds.mean(),
            tasks: self.running_tasks(now),
        };
        let started = self.take_started();
        let stopped =
            call_size::first(self.outbox.stopped(), usize::MAX, HEARTBEAT_BYTES, |order| order.line.len()).to_vec();
        Heartbeat {
            status: self.node.usage().status(),
            load: serde_json::to_string(&load).unwrap_or_default(),
            offer: self.capacity.offer(now).filter(|_| self.departure.is_open() && !self.intake.is_suspect()),
            traits: Arc::clone(self.placement.traits()),
            started,
            stopped,
            suspect_after: self.config.suspect_after,
        }
    }

    /// The lines of what has started and was not told, as far as they fit.
    fn take_started(&mut self) -> Vec<Arc<str>> {
        let started = self.outbox.take_started().into_iter().filter_map(|key| self.ledger.get(key));
        let mut started: Vec<Arc<str>> = started
            .filter(|entry| entry.state != ClaimState::Settling)
            .map(|entry| Arc::clone(&entry.claim.line))
            .collect();
        let told = call_size::first(&started, usize::MAX, HEARTBEAT_BYTES, |line| line.len()).len();
        // The rest has its turn with the next, which is due at once.
        let rest = started.split_off(told);
        if !rest.is_empty() {
            let keys = rest.iter().filter_map(|line| self.ledger.active(line)).map(|(key, _)| key).collect();
            self.outbox.reannounce(keys);
            self.actions.push(Action::Heartbeat);
        }
        started
    }

    /// What runs and is worth a look: short tasks are over before anybody has read of them, and would cost a busy worker the most.
    fn running_tasks(&self, now: Instant) -> Vec<RunningTask> {
        let mut tasks: Vec<(Duration, RunningTask)> = self
            .ledger
            .iter()
            .filter_map(|(_, entry)| {
                let ClaimState::Running { since, limit, touched, .. } = entry.state else { return None };
                let age = now.saturating_duration_since(since);
                (age >= SHOWN_AFTER).then(|| {
                    let task = RunningTask {
                        id: entry.task.id().to_string(),
                        line: entry.claim.line.chars().take(SHOWN).collect(),
                        attempt: entry.claim.attempt,
                        seconds: age.as_secs(),
                        limit,
                        mem_bytes: touched.0,
                    };
                    (age, task)
                })
            })
            .collect();
        tasks.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
        tasks.truncate(WorkerLoad::TASKS);
        tasks.into_iter().map(|(_, task)| task).collect()
    }

    /// Why it takes nothing new; `None` while it does.
    pub(super) fn waiting_for(&self) -> Option<WaitReason> {
        if self.departure.is_waiting_idle() {
            return Some(if self.departure.is_drained() { WaitReason::Drained } else { WaitReason::Stopped });
        }
        if !self.departure.is_open() {
            return Some(WaitReason::Draining);
        }
        if self.intake.has_other_order() {
            return Some(WaitReason::OtherOrder);
        }
        if self.intake.is_suspect() {
            return Some(WaitReason::Suspect { lines: self.intake.suspect() });
        }
        match self.intake.queue_state() {
            Some(QueueState::Paused) => return Some(WaitReason::Paused),
            Some(QueueState::Stopping) => return Some(WaitReason::Stopped),
            Some(QueueState::Open | QueueState::Draining | QueueState::OtherOrder) | None => {}
        }
        self.headroom().err().map(|wait| match wait {
            Wait::Slots => WaitReason::Slots,
            Wait::Below { kind, free, least } => {
                let free = kind.shown(kind.rounded_down(free));
                WaitReason::Threshold { resource: kind, free, least: kind.shown(least) }
            }
        })
    }

    /// Until when nobody may have declared this worker dead, as far as it knows.
    pub(super) fn lease_end(&self) -> Instant {
        self.lease.end(self.config.dead_after)
    }

    /// Whether what is claimed is still ours for certain, so that it may start.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.lease.may_start(now, self.config.dead_after)
    }

    pub(super) fn slept(&mut self, time: Duration) {
        tracing::warn!(seconds = time.as_secs_f64(), "the machine was suspended");
        self.lease.slept(time);
        self.actions.push(Action::Heartbeat);
    }

    pub(super) fn linked(&mut self, now: Instant) {
        self.meters.reconnects += u64::from(self.lease.relink(now));
        self.intake.relinked();
        self.reannounce_running();
        // Orders may have come while nobody listened.
        self.actions.push(Action::Heartbeat);
    }

    pub(super) fn heartbeat_answered(&mut self, reply: HeartbeatReply) {
        // What was sent as carried out is no longer listed; what is still listed has yet to be.
        if self.outbox.confirm_stopped(&reply.revoked) {
            if !self.outbox.stopped().is_empty() {
                self.actions.push(Action::Heartbeat);
            }
            // Until now claims passed these lines over; they may have been put back into the queue.
            self.intake.hurry();
        }
        self.set_other_order(reply.other_order);
        self.order(reply.drain, reply.stop);
        self.judge(reply.suspect, reply.may_try);
        self.lease.heartbeat_taken();
        self.obey(reply.revoked);
    }

    /// Takes nothing more while an operator wants it so, and goes on when that is lifted, unless it is on its way out by then.
    pub(super) fn order(&mut self, drain: bool, stop: bool) {
        match self.departure.order(drain, stop) {
            Ordered::Nothing => {}
            Ordered::Finish => {
                let lifted_by = self.departure.lifted_by();
                tracing::info!(drain, lifted_by, "claiming no more tasks: asked to stop");
                self.intake.finish();
            }
            Ordered::Resume => {
                tracing::info!("claiming tasks again: resumed");
                self.intake.resume();
                self.actions.push(Action::Heartbeat);
            }
        }
    }

    /// Pauses itself while too much speaks against this worker, but for a task that it may try, and goes on when it is trusted again.
    fn judge(&mut self, suspect: u64, may_try: bool) {
        // While one is tried, what this answer knew is from before its end.
        if !self.intake.judged(suspect, may_try && self.ledger.is_empty()) {
            return;
        }
        if suspect > 0 {
            tracing::warn!(
                tasks = suspect,
                "suspect: tasks that failed here finished on other workers; claiming no more tasks until distcomp-ctl resume --worker, or until one finishes here"
            );
            let held: Vec<TaskKey> = self.ledger.held().collect();
            for key in held {
                self.give_back_unstarted(key);
            }
            self.recall_all();
        } else {
            tracing::info!("trusted again: claiming tasks");
            self.intake.resume();
        }
        self.actions.push(Action::Heartbeat);
    }

    /// Loud, since tasks that were read in the wrong order would run with memory and priority exchanged.
    pub(super) fn set_other_order(&mut self, other_order: bool) {
        if !self.intake.set_other_order(other_order) {
            return;
        }
        if other_order {
            tracing::error!(
                ours = %self.me.order,
                "the queue has another field order than this worker, which claims nothing. Set task_field_order in conf.json to that of the queue (distcomp:field_order) and restart the worker, or change the queue while no task waits"
            );
        } else {
            tracing::info!("the queue has the field order of this worker again");
        }
    }

    /// Stops what operators have ordered away. It is theirs to move when it is said that nothing of it runs here, and not before.
    fn obey(&mut self, revoked: Vec<Revoked>) {
        let mut to_end = Vec::new();
        for order in revoked {
            match self.ledger.claim_of(&order.line).map(|(key, entry)| (key, entry.state.clone(), &entry.claim.token)) {
                // The claim that the order is about, or this one's end, is on its way to us or to Redis.
                None if self.intake.is_asking() => self.outbox.owe_look(),
                Some((_, ClaimState::Settling, _)) => self.outbox.owe_look(),
                // Of a claim that has come after what this answer knew.
                Some((_, _, token)) if *token != order.token => self.outbox.owe_look(),
                Some((key, ClaimState::Held { .. }, _)) => self.finish_revoked(key),
                Some((
                    key,
                    ClaimState::Queued { .. } | ClaimState::Starting { .. } | ClaimState::Running { .. },
                    _,
                )) => {
                    to_end.push(key);
                }
                Some((key, ClaimState::Terminating { cause, .. }, _)) if cause != StopReason::Revoked => {
                    self.ledger.terminate(key, StopReason::Revoked);
                }
                Some((_, ClaimState::Terminating { .. }, _)) => {}
                None if self.outbox.stopped().contains(&order) => {}
                None => {
                    self.outbox.add_stopped(order);
                    self.actions.push(Action::Heartbeat);
                }
            }
        }
        self.end_each(to_end, StopReason::Revoked);
    }

    /// Asks for orders again, where one could not be obeyed for what was on its way.
    pub(super) fn look_again(&mut self) {
        if self.outbox.take_owed_look() {
            self.actions.push(Action::Heartbeat);
        }
    }

    /// The heartbeat that told what had started may be lost with its connection, and a loss of an attempt that nobody knows to have started does not count.
    pub(super) fn reannounce_running(&mut self) {
        let runs = |state: &ClaimState| matches!(state, ClaimState::Running { .. } | ClaimState::Terminating { .. });
        let running = self.ledger.iter().filter(|(_, entry)| runs(&entry.state)).map(|(key, _)| key).collect();
        self.outbox.reannounce(running);
    }

    /// Revoked attempts that still die are left out of `all`: there is nothing to reassert.
    pub(super) fn inventory(&self) -> Inventory {
        let mut inventory = Inventory::default();
        for (key, entry) in self.ledger.iter() {
            match entry.state {
                ClaimState::Settling | ClaimState::Terminating { cause: StopReason::Revoked, .. } => {
                    inventory.settling.insert(Arc::clone(&entry.claim.line));
                }
                ClaimState::Held { .. }
                | ClaimState::Queued { .. }
                | ClaimState::Starting { .. }
                | ClaimState::Running { .. }
                | ClaimState::Terminating { .. } => {
                    inventory.all.push((key, entry.claim.clone(), entry.task.class().clone()));
                }
            }
        }
        inventory
    }

    pub(super) fn reasserted(&mut self, now: Instant, known: Vec<(TaskKey, Reasserted)>, unknown: Vec<Claim>) {
        let mut to_end = Vec::new();
        for (key, answer) in known {
            if answer != Reasserted::NotOurs {
                continue;
            }
            let Some(entry) = self.ledger.get(key) else { continue };
            tracing::warn!(task = %entry.task.id(), "dropped: the claim is no longer ours");
            self.meters.fenced += 1;
            if matches!(entry.state, ClaimState::Held { .. }) {
                self.ledger.remove(key);
            } else {
                to_end.push(key);
            }
        }
        self.end_each(to_end, StopReason::Revoked);
        for claim in unknown {
            if self.ledger.active(&claim.line).is_some() {
                continue;
            }
            tracing::info!(line = %claim.line, "returned: the reply to its claim was lost");
            match TaskLine::parse(&claim.line, self.me.order) {
                Ok(task) => {
                    let key = self.ledger.hold(claim, task, now);
                    self.give_back_unstarted(key);
                }
                Err(_) => self.accept_claim(now, claim),
            }
        }
    }
}

/// Without digits of measured amounts that differ from look to look.
fn brief(left: &Amounts) -> Amounts {
    Amounts::of(|kind| match kind.accounting() {
        Accounting::Measured => kind.rounded_down(left.get(kind)),
        Accounting::Declared => left.get(kind),
    })
}
