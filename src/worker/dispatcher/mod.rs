//! Decides everything a worker does: `handle(now, event)` is synchronous and does no IO; what is to be done comes out as [`Action`]s.
//!
//! Two invariants hold after every event (`Ledger::is_consistent`, asserted in debug builds):
//! every claim is in exactly one place (held, starting, running, terminating, being settled), and the live reservations add up to what the budget says
//! is in use.

mod claiming;
mod figures;
mod leaving;
mod linking;
mod queueing;
mod running;
#[cfg(test)]
mod tests;
mod trouble;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use trouble::Trouble;

use super::events::{Action, Event, TaskKey};
use super::ledger::Ledger;
use super::outcome::Context;
use crate::config::Config;
use crate::model::meters::Meters;
use crate::model::{Bytes, FieldOrder, NodeSample, ResourceKind, Room, WorkerName};
use crate::policy::{Capacity, Lifecycle, Limits, Polling, Wait, admission, prefetch};
use crate::queue::session::{Heartbeat, QueueState, Revoked};

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
    /// Settlements under way for lines that never were entries.
    rejecting: usize,
    /// What goes back unstarted, until Redis has it: a claim that came before it would bring what comes after it.
    returning: Vec<TaskKey>,
    node: Option<NodeSample>,
    /// What the node could give to one task.
    capacity: Capacity,
    lifecycle: Lifecycle,
    /// The queue has another field order: its lines are not this worker's to read.
    other_order: bool,
    /// An operator has drained this worker; else, where it is finishing, the stop command is there.
    is_drained: bool,
    /// Nothing is left to finish, and it waits for an operator to lift what stopped it.
    is_waiting_idle: bool,
    drain_until: Option<Instant>,
    polling: Polling,
    pace: prefetch::CompletionRate,
    is_claiming: Option<Asked>,
    claims_made: u64,
    /// Woken while a claim was under way: its answer may be older than what there is now.
    woken_since: bool,
    /// Redis knows that this worker has room: the last claim for free slots brought less than was asked for.
    is_listed_idle: bool,
    /// Whether a claim was made since the last settlement.
    has_asked_since: bool,
    is_linked: bool,
    /// When the heartbeat was made that Redis took last: the lease runs from there.
    leased_since: Instant,
    /// How long the machine has been asleep since then.
    asleep: Duration,
    /// When the heartbeat was made that is under way.
    beat_made: Option<Instant>,
    trouble: Trouble,
    pause_until: Option<Instant>,
    /// When a task was last told to start.
    last_start: Option<Instant>,
    last: Option<LastClaim>,
    newly_started: Vec<TaskKey>,
    /// A heartbeat that waits for the first look at the node.
    first_beat: Option<oneshot::Sender<Heartbeat>>,
    stopped: Vec<Revoked>,
    /// An order is about a claim whose answer, or settlement, is on its way: Redis is asked again when that has come.
    owes_look: bool,
    skip: HashMap<Arc<str>, Skip>,
    meters: Meters,
    is_exiting: bool,
    /// It goes because Redis has been of no use for so long, and not because all is done.
    given_up: Option<Duration>,
    /// When the last event was handled.
    seen: Instant,
    actions: Vec<Action>,
}

/// A claim that is under way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    slots: u32,
    ahead: u32,
    since: Instant,
}

/// What the last claim's answer said of the queue.
#[derive(Clone, Debug)]
struct LastClaim {
    waiting: u64,
    indexed: u64,
    has_leftovers: bool,
    reserved: Option<String>,
    state: QueueState,
    got: usize,
}

impl Dispatcher {
    /// A worker that has attached and knows nothing of its node yet.
    #[must_use]
    pub fn new(me: Identity, config: Arc<Config>) -> Self {
        Self {
            me,
            config,
            ledger: Ledger::default(),
            rejecting: 0,
            returning: Vec::new(),
            node: None,
            capacity: Capacity::default(),
            lifecycle: Lifecycle::Open,
            other_order: false,
            is_drained: false,
            is_waiting_idle: false,
            drain_until: None,
            polling: Polling::default(),
            pace: prefetch::CompletionRate::default(),
            is_claiming: None,
            claims_made: 0,
            woken_since: false,
            is_listed_idle: false,
            has_asked_since: false,
            is_linked: true,
            leased_since: Instant::now(),
            asleep: Duration::ZERO,
            beat_made: None,
            trouble: Trouble::default(),
            pause_until: None,
            last_start: None,
            last: None,
            newly_started: Vec::new(),
            first_beat: None,
            stopped: Vec::new(),
            owes_look: false,
            skip: HashMap::new(),
            meters: Meters::default(),
            is_exiting: false,
            given_up: None,
            seen: Instant::now(),
            actions: Vec::new(),
        }
    }

    /// Takes in one event and says what to do about it.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match event {
            Event::Sampled(sample) => {
                self.ledger.sample(&sample.touched);
                self.node = Some(sample.node);
                self.measure_capacity(now);
                self.relieve_memory();
                if self.admits_nothing() {
                    self.recall_all();
                }
                if let Some(reply) = self.first_beat.take() {
                    self.beat_made = Some(now);
                    let _ = reply.send(self.beat());
                }
            }
            Event::Claimed(reply) => self.claimed(now, reply),
            Event::ClaimFailed { is_refused } => {
                self.is_claiming = None;
                self.meters.claims_failed += 1;
                self.look_again();
                if is_refused {
                    self.trouble.claims_refused.get_or_insert(now);
                }
            }
            Event::ReportRefused => {
                self.trouble.reports_refused.get_or_insert(now);
            }
            Event::Started { key, keeper } => self.started(now, key, keeper),
            Event::Withdrawn { key } => self.withdrawn(now, key),
            Event::SpawnFailed { key, error, is_ours } => self.spawn_failed(now, key, &error, is_ours),
            Event::Ended { key, ended } => self.ended(now, key, &ended),
            Event::KeeperLost { key, had_it } => self.keeper_lost(key, had_it),
            Event::Overdue(key) => self.overdue(key),
            Event::Settled(batch) => self.settled(batch),
            // A first heartbeat with no figures would show a node of no cores and no memory.
            Event::BeatDue(reply) if self.node.is_none() => self.first_beat = Some(reply),
            Event::BeatDue(reply) => {
                self.beat_made = Some(now);
                // The heartbeater may have given up waiting.
                let _ = reply.send(self.beat());
            }
            Event::Beaten(reply) => self.beaten(reply),
            Event::Woken => {
                self.woken_since = true;
                self.is_listed_idle = false;
                self.polling.wake();
                if self.lifecycle == Lifecycle::Finishing {
                    // The stop command may have been lifted.
                    self.actions.push(Action::Beat);
                }
            }
            Event::OutputWanted(request) => self.output_wanted(request),
            Event::Tick => {}
            Event::Slept(time) => self.slept(time),
            Event::Terminate => self.terminate_signal(now),
            Event::Reconfigured(config) => {
                self.config = config;
                self.recall_all();
                self.me.warn_of_slots(&self.config);
                self.polling.wake();
            }
            Event::LinkDown => {
                self.is_linked = false;
                self.trouble.unlinked = Some(now);
                self.recall_all();
            }
            Event::Inventory(reply) => {
                let _ = reply.send(self.inventory());
            }
            Event::Reasserted { known, unknown } => self.reasserted(known, unknown),
            Event::LinkUp => {
                if !self.is_linked {
                    self.meters.reconnects += 1;
                }
                self.is_linked = true;
                // To attach renews the heartbeat.
                (self.leased_since, self.asleep) = (now, Duration::ZERO);
                self.beat_made = None;
                self.trouble.unlinked = None;
                self.is_claiming = None;
                self.is_listed_idle = false;
                self.say_again_what_runs();
                // Orders may have come while nobody listened.
                self.actions.push(Action::Beat);
                self.polling.wake();
            }
            // Whoever asked may have given up waiting.
            Event::FiguresDue(reply) => drop(reply.send(self.figures())),
        }
        self.advance(now);
        self.seen = now;
        debug_assert!(self.ledger.is_consistent());
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::Tick`] is wanted, at the latest. A moment that has passed was acted upon, or waits for another event (a slot, memory, Redis):
    /// it is never asked for again, which would turn the worker into a busy loop.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let poll = if self.wants_claim() { self.polling.next() } else { None };
        let held = self.ledger.held().next().map(|key| self.held_until(key));
        let leave = self.gives_up_at();
        [poll, held, self.queued_until(), leave, self.drain_until, self.pause_until, self.next_start()]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.seen)
            .min()
    }

    /// How many lines of the queue were found not to be in the index by the last claim.
    #[must_use]
    pub fn index_gap(&self) -> Option<(u64, u64)> {
        self.last.as_ref().map(|last| (last.waiting, last.indexed))
    }

    fn context(&self) -> Context<'_> {
        Context {
            worker: &self.me.worker,
            host: &self.me.host,
            backoff: self.config.retry_backoff,
            jitter: crate::sys::random::fraction(),
        }
    }

    fn slots(&self) -> u32 {
        self.config.max_tasks.min(self.me.most_slots)
    }

    fn limits(&self) -> Limits {
        Limits { slots: self.slots(), accept: self.config.accept(), trigger: self.config.min_dram_trigger }
    }

    fn headroom(&self) -> Result<Room, Wait> {
        let Some(node) = &self.node else { return Err(Wait::Below(ResourceKind::Memory)) };
        admission::headroom(&self.limits(), node, &self.ledger.budget())
    }

    /// What follows from the state, whatever happened.
    fn advance(&mut self, now: Instant) {
        if self.pause_until.is_some_and(|until| until <= now) {
            self.pause_until = None;
        }
        if self.lifecycle.is_open() {
            self.start_held(now);
            self.queue_ahead(now);
            self.return_stuck(now);
            self.claim(now);
        }
        self.leave(now);
    }
}
