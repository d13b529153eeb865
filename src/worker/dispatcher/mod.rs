//! Decides everything a worker does: `handle(moment, event)` is synchronous and does no IO; all that is to be done comes out in one [`Decision`]. It reads
//! no clock and draws no random numbers: both come with the event.
//!
//! Two invariants hold after every event (`Ledger::is_consistent`, asserted in debug builds):
//! every claim is in exactly one place (held, starting, running, terminating, being settled), and the live reservations add up to what the budget says
//! is in use.
//!
//! Besides the ledger it has four state machines: `lease` (is what was claimed still ours), `intake` (asking for tasks), `departure` (the way out) and
//! `outbox` (what Redis has yet to hear).
#![deny(clippy::disallowed_methods)]

mod claiming;
mod decision;
mod departure;
mod figures;
mod intake;
mod lease;
mod leaving;
mod linking;
mod outbox;
mod queueing;
mod running;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs a moment to begin with")]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

pub use decision::{Decision, Reply};
use departure::Departure;
use intake::Intake;
use lease::Lease;
use outbox::Outbox;

use super::events::{Action, Event, Moment, Sample};
use super::ledger::Ledger;
use super::outcome::Context;
use super::placement::Placement;
use crate::config::Config;
use crate::model::meters::Meters;
use crate::model::{Bytes, FieldOrder, NodeSample, Room, WorkerName};
use crate::policy::{Capacity, Lifecycle, Limits, MemoryRetry, Wait, admission, prefetch};

/// What does not change while the worker runs.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub worker: WorkerName,
    /// Its host, for the place of files.
    pub host: String,
    /// Random identity of the process.
    pub instance: String,
    /// The field order of the queue.
    pub order: FieldOrder,
    /// Exit when nothing is left that this node could run.
    pub is_burst: bool,
    /// What the limit of open files allows, whatever the configuration says.
    pub most_slots: u32,
    /// Only signed tasks are run.
    pub wants_signatures: bool,
    /// Something starts it again when it exits: drained or stopped it waits, and does not go.
    pub is_supervised: bool,
}

impl Identity {
    /// Says so when there are fewer slots than the configuration wants.
    pub fn warn_of_slots(&self, config: &Config) {
        if config.max_tasks > self.most_slots {
            tracing::warn!(
                wanted = config.max_tasks,
                slots = self.most_slots,
                "the limit of open files is too low for max_task_per_worker: using fewer slots; raise the limit (`ulimit -n`, LimitNOFILE=)"
            );
        }
    }
}

/// Why a line is passed over when claiming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    /// Given back for memory when it had reached this much.
    Memory(Bytes),
    /// An attempt of it that is no longer ours is still being killed here.
    Dying,
}

/// The state of a worker.
#[derive(Debug)]
pub struct Dispatcher {
    me: Identity,
    config: Arc<Config>,
    ledger: Ledger,
    lease: Lease,
    intake: Intake,
    departure: Departure,
    /// Since when nothing was here to run.
    idle_since: Option<Instant>,
    outbox: Outbox,
    node: NodeSample,
    /// What the node could give to one task.
    capacity: Capacity,
    completion_rate: prefetch::CompletionRate,
    placement: Placement,
    round_trip: prefetch::RoundTrip,
    skip: HashMap<Arc<str>, Skip>,
    meters: Meters,
    /// Of the event that is being handled.
    moment: Moment,
    /// What has been decided of it so far.
    actions: Vec<Action>,
    replies: Vec<Reply>,
}

impl Dispatcher {
    /// A worker that has attached, on a node that was looked at.
    #[must_use]
    pub fn new(moment: Moment, me: Identity, config: Arc<Config>, node: NodeSample) -> Self {
        Self {
            me,
            config,
            ledger: Ledger::default(),
            lease: Lease::new(moment.now),
            intake: Intake::default(),
            departure: Departure::default(),
            idle_since: None,
            outbox: Outbox::default(),
            node,
            capacity: Capacity::default(),
            completion_rate: prefetch::CompletionRate::default(),
            placement: Placement::default(),
            round_trip: prefetch::RoundTrip::default(),
            skip: HashMap::new(),
            meters: Meters::default(),
            moment,
            actions: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// With the devices and cores of its node; without them no task is given any.
    #[must_use]
    pub fn with_placement(self, placement: Placement) -> Self {
        Self { placement, ..self }
    }

    /// Claims nothing before the first heartbeat is answered: a worker that is started again may be a suspect.
    #[must_use]
    pub fn awaiting_judgement(mut self) -> Self {
        self.intake.await_judgement();
        self
    }

    /// Takes in one event and says what to do about it.
    pub fn handle(&mut self, moment: Moment, event: Event) -> Decision {
        let now = moment.now;
        self.moment = moment;
        let is_claim = matches!(event, Event::Claimed(_));
        self.take_in_event(now, event);
        self.advance(now);
        debug_assert!(self.ledger.is_consistent() && self.placement.is_consistent());
        let coalesce = self.coalesce(now);
        Decision {
            actions: std::mem::take(&mut self.actions),
            replies: std::mem::take(&mut self.replies),
            next_tick: self.next_tick(),
            coalesce,
            prefetches: self.prefetches(now),
            index_gap: self.intake.index_gap().filter(|_| is_claim),
        }
    }

    fn take_in_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Sampled(sample) => self.sampled(now, &sample),
            Event::Claimed(reply) => self.claimed(now, reply),
            Event::ClaimFailed { is_refused } => {
                self.intake.failed(now, is_refused);
                self.meters.claims_failed += 1;
                self.look_again();
            }
            Event::ReportRefused => self.outbox.refused(now),
            Event::Started { key, keeper } => self.started(now, key, keeper),
            Event::Recalled { key } => self.withdrawn(now, key),
            Event::SpawnFailed { key, error, is_node_fault } => self.spawn_failed(now, key, &error, is_node_fault),
            Event::DeviceBusy { key, resource, device } => self.device_busy(key, &resource, &device),
            Event::Ended { key, ended } => self.ended(now, key, &ended),
            Event::KeeperLost { key, had_it } => self.keeper_lost(key, had_it),
            Event::Overdue(key) => self.overdue(key),
            Event::Settled(batch) => self.settled(batch),
            Event::HeartbeatDue(to) => {
                self.lease.heartbeat_made(now);
                let heartbeat = Box::new(self.heartbeat(now));
                self.replies.push(Reply::Heartbeat(to, heartbeat));
            }
            Event::HeartbeatAnswered(reply) => self.heartbeat_answered(reply),
            Event::Woken => {
                self.intake.woken();
                if self.departure.lifecycle() == Lifecycle::Finishing {
                    // The stop command may have been lifted.
                    self.actions.push(Action::Heartbeat);
                }
            }
            Event::OutputWanted(request) => self.output_wanted(request),
            Event::Tick => {}
            Event::Slept(time) => self.slept(time),
            Event::Terminate => self.terminate_signal(now),
            Event::Expiring { left } => self.expire(now, left),
            Event::Reconfigured(config) => {
                self.config = config;
                self.placement.reconfigure(&self.config);
                self.recall_all();
                self.me.warn_of_slots(&self.config);
                self.intake.hurry();
            }
            Event::LinkDown => {
                self.lease.unlink(now);
                self.recall_all();
            }
            Event::Inventory(to) => {
                let inventory = self.inventory();
                self.replies.push(Reply::Inventory(to, inventory));
            }
            Event::Reasserted { known, unknown } => self.reasserted(now, known, unknown),
            Event::LinkUp => self.linked(now),
            Event::FiguresDue(to) => {
                let figures = Box::new(self.figures());
                self.replies.push(Reply::Figures(to, figures));
            }
        }
    }

    fn sampled(&mut self, now: Instant, sample: &Sample) {
        self.ledger.sample(&sample.touched);
        self.placement.observe(&sample.devices);
        self.node = sample.node;
        self.measure_capacity(now);
        self.relieve_memory();
        if self.admits_nothing() {
            self.recall_all();
        }
    }

    /// A moment that has passed was acted upon, or waits for another event (a slot, memory, Redis): it is never asked for again, which would turn the
    /// worker into a busy loop.
    fn next_tick(&self) -> Option<Instant> {
        let poll = if self.wants_claim() { self.intake.due_at() } else { None };
        let held = self.ledger.held().next().and_then(|key| self.held_until(key));
        let spaced = self.intake.next_start(self.config.min_between_starts);
        let (drain, pause) = (self.departure.drain_until(), self.intake.pause_until());
        [poll, held, self.queued_until(), self.gives_up_at(), self.idle_until(), drain, pause, spaced]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.moment.now)
            .min()
    }

    fn context(&self) -> Context<'_> {
        Context {
            worker: &self.me.worker,
            host: &self.me.host,
            backoff: self.config.retry_backoff,
            jitter: self.moment.jitter,
            enforces_memory: self.config.confine.enforce_memory,
            memory_retry: MemoryRetry {
                factor_milli: self.config.retry_memory_factor,
                most: self.config.retry_memory_max,
            },
            node_mem: self.capacity.offer(self.moment.now).map_or(self.node.total, |offer| offer.amounts).mem(),
        }
    }

    fn slots(&self) -> u32 {
        self.config.max_tasks.min(self.me.most_slots)
    }

    fn limits(&self) -> Limits {
        Limits { slots: self.slots(), accept: self.config.accept(), trigger: self.config.min_dram_trigger }
    }

    fn headroom(&self) -> Result<Room, Wait> {
        admission::headroom(&self.limits(), &self.node, &self.ledger.budget())
    }

    /// What follows from the state, whatever happened.
    fn advance(&mut self, now: Instant) {
        self.intake.end_pause(now);
        self.placement.release_all_but(|key| self.ledger.get(key).is_some_and(|entry| entry.state.slot().is_some()));
        self.move_shared();
        if self.departure.is_open() {
            self.start_held(now);
            self.fill_pipelines(now);
            self.return_stuck(now);
            self.claim(now);
        }
        self.leave(now);
    }
}
