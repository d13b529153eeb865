//! Decides everything a worker does: `handle(now, event)` is synchronous and does no IO; what is to be done comes out as [`Action`]s.
//!
//! Two invariants hold after every event (`assert_consistent`, in tests and debug builds):
//! every claim is in exactly one place (held, starting, running, terminating, being settled), and the live reservations add up to what the budget says
//! is in use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::events::{Action, Event, Inventory, TaskKey};
use super::ledger::{Cause, Ledger, Place};
use super::outcome::{self, Context};
use crate::config::{Config, Prefetch};
use crate::model::snapshot::WorkerLoad;
use crate::model::{Bytes, FieldOrder, MilliCores, TaskLine, WorkerName};
use crate::policy::{Headroom, Lifecycle, Limits, NodeSample, Polling, Wait, admission, prefetch};
use crate::process::Ended;
use crate::queue::session::{Beat, BeatReply, Claim, ClaimReply, ClaimRequest, Demand, QueueState, Reasserted, STARVE, Settle, Settled};

/// A task claimed ahead is given back when there is a slot and it has not fitted for this long.
const HELD_AT_MOST: Duration = Duration::from_secs(1);

/// The most tasks one claim starts.
const CLAIM_AT_MOST: u32 = 256;

/// The most lines remembered as given back for memory.
const REMEMBERED: usize = 64;

/// After a fork that failed for want of processes, descriptors or memory: how long nothing new is claimed.
const SPAWN_PAUSE: Duration = Duration::from_secs(2);

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
    node: Option<NodeSample>,
    lifecycle: Lifecycle,
    drain_until: Option<Instant>,
    polling: Polling,
    pace: prefetch::Pace,
    is_claiming: Option<(u32, Instant)>,
    claims_made: u64,
    is_linked: bool,
    pause_until: Option<Instant>,
    last: Option<LastClaim>,
    newly_started: Vec<TaskKey>,
    stopped: Vec<String>,
    skip: HashMap<Arc<str>, Skip>,
    fenced: u64,
    reconnects: u64,
    is_exiting: bool,
    actions: Vec<Action>,
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
            node: None,
            lifecycle: Lifecycle::Open,
            drain_until: None,
            polling: Polling::default(),
            pace: prefetch::Pace::default(),
            is_claiming: None,
            claims_made: 0,
            is_linked: true,
            pause_until: None,
            last: None,
            newly_started: Vec::new(),
            stopped: Vec::new(),
            skip: HashMap::new(),
            fenced: 0,
            reconnects: 0,
            is_exiting: false,
            actions: Vec::new(),
        }
    }

    /// Takes in one event and says what to do about it.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match event {
            Event::Sampled(sample) => {
                self.ledger.sample(&sample.touched);
                self.node = Some(sample.node);
                self.relieve_memory();
            }
            Event::Claimed(reply) => self.claimed(now, reply),
            Event::ClaimFailed => self.is_claiming = None,
            Event::Started { key, keeper } => self.started(now, key, keeper),
            Event::SpawnFailed { key, error, is_ours } => self.spawn_failed(now, key, &error, is_ours),
            Event::Ended { key, ended } => self.ended(now, key, &ended),
            Event::KeeperLost { key } => self.keeper_lost(key),
            Event::Overdue(key) => self.overdue(key),
            Event::Settled(batch) => self.settled(batch),
            Event::BeatDue(reply) => {
                // The heartbeater may have given up waiting.
                let _ = reply.send(self.beat());
            }
            Event::Beaten(reply) => self.beaten(now, reply),
            Event::Woken => self.polling.wake(),
            Event::Tick => {}
            Event::Terminate => self.terminate_signal(now),
            Event::Reconfigured(config) => {
                self.config = config;
                self.polling.wake();
            }
            Event::LinkDown => self.is_linked = false,
            Event::Inventory(reply) => {
                let _ = reply.send(self.inventory());
            }
            Event::Reasserted { known, unknown } => self.reasserted(known, unknown),
            Event::LinkUp => {
                if !self.is_linked {
                    self.reconnects += 1;
                }
                self.is_linked = true;
                self.is_claiming = None;
                self.polling.wake();
            }
        }
        self.advance(now);
        debug_assert!(self.ledger.is_consistent());
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::Tick`] is wanted, at the latest.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let poll = if self.wants_claim() { self.polling.next() } else { None };
        let held = self.ledger.held().next().map(|key| self.held_until(key));
        [poll, held, self.drain_until, self.pause_until].into_iter().flatten().min()
    }

    /// How many lines of the queue were found not to be in the index by the last claim.
    #[must_use]
    pub fn index_gap(&self) -> Option<(u64, u64)> {
        self.last.as_ref().map(|last| (last.waiting, last.indexed))
    }

    /// How many claims were made so far; an audit that spans none may trust what it sees.
    #[must_use]
    pub fn claims_made(&self) -> u64 {
        self.claims_made
    }

    fn context(&self) -> Context<'_> {
        Context { worker: &self.me.worker, host: &self.me.host, backoff: self.config.retry_backoff, jitter: jitter() }
    }

    fn limits(&self) -> Limits {
        Limits {
            slots: self.config.max_tasks,
            accept: self.config.min_dram_accept,
            trigger: self.config.min_dram_trigger,
            min_free_cores: self.config.min_free_cores,
        }
    }

    fn headroom(&self) -> Result<Headroom, Wait> {
        let Some(node) = &self.node else { return Err(Wait::Memory) };
        admission::headroom(&self.limits(), node, &self.ledger.budget())
    }

    fn capacity(&self) -> Option<Demand> {
        let node = self.node.as_ref()?;
        Some(Demand { mem: node.mem_total, cpu: node.cores_total })
    }

    // ---- what runs ----

    fn claimed(&mut self, now: Instant, reply: ClaimReply) {
        let asked = self.is_claiming.take().map_or(0, |(asked, _)| asked) as usize;
        let got = reply.claims.len();
        let timer = reply.next_timer.map(|wait| now + wait);
        if got >= asked && got > 0 {
            self.polling.found_all();
        } else {
            let fixed = (!self.config.auto_sleep).then_some(self.config.poll_interval);
            self.polling.found_less(now, got > 0, fixed, timer);
        }
        self.last = Some(LastClaim {
            waiting: reply.waiting,
            indexed: reply.indexed,
            has_leftovers: reply.has_leftovers,
            reserved: reply.reserved,
            state: reply.state,
            got,
        });
        if matches!(reply.state, QueueState::Stopping | QueueState::Draining) && self.lifecycle.is_open() {
            tracing::info!(state = ?reply.state, "taking nothing more: asked to stop");
            self.lifecycle = Lifecycle::Finishing;
        }
        for claim in reply.claims {
            self.take_in(now, claim);
        }
    }

    fn take_in(&mut self, now: Instant, claim: Claim) {
        self.skip.remove(&claim.line);
        if let Some((key, entry)) = self.ledger.active(&claim.line) {
            if matches!(entry.place, Place::Terminating { cause: Cause::Revoked, .. }) {
                // The attempt that was taken from us still dies: give this one back until it has.
                self.skip.insert(Arc::clone(&claim.line), Skip::Dying);
                if let Ok(task) = TaskLine::parse(&claim.line, self.me.order) {
                    let key = self.ledger.hold(claim, task, now);
                    self.give_back_unstarted(key);
                }
            } else {
                self.ledger.retoken(key, claim.token);
            }
            return;
        }
        match TaskLine::parse(&claim.line, self.me.order) {
            Ok(task) => {
                self.ledger.hold(claim, task, now);
            }
            Err(problem) => {
                let key = self.ledger.next_key();
                self.rejecting += 1;
                let settle = outcome::settle_invalid(claim.line, claim.token, &problem.to_string());
                self.actions.push(Action::Settle(key, Box::new(settle)));
            }
        }
    }

    /// Starts what is held and fits, best first.
    fn start_held(&mut self) {
        let held: Vec<TaskKey> = self.ledger.held().collect();
        for key in held {
            let Ok(room) = self.headroom() else { return };
            let Some(entry) = self.ledger.get(key) else { continue };
            if room.fits(entry.task.mem(), entry.task.cpu()) {
                let (task, attempt) = (entry.task.clone(), entry.claim.attempt);
                tracing::debug!(task = %task.id(), attempt, line = task.as_str(), "starting");
                self.ledger.place(key, Place::Starting);
                self.actions.push(Action::Start { key, task, attempt });
            }
        }
    }

    fn started(&mut self, now: Instant, key: TaskKey, keeper: u32) {
        let Some(entry) = self.ledger.get(key) else { return };
        if entry.place != Place::Starting {
            return;
        }
        let limit = match entry.task.timeout() {
            Some(limit) => limit,
            None => self.config.default_timeout.map_or(0, |limit| limit.as_secs()),
        };
        self.ledger.place(key, Place::Running { keeper, since: now, touched: Bytes::ZERO });
        self.newly_started.push(key);
        if limit > 0 {
            self.actions.push(Action::Arm { key, limit });
        }
    }

    fn spawn_failed(&mut self, now: Instant, key: TaskKey, error: &str, is_ours: bool) {
        let Some(entry) = self.ledger.get(key) else { return };
        tracing::warn!(task = %entry.task.id(), error, "could not start");
        if is_ours {
            self.pause_until = Some(now + SPAWN_PAUSE);
            self.give_back_unstarted(key);
        } else {
            let settle = outcome::settle_unspawnable(self.context(), entry, error, unix_ms());
            self.settle(key, settle);
        }
    }

    fn ended(&mut self, now: Instant, key: TaskKey, ended: &Ended) {
        self.pace.ended(now);
        if self.last.as_ref().is_some_and(|last| last.waiting > 0) {
            self.polling.wake();
        }
        self.actions.push(Action::Disarm(key));
        let Some(entry) = self.ledger.get(key) else { return };
        let (cause, touched) = match entry.place {
            Place::Terminating { cause, touched } => (Some(cause), touched),
            Place::Held { .. } | Place::Starting | Place::Running { .. } | Place::Settling => (None, Bytes::ZERO),
        };
        if ended.unkillable {
            tracing::error!(task = %entry.task.id(), "a process of the task does not die by SIGKILL; it waits in the kernel");
        }
        if cause == Some(Cause::Revoked) {
            tracing::info!(task = %entry.task.id(), "killed: the claim is no longer ours");
            let line = Arc::clone(&entry.claim.line);
            self.drop_revoked(key, &line);
            return;
        }
        if cause == Some(Cause::LowMemory { alone: false }) {
            let peak = touched.max(Bytes(ended.peak_bytes));
            if self.skip.len() < REMEMBERED {
                self.skip.insert(Arc::clone(&entry.claim.line), Skip::Memory(peak));
            }
        }
        let settle = outcome::settle_ended(self.context(), entry, cause, ended);
        tracing::info!(
            task = %settle.id,
            attempt = entry.claim.attempt,
            seconds = ended.duration.as_secs_f64(),
            result = %describe(&settle),
            "ended"
        );
        self.settle(key, settle);
    }

    fn keeper_lost(&mut self, key: TaskKey) {
        self.actions.push(Action::Disarm(key));
        let Some(entry) = self.ledger.get(key) else { return };
        tracing::error!(task = %entry.task.id(), "its keeper died and its tree was killed; it goes back");
        if matches!(entry.place, Place::Terminating { cause: Cause::Revoked, .. }) {
            let line = Arc::clone(&entry.claim.line);
            self.drop_revoked(key, &line);
        } else {
            self.give_back_unstarted(key);
        }
    }

    fn overdue(&mut self, key: TaskKey) {
        let Some(entry) = self.ledger.get(key) else { return };
        let limit = entry.task.timeout().or(self.config.default_timeout.map(|limit| limit.as_secs())).unwrap_or(0);
        tracing::warn!(task = %entry.task.id(), limit, "timed out; terminating its tree");
        self.end_early(key, Cause::TimedOut(limit));
    }

    /// Ends a running task: at once for memory and on the second signal, else with its grace.
    fn end_early(&mut self, key: TaskKey, cause: Cause) {
        let Some(entry) = self.ledger.get(key) else { return };
        let (old, touched) = match entry.place {
            Place::Starting => (None, Bytes::ZERO),
            Place::Running { touched, .. } => (None, touched),
            Place::Terminating { cause, touched } => (Some(cause), touched),
            Place::Held { .. } | Place::Settling => return,
        };
        let cause = old.map_or(cause, |old| old.max(cause));
        self.ledger.place(key, Place::Terminating { cause, touched });
        let at_once = matches!(cause, Cause::LowMemory { .. }) || self.lifecycle == Lifecycle::Killing;
        self.actions.push(if at_once { Action::Kill(key) } else { Action::Terminate(key) });
    }

    /// One task a check: the newest is killed and given back while free memory is below the trigger.
    fn relieve_memory(&mut self) {
        let Some(node) = self.node else { return };
        if node.mem_free >= self.limits().trigger {
            return;
        }
        let is_relieving = |place: &Place| matches!(place, Place::Terminating { cause: Cause::LowMemory { .. }, .. });
        if self.ledger.iter().any(|(_, entry)| is_relieving(&entry.place)) {
            return;
        }
        let Some(key) = self.ledger.newest_running() else { return };
        let alone = self.ledger.budget().tasks == 1;
        if let Some(entry) = self.ledger.get(key) {
            tracing::warn!(task = %entry.task.id(), free = %node.mem_free, alone, "memory is low; taking the newest task back");
        }
        self.end_early(key, Cause::LowMemory { alone });
    }

    // ---- what is over ----

    fn settle(&mut self, key: TaskKey, settle: Settle) {
        self.ledger.place(key, Place::Settling);
        self.actions.push(Action::Settle(key, Box::new(settle)));
    }

    fn give_back_unstarted(&mut self, key: TaskKey) {
        if let Some(entry) = self.ledger.get(key) {
            let settle = outcome::settle_unstarted(entry);
            self.settle(key, settle);
        }
    }

    fn drop_revoked(&mut self, key: TaskKey, line: &Arc<str>) {
        self.ledger.remove(key);
        self.skip.remove(line);
        self.stopped.push(line.to_string());
        self.actions.push(Action::Beat);
    }

    fn settled(&mut self, batch: Vec<(TaskKey, Settled)>) {
        for (key, settled) in batch {
            match self.ledger.remove(key) {
                Some(entry) => match settled {
                    Settled::Lost | Settled::Gone => {
                        self.fenced += 1;
                        tracing::warn!(task = %entry.task.id(), ?settled, "late result refused: the claim was no longer ours");
                    }
                    Settled::OutOfRetries => tracing::warn!(task = %entry.task.id(), "out of retries"),
                    Settled::Recorded | Settled::WillRetry | Settled::Duplicate => {}
                },
                None => self.rejecting = self.rejecting.saturating_sub(1),
            }
        }
    }

    // ---- heartbeat and link ----

    fn beat(&mut self) -> Beat {
        let node = self.node.unwrap_or_default();
        let used = node.mem_total.saturating_sub(node.mem_free);
        let budget = self.ledger.budget();
        let load = WorkerLoad {
            running: budget.tasks,
            slots: self.config.max_tasks,
            held: u32::try_from(self.ledger.held().len()).unwrap_or(u32::MAX),
            waiting: self.waiting_for(),
            reserved: self.last.as_ref().and_then(|last| last.reserved.clone()),
            fenced: self.fenced,
            reconnects: self.reconnects,
        };
        let started = self
            .newly_started
            .drain(..)
            .filter_map(|key| self.ledger.get(key))
            .filter(|entry| entry.place != Place::Settling)
            .map(|entry| Arc::clone(&entry.claim.line))
            .collect();
        Beat {
            status: format!(
                "{:.2}:{:.2}:{:.2}:{:.2}",
                node.cores_used.as_cores(),
                node.cores_total.as_cores(),
                used.as_gib(),
                node.mem_total.as_gib()
            ),
            load: serde_json::to_string(&load).unwrap_or_default(),
            capacity: self.capacity().filter(|_| self.lifecycle.is_open()),
            started,
            stopped: self.stopped.clone(),
        }
    }

    fn waiting_for(&self) -> Option<String> {
        if self.lifecycle != Lifecycle::Open {
            return Some("draining".to_owned());
        }
        match self.last.as_ref().map(|last| last.state) {
            Some(QueueState::Paused) => return Some("the queue is paused".to_owned()),
            Some(QueueState::Stopping) => return Some("the stop command is there".to_owned()),
            Some(QueueState::Open | QueueState::Draining) | None => {}
        }
        self.headroom().err().map(|wait| wait.as_str().to_owned())
    }

    fn beaten(&mut self, now: Instant, reply: BeatReply) {
        // What was sent as carried out is no longer listed; what is still listed has yet to be.
        self.stopped.retain(|line| reply.revoked.contains(line));
        if (reply.drain || reply.stop) && self.lifecycle.is_open() {
            tracing::info!(drain = reply.drain, stop = reply.stop, "taking nothing more: asked to stop");
            self.lifecycle = Lifecycle::Finishing;
            self.polling = Polling::default();
        }
        let _ = now;
        for line in reply.revoked {
            match self.ledger.active(&line).map(|(key, entry)| (key, entry.place.clone())) {
                Some((key, Place::Held { .. })) => {
                    let line: Arc<str> = line.into();
                    self.drop_revoked(key, &line);
                }
                Some((key, Place::Starting | Place::Running { .. })) => self.end_early(key, Cause::Revoked),
                Some((key, Place::Terminating { cause, touched })) if cause != Cause::Revoked => {
                    self.ledger.place(key, Place::Terminating { cause: Cause::Revoked, touched });
                }
                Some((_, Place::Terminating { .. } | Place::Settling)) => {}
                None if self.stopped.contains(&line) => {}
                None => {
                    self.stopped.push(line);
                    self.actions.push(Action::Beat);
                }
            }
        }
    }

    /// Revoked attempts that still die are left out of `all`: there is nothing to reassert.
    fn inventory(&self) -> Inventory {
        let mut inventory = Inventory { claims_made: self.claims_made, ..Inventory::default() };
        for (key, entry) in self.ledger.iter() {
            match entry.place {
                Place::Settling | Place::Terminating { cause: Cause::Revoked, .. } => {
                    inventory.settling.insert(Arc::clone(&entry.claim.line));
                }
                Place::Held { .. } | Place::Starting | Place::Running { .. } | Place::Terminating { .. } => {
                    inventory.all.push((key, entry.claim.clone(), Demand::of(&entry.task)));
                }
            }
        }
        inventory
    }

    fn reasserted(&mut self, known: Vec<(TaskKey, Reasserted)>, unknown: Vec<Claim>) {
        for (key, answer) in known {
            if answer != Reasserted::NotOurs {
                continue;
            }
            let Some(entry) = self.ledger.get(key) else { continue };
            tracing::warn!(task = %entry.task.id(), "no longer ours: dropped");
            self.fenced += 1;
            if matches!(entry.place, Place::Held { .. }) {
                self.ledger.remove(key);
            } else {
                self.end_early(key, Cause::Revoked);
            }
        }
        let now = Instant::now();
        for claim in unknown {
            if self.ledger.active(&claim.line).is_some() {
                continue;
            }
            tracing::info!(line = %claim.line, "claimed by a call whose answer was lost; it goes back");
            match TaskLine::parse(&claim.line, self.me.order) {
                Ok(task) => {
                    let key = self.ledger.hold(claim, task, now);
                    self.give_back_unstarted(key);
                }
                Err(_) => self.take_in(now, claim),
            }
        }
    }

    // ---- the way out ----

    fn terminate_signal(&mut self, now: Instant) {
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

    fn end_all(&mut self) {
        let keys: Vec<TaskKey> = self.ledger.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.end_early(key, Cause::Shutdown);
        }
    }

    /// What follows from the state, whatever happened.
    fn advance(&mut self, now: Instant) {
        if self.drain_until.is_some_and(|until| until <= now) {
            self.drain_until = None;
            if self.lifecycle < Lifecycle::Returning {
                tracing::warn!("the drain time-out has passed: terminating what runs and giving it back");
                self.lifecycle = Lifecycle::Returning;
                self.end_all();
            }
        }
        if self.pause_until.is_some_and(|until| until <= now) {
            self.pause_until = None;
        }
        if self.lifecycle.is_open() {
            self.start_held();
            self.return_stuck(now);
            self.claim(now);
        } else {
            let held: Vec<TaskKey> = self.ledger.held().collect();
            for key in held {
                self.give_back_unstarted(key);
            }
        }
        if !self.is_exiting && self.ledger.is_empty() && self.rejecting == 0 && (!self.lifecycle.is_open() || self.is_burst_over()) {
            self.is_exiting = true;
            self.actions.push(Action::Exit);
        }
    }

    fn is_burst_over(&self) -> bool {
        let is_over = |last: &LastClaim| last.got == 0 && !last.has_leftovers && last.waiting == last.indexed && last.state == QueueState::Open;
        self.me.is_burst && self.is_claiming.is_none() && self.last.as_ref().is_some_and(is_over)
    }

    fn held_until(&self, key: TaskKey) -> Instant {
        match self.ledger.get(key).map(|entry| &entry.place) {
            Some(Place::Held { since }) => *since + HELD_AT_MOST,
            Some(Place::Starting | Place::Running { .. } | Place::Terminating { .. } | Place::Settling) | None => Instant::now(),
        }
    }

    /// Gives back what is held and does not fit although there is a slot.
    fn return_stuck(&mut self, now: Instant) {
        if matches!(self.headroom(), Err(Wait::Slots)) {
            return;
        }
        let stuck: Vec<TaskKey> = self.ledger.held().filter(|key| self.held_until(*key) <= now).collect();
        for key in stuck {
            self.give_back_unstarted(key);
        }
    }

    /// Whether a claim would be made if it were due.
    fn wants_claim(&self) -> bool {
        self.is_linked && self.is_claiming.is_none() && self.lifecycle.is_open() && self.pause_until.is_none() && self.node.is_some()
    }

    fn claim(&mut self, now: Instant) {
        if !self.wants_claim() {
            return;
        }
        let held = u32::try_from(self.ledger.held().len()).unwrap_or(u32::MAX);
        let (slots, room) = match self.headroom() {
            Ok(room) if held == 0 => (room.slots.min(CLAIM_AT_MOST), Some(room)),
            Ok(room) => (0, Some(room)),
            Err(Wait::Slots) => (0, None),
            Err(Wait::Memory | Wait::Cores) => return,
        };
        let ahead = self.ahead(now, held);
        let (slots, ahead) = if self.config.pipeline_batching { (slots, ahead) } else { (slots.min(1), 0) };
        if slots + ahead == 0 || !self.polling.is_due(now) {
            return;
        }
        let room = room.map_or(Demand { mem: Bytes::ZERO, cpu: MilliCores::ZERO }, |room| Demand { mem: room.mem, cpu: room.cpu });
        let (mem, cpu) = self.ledger.largest_running();
        let Some(capacity) = self.capacity() else { return };
        self.claims_made += 1;
        self.is_claiming = Some((slots + ahead, now));
        self.actions.push(Action::Claim(ClaimRequest {
            token: format!("{}.{}", self.me.instance, self.claims_made),
            slots,
            headroom: room,
            ahead,
            ahead_demand: Demand { mem: room.mem + mem, cpu: room.cpu + cpu },
            capacity,
            dead_after: self.config.dead_after,
            starve_after: STARVE,
            wants_leftovers: self.me.is_burst,
            skip: self.skipped(),
        }));
    }

    /// How many to claim ahead now. Asked for in gulps of at least half the target, so that a claim is worth its round trip.
    fn ahead(&mut self, now: Instant, held: u32) -> u32 {
        let fixed = match self.config.prefetch {
            Prefetch::Auto => None,
            Prefetch::Fixed(fixed) => Some(fixed),
        };
        let target = prefetch::ahead(self.pace.rate(now), fixed);
        if held <= target / 2 { target - held } else { 0 }
    }

    fn skipped(&self) -> Vec<Arc<str>> {
        let (limits, budget) = (self.limits(), self.ledger.budget());
        let Some(node) = &self.node else { return Vec::new() };
        self.skip
            .iter()
            .filter(|(_, skip)| match skip {
                Skip::Memory(peak) => !admission::may_retake(&limits, node, &budget, *peak),
                Skip::Dying => true,
            })
            .map(|(line, _)| Arc::clone(line))
            .collect()
    }
}

fn describe(settle: &Settle) -> String {
    use crate::queue::session::Settlement;
    match &settle.settlement {
        Settlement::Finish { .. } => "finished".to_owned(),
        Settlement::Fail { kind, .. } => kind.to_string(),
        Settlement::Return => "returned".to_owned(),
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// From 0 to 1. Only spreads retries: the low bits of the clock are random enough.
fn jitter() -> f64 {
    f64::from(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos() % 1000)) / 1000.0
}
