//! A dispatcher, a clock, and the actions nobody has looked at yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::{ConfigSource, Overrides, Role, load};
use crate::model::{Amounts, Bytes, FieldOrder, MilliCores, NodeSample};
use crate::process::{Ended, ExitStatus, Stdout};
use crate::queue::session::{Claim, ClaimReply, ClaimRequest, HeartbeatReply, QueueState, Revoked, Settle};
use crate::worker::dispatcher::{Dispatcher, Identity};
use crate::worker::events::{Action, Event, Moment, Sample, TaskKey};

pub(super) const GIB: u64 = 1 << 30;

fn moment(now: Instant) -> Moment {
    Moment { now, unix_ms: 1, jitter: 0.5 }
}

/// A dispatcher, a clock, and the actions nobody has looked at yet.
pub(super) struct Bench {
    pub(super) dispatcher: Dispatcher,
    pub(super) now: Instant,
    /// What the last decision asked for.
    pub(super) next_tick: Option<Instant>,
    pub(super) actions: VecDeque<Action>,
}

impl Bench {
    pub(super) fn new(json: &str) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("conf.json");
        std::fs::write(&path, json).expect("write");
        let config = load(&ConfigSource::Named(path), &Overrides::default(), Role::Client).expect("config").config;
        let me = Identity {
            worker: "w1".parse().expect("name"),
            host: "h".to_owned(),
            instance: "i".to_owned(),
            order: FieldOrder::MemCpuPrio,
            is_burst: false,
            most_slots: u32::MAX,
            wants_signatures: false,
            is_supervised: false,
        };
        let now = Instant::now();
        let dispatcher = Dispatcher::new(moment(now), me, config, NodeSample::default());
        Self { dispatcher, now, next_tick: None, actions: VecDeque::new() }
    }

    pub(super) fn event(&mut self, event: Event) {
        let decision = self.dispatcher.handle(moment(self.now), event);
        assert!(decision.next_tick.is_none_or(|at| at > self.now), "a busy loop");
        self.next_tick = decision.next_tick;
        self.actions.extend(decision.actions);
        assert!(self.dispatcher.ledger.is_consistent());
    }

    pub(super) fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.event(Event::Tick);
    }

    pub(super) fn node(&mut self, free_gib: u64) {
        let total = Amounts::NONE.with_mem(Bytes(64 * GIB)).with_cpu(MilliCores(16_000));
        let node = NodeSample { total, free: total.with_mem(Bytes(free_gib * GIB)) };
        self.event(Event::Sampled(Sample { node, ..Sample::default() }));
    }

    pub(super) fn next(&mut self) -> Action {
        self.actions.pop_front().expect("an action")
    }

    pub(super) fn nothing(&mut self) {
        assert!(self.actions.is_empty(), "unexpected: {:?}", self.actions);
    }

    pub(super) fn claim(&mut self) -> ClaimRequest {
        let action = self.next();
        let Action::Claim(request) = action else { panic!("not a claim: {action:?}") };
        request
    }

    pub(super) fn start(&mut self) -> TaskKey {
        let action = self.next();
        let Action::Start { key, .. } = action else { panic!("not a start: {action:?}") };
        key
    }

    pub(super) fn settle(&mut self) -> (TaskKey, Settle) {
        let action = self.next();
        let Action::Settle(key, settle) = action else { panic!("not a settlement: {action:?}") };
        (key, *settle)
    }

    pub(super) fn answer(&mut self, now: usize, lines: &[&str]) {
        self.reply(now, lines, None);
    }

    /// Nothing was taken: room is kept for this line.
    pub(super) fn reserved(&mut self, line: &str) {
        self.reply(0, &[], Some(line.to_owned()));
    }

    fn reply(&mut self, now: usize, lines: &[&str], reserved: Option<String>) {
        let claims = lines.iter().map(|line| Claim::new((*line).into(), "i.1".to_owned(), 1)).collect();
        self.event(Event::Claimed(ClaimReply {
            state: QueueState::Open,
            waiting: 0,
            indexed: 0,
            has_leftovers: false,
            reserved,
            reserved_mem: None,
            next_timer: None,
            now,
            claims,
            signatures: Vec::new(),
            unsigned: Vec::new(),
        }));
    }

    /// A dispatcher that runs these lines, with nothing else to do.
    pub(super) fn running(json: &str, lines: &[&str]) -> (Self, Vec<TaskKey>) {
        let mut bench = Self::new(json);
        bench.node(32);
        bench.claim();
        bench.answer(lines.len(), lines);
        let keys: Vec<TaskKey> = lines.iter().map(|_| bench.start()).collect();
        for (i, key) in keys.iter().enumerate() {
            bench.now += Duration::from_millis(1);
            bench.event(Event::Started { key: *key, keeper: 100 + u32::try_from(i).expect("small") });
        }
        bench.actions.retain(|action| !matches!(action, Action::Arm { .. } | Action::Claim(_)));
        bench.nothing();
        (bench, keys)
    }

    /// A heartbeat is answered: operators have ordered the claims of these lines away.
    pub(super) fn revoke(&mut self, lines: &[&str]) {
        let revoked = lines.iter().map(|line| revoked(line)).collect();
        self.event(Event::HeartbeatAnswered(HeartbeatReply { revoked, ..HeartbeatReply::default() }));
    }

    pub(super) fn ended(&mut self, key: TaskKey, status: ExitStatus, seconds: u64) {
        let ended = Ended {
            key,
            status,
            start_ms: 1,
            end_ms: 2,
            duration: Duration::from_secs(seconds),
            peak_bytes: 4096,
            group_peak_bytes: None,
            oom_kills: 0,
            is_oom_likely: false,
            cpu_user: Duration::ZERO,
            cpu_system: Duration::ZERO,
            stdout: Stdout::Whole(b"out\n".to_vec()),
            stdout_file: None,
            stderr_tail: b"err\n".to_vec(),
            stderr_total: 4,
            leftovers_killed: 0,
            unkillable: false,
            forced_kill: false,
            scratch_left: None,
        };
        self.event(Event::Ended { key, ended: Box::new(ended) });
        assert!(matches!(self.next(), Action::Disarm(ended) if ended == key));
    }
}

pub(super) const TASK: &str = "shell:1:1:0:true";

/// The claim of a line that this bench has answered.
pub(super) fn revoked(line: &str) -> Revoked {
    Revoked { line: line.to_owned(), token: "i.1".to_owned() }
}
