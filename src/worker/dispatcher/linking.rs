//! What the worker says to Redis and hears from it: heartbeats, orders, and what is still ours after a reconnect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Dispatcher;
use crate::model::snapshot::{RunningTask, WorkerLoad};
use crate::model::{Accounting, Amounts, TaskLine};
use crate::policy::{Lifecycle, Polling};
use crate::queue::call_size::{self, CALL_BYTES};
use crate::queue::session::{Claim, Heartbeat, HeartbeatReply, QueueState, Reasserted, Revoked};
use crate::worker::events::{Action, Inventory, TaskKey};
use crate::worker::ledger::{Cause, Place};

/// Tasks that have run for less are not named in heartbeats.
const SHOWN_AFTER: Duration = Duration::from_millis(500);

/// Bytes of lines that a heartbeat names as started, and as stopped, about: it must not be late.
const BEAT_BYTES: usize = CALL_BYTES / 4;

/// Characters of a line that heartbeats tell.
const SHOWN: usize = 200;

impl Dispatcher {
    pub(super) fn beat(&mut self) -> Heartbeat {
        let node = self.node.unwrap_or_default();
        let budget = self.ledger.budget();
        let waiting = self.waiting_for();
        let room = self.headroom().ok().filter(|_| waiting.is_none());
        let load = WorkerLoad {
            running: budget.tasks,
            slots: self.slots(),
            held: u32::try_from(self.ledger.held().len()).unwrap_or(u32::MAX),
            waiting,
            room: room.map(|room| brief(&room.amounts)),
            offer: self.capacity.offer(self.seen).map(|offer| offer.amounts),
            reserved: self.last.as_ref().and_then(|last| last.reserved.clone()),
            fenced: self.meters.fenced,
            reconnects: self.meters.reconnects,
            mean_seconds: self.meters.task_seconds.mean(),
            tasks: self.running_tasks(),
        };
        let started: Vec<Arc<str>> = self
            .newly_started
            .drain(..)
            .filter_map(|key| self.ledger.get(key))
            .filter(|entry| entry.place != Place::Settling)
            .map(|entry| Arc::clone(&entry.claim.line))
            .collect();
        let told = call_size::first(&started, usize::MAX, BEAT_BYTES, |line| line.len()).len();
        // The rest has its turn with the next, which is due at once.
        let rest: Vec<TaskKey> =
            started[told..].iter().filter_map(|line| self.ledger.active(line)).map(|(key, _)| key).collect();
        if !rest.is_empty() {
            self.newly_started = rest;
            self.actions.push(Action::Beat);
        }
        let stopped = call_size::first(&self.stopped, usize::MAX, BEAT_BYTES, |order| order.line.len()).to_vec();
        Heartbeat {
            status: node.usage().status(),
            load: serde_json::to_string(&load).unwrap_or_default(),
            offer: self.capacity.offer(self.seen).filter(|_| self.lifecycle.is_open()),
            started: started[..told].to_vec(),
            stopped,
        }
    }

    /// What runs and is worth a look: short tasks are over before anybody has read of them, and would cost a busy worker the most.
    fn running_tasks(&self) -> Vec<RunningTask> {
        let mut tasks: Vec<(Duration, RunningTask)> = self
            .ledger
            .iter()
            .filter_map(|(_, entry)| {
                let Place::Running { since, limit, touched, .. } = entry.place else { return None };
                let age = self.seen.saturating_duration_since(since);
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

    pub(super) fn waiting_for(&self) -> Option<String> {
        if self.is_waiting_idle {
            let why = if self.is_drained { WorkerLoad::DRAINED } else { WorkerLoad::STOPPED };
            return Some(why.to_owned());
        }
        if self.lifecycle != Lifecycle::Open {
            return Some("draining".to_owned());
        }
        if self.other_order {
            return Some(WorkerLoad::OTHER_ORDER.to_owned());
        }
        match self.last.as_ref().map(|last| last.state) {
            Some(QueueState::Paused) => return Some(WorkerLoad::PAUSED.to_owned()),
            Some(QueueState::Stopping) => return Some(WorkerLoad::STOPPED.to_owned()),
            Some(QueueState::Open | QueueState::Draining | QueueState::OtherOrder) | None => {}
        }
        self.headroom().err().map(|wait| wait.to_string())
    }

    /// Until when nobody may have declared this worker dead, as far as it knows.
    pub(super) fn lease_end(&self) -> Instant {
        self.leased_since + self.config.dead_after.saturating_sub(self.asleep)
    }

    /// Whether what is claimed is still ours for certain. A worker that was frozen may find its tasks in other hands, and starts none until a heartbeat
    /// was taken.
    pub(super) fn has_lease(&self, now: Instant) -> bool {
        now < self.lease_end()
    }

    /// The lease went on while the machine slept. What was said before counts from before.
    pub(super) fn slept(&mut self, time: Duration) {
        tracing::warn!(seconds = time.as_secs_f64(), "the machine was suspended");
        self.asleep += time;
        self.beat_made = None;
        self.actions.push(Action::Beat);
    }

    pub(super) fn beaten(&mut self, reply: HeartbeatReply) {
        // What was sent as carried out is no longer listed; what is still listed has yet to be.
        let reported = self.stopped.len();
        self.stopped.retain(|order| reply.revoked.contains(order));
        if self.stopped.len() < reported {
            if !self.stopped.is_empty() {
                self.actions.push(Action::Beat);
            }
            // Until now claims passed these lines over; they may have been put back into the queue.
            self.polling.wake();
        }
        self.heed(&reply);
        if let Some(made) = self.beat_made.take() {
            (self.leased_since, self.asleep) = (made.max(self.leased_since), Duration::ZERO);
        }
        self.obey(reply.revoked);
    }

    /// Takes nothing more while an operator wants it so, and goes on when that is lifted, unless it is on its way out by then.
    fn heed(&mut self, reply: &HeartbeatReply) {
        self.is_drained = reply.drain;
        if reply.other_order != self.other_order {
            self.other_order = reply.other_order;
            self.say_order();
        }
        if reply.drain || reply.stop {
            if self.lifecycle.is_open() {
                self.finish();
            }
        } else if self.lifecycle == Lifecycle::Finishing && !self.is_exiting && self.given_up.is_none() {
            tracing::info!("claiming tasks again: resumed");
            (self.lifecycle, self.is_waiting_idle) = (Lifecycle::Open, false);
            self.last = None;
            self.polling = Polling::default();
            self.polling.wake();
            self.actions.push(Action::Beat);
        }
    }

    /// An operator wants it to take nothing more.
    pub(super) fn finish(&mut self) {
        let lifted_by = if self.is_drained { "distcomp-ctl resume --worker" } else { "distcomp-ctl resume" };
        tracing::info!(drain = self.is_drained, lifted_by, "claiming no more tasks: asked to stop");
        self.lifecycle = Lifecycle::Finishing;
        self.polling = Polling::default();
    }

    /// Loud, since tasks that were read in the wrong order would run with memory and priority exchanged.
    pub(super) fn say_order(&self) {
        if self.other_order {
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
            match self.ledger.claim_of(&order.line).map(|(key, entry)| (key, entry.place.clone(), &entry.claim.token)) {
                // The claim that the order is about, or this one's end, is on its way to us or to Redis.
                None if self.is_claiming.is_some() => self.owes_look = true,
                Some((_, Place::Settling, _)) => self.owes_look = true,
                // Of a claim that has come after what this answer knew.
                Some((_, _, token)) if *token != order.token => self.owes_look = true,
                Some((key, Place::Held { .. }, _)) => self.drop_revoked(key),
                Some((key, Place::Queued { .. } | Place::Starting { .. } | Place::Running { .. }, _)) => {
                    to_end.push(key);
                }
                Some((key, Place::Terminating { cause, .. }, _)) if cause != Cause::Revoked => {
                    self.ledger.terminate(key, Cause::Revoked);
                }
                Some((_, Place::Terminating { .. }, _)) => {}
                None if self.stopped.contains(&order) => {}
                None => {
                    self.stopped.push(order);
                    self.actions.push(Action::Beat);
                }
            }
        }
        self.end_each(to_end, Cause::Revoked);
    }

    /// Asks for orders again, where one could not be obeyed for what was on its way.
    pub(super) fn look_again(&mut self) {
        if std::mem::take(&mut self.owes_look) {
            self.actions.push(Action::Beat);
        }
    }

    /// The heartbeat that told what had started may be lost with its connection, and a loss of an attempt that nobody knows to have started does not count.
    pub(super) fn say_again_what_runs(&mut self) {
        let runs = |place: &Place| matches!(place, Place::Running { .. } | Place::Terminating { .. });
        self.newly_started = self.ledger.iter().filter(|(_, entry)| runs(&entry.place)).map(|(key, _)| key).collect();
    }

    /// Revoked attempts that still die are left out of `all`: there is nothing to reassert.
    pub(super) fn inventory(&self) -> Inventory {
        let mut inventory = Inventory::default();
        for (key, entry) in self.ledger.iter() {
            match entry.place {
                Place::Settling | Place::Terminating { cause: Cause::Revoked, .. } => {
                    inventory.settling.insert(Arc::clone(&entry.claim.line));
                }
                Place::Held { .. }
                | Place::Queued { .. }
                | Place::Starting { .. }
                | Place::Running { .. }
                | Place::Terminating { .. } => {
                    inventory.all.push((key, entry.claim.clone(), *entry.task.demand()));
                }
            }
        }
        inventory
    }

    pub(super) fn reasserted(&mut self, known: Vec<(TaskKey, Reasserted)>, unknown: Vec<Claim>) {
        let mut to_end = Vec::new();
        for (key, answer) in known {
            if answer != Reasserted::NotOurs {
                continue;
            }
            let Some(entry) = self.ledger.get(key) else { continue };
            tracing::warn!(task = %entry.task.id(), "dropped: the claim is no longer ours");
            self.meters.fenced += 1;
            if matches!(entry.place, Place::Held { .. }) {
                self.ledger.remove(key);
            } else {
                to_end.push(key);
            }
        }
        self.end_each(to_end, Cause::Revoked);
        let now = Instant::now();
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
                Err(_) => self.take_in(now, claim),
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
