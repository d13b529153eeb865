//! The dispatcher's promises: every action of every event is looked at, so that an unexpected one fails.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::config::{Overrides, Role, Source, load};
use crate::model::MilliCores;
use crate::process::{Ended, ExitStatus, Stdout};
use crate::queue::session::{BeatReply, Claim, ClaimReply, ClaimRequest, Reasserted, Settle, Settled, Settlement};
use crate::worker::events::Sample;
use crate::worker::ledger::Place;

const GIB: u64 = 1 << 30;

/// A dispatcher, a clock, and the actions nobody has looked at yet.
struct Bench {
    dispatcher: Dispatcher,
    now: Instant,
    actions: VecDeque<Action>,
}

impl Bench {
    fn new(json: &str) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("conf.json");
        std::fs::write(&path, json).expect("write");
        let config = load(&Source::Named(path), &Overrides::default(), Role::Client).expect("config").config;
        let me = Identity {
            worker: "w1".parse().expect("name"),
            host: "h".to_owned(),
            instance: "i".to_owned(),
            order: FieldOrder::MemCpuPrio,
            is_burst: false,
            most_slots: u32::MAX,
            wants_signatures: false,
        };
        Self { dispatcher: Dispatcher::new(me, config), now: Instant::now(), actions: VecDeque::new() }
    }

    fn event(&mut self, event: Event) {
        self.actions.extend(self.dispatcher.handle(self.now, event));
        assert!(self.dispatcher.ledger.is_consistent());
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.event(Event::Tick);
    }

    fn node(&mut self, free_gib: u64) {
        let node = NodeSample {
            mem_total: Bytes(64 * GIB),
            mem_free: Bytes(free_gib * GIB),
            cores_total: MilliCores(16_000),
            cores_used: MilliCores::ZERO,
        };
        self.event(Event::Sampled(Sample { node, touched: HashMap::new() }));
    }

    fn next(&mut self) -> Action {
        self.actions.pop_front().expect("an action")
    }

    fn nothing(&mut self) {
        assert!(self.actions.is_empty(), "unexpected: {:?}", self.actions);
    }

    fn claim(&mut self) -> ClaimRequest {
        let action = self.next();
        let Action::Claim(request) = action else { panic!("not a claim: {action:?}") };
        request
    }

    fn start(&mut self) -> TaskKey {
        let action = self.next();
        let Action::Start { key, .. } = action else { panic!("not a start: {action:?}") };
        key
    }

    fn settle(&mut self) -> (TaskKey, Settle) {
        let action = self.next();
        let Action::Settle(key, settle) = action else { panic!("not a settlement: {action:?}") };
        (key, *settle)
    }

    fn answer(&mut self, now: usize, lines: &[&str]) {
        let claims =
            lines.iter().map(|line| Claim { line: (*line).into(), token: "i.1".to_owned(), attempt: 1 }).collect();
        self.event(Event::Claimed(ClaimReply {
            state: QueueState::Open,
            waiting: 0,
            indexed: 0,
            has_leftovers: false,
            reserved: None,
            next_timer: None,
            now,
            claims,
            signatures: Vec::new(),
            unsigned: Vec::new(),
        }));
    }

    /// A dispatcher that runs these lines, with nothing else to do.
    fn running(json: &str, lines: &[&str]) -> (Self, Vec<TaskKey>) {
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

    fn ended(&mut self, key: TaskKey, status: ExitStatus, seconds: u64) {
        let ended = Ended {
            seq: key,
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
            stderr_tail: b"err\n".to_vec(),
            stderr_total: 4,
            leftovers_killed: 0,
            unkillable: false,
            forced_kill: false,
        };
        self.event(Event::Ended { key, ended: Box::new(ended) });
        assert!(matches!(self.next(), Action::Disarm(ended) if ended == key));
    }
}

const TASK: &str = "shell:1:1:0:true";

#[test]
fn nothing_is_claimed_before_the_node_was_looked_at() {
    let mut bench = Bench::new("{}");
    bench.event(Event::Woken);
    bench.nothing();
    bench.node(32);
    let request = bench.claim();
    assert_eq!((request.slots, request.ahead), (32, 0));
    assert_eq!(request.headroom.mem, Bytes(32 * GIB));
    bench.nothing();
}

#[test]
fn exit_zero_is_finished_and_anything_else_is_failed() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 2}"#, &[TASK, "shell:1:1:0:false"]);
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    let (_, settle) = bench.settle();
    assert!(matches!(settle.settlement, Settlement::Finish { ref value } if value == "w1: \"out\""), "{settle:?}");
    bench.actions.clear();
    bench.ended(keys[1], ExitStatus::Signaled(11), 1);
    let (_, settle) = bench.settle();
    assert!(
        matches!(settle.settlement, Settlement::Fail { ref reason, .. } if reason == "\"signal 11 (SIGSEGV): err\""),
        "{settle:?}"
    );
}

#[test]
fn an_overdue_task_is_terminated_and_says_its_limit() {
    let (mut bench, keys) = Bench::running("{}", &["shell:1:1:0:7:sleep 99"]);
    bench.event(Event::Overdue(keys[0]));
    assert!(matches!(bench.next(), Action::Terminate(key) if key == keys[0]));
    bench.ended(keys[0], ExitStatus::Signaled(15), 7);
    let (_, settle) = bench.settle();
    assert!(
        matches!(settle.settlement, Settlement::Fail { ref reason, .. } if reason == "\"timed out after 7 s: err\""),
        "{settle:?}"
    );
}

#[test]
fn a_task_that_ended_just_before_its_limit_keeps_its_result() {
    let (mut bench, keys) = Bench::running("{}", &["shell:1:1:0:7:sleep 6"]);
    bench.event(Event::Overdue(keys[0]));
    bench.next();
    bench.ended(keys[0], ExitStatus::Exited(0), 6);
    assert!(matches!(bench.settle().1.settlement, Settlement::Finish { .. }));
}

#[test]
fn low_memory_takes_the_newest_back_one_a_check_and_the_last_one_fails() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 2}"#, &[TASK, "shell:1:1:0:true # 2"]);
    bench.node(0);
    assert!(matches!(bench.next(), Action::Kill(key) if key == keys[1]));
    bench.node(0);
    bench.nothing();
    bench.ended(keys[1], ExitStatus::Signaled(9), 1);
    assert!(matches!(bench.settle().1.settlement, Settlement::Return));
    bench.event(Event::Settled(vec![(keys[1], Settled::Recorded)]));
    bench.node(0);
    assert!(matches!(bench.next(), Action::Kill(key) if key == keys[0]));
    bench.ended(keys[0], ExitStatus::Signaled(9), 1);
    let (_, settle) = bench.settle();
    assert!(
        matches!(settle.settlement, Settlement::Fail { kind: crate::model::FailureKind::Memory, .. }),
        "{settle:?}"
    );
}

#[test]
fn a_task_given_back_for_memory_is_passed_over_while_it_would_not_fit() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 3}"#, &[TASK, "shell:1:1:0:true # 2"]);
    bench.actions.clear();
    bench.answer(0, &[]);
    bench.node(0);
    bench.next();
    bench.ended(keys[1], ExitStatus::Signaled(9), 1);
    bench.settle();
    bench.event(Event::Settled(vec![(keys[1], Settled::Recorded)]));
    bench.actions.clear();
    bench.node(3);
    bench.event(Event::Woken);
    let request = bench.claim();
    assert!(request.skip.is_empty(), "its peak was 4096 bytes: it fits");
    let node = bench.dispatcher.node.expect("node");
    assert!(!admission::may_retake(
        &bench.dispatcher.limits(),
        &node,
        &bench.dispatcher.ledger.budget(),
        Bytes(3 * GIB)
    ));
}

#[test]
fn a_claim_under_way_is_waited_for_before_leaving_and_what_it_took_goes_back() {
    let mut bench = Bench::new("{}");
    bench.node(32);
    bench.claim();
    bench.event(Event::Terminate);
    bench.actions.retain(|action| !matches!(action, Action::Beat));
    bench.nothing();
    bench.answer(1, &["shell:1:1:1:a"]);
    let (key, settle) = bench.settle();
    assert!(matches!(settle.settlement, Settlement::Return));
    bench.nothing();
    bench.event(Event::Settled(vec![(key, Settled::Recorded)]));
    assert!(matches!(bench.next(), Action::Exit));
}

#[test]
fn the_first_signal_drains_and_the_second_kills() {
    let (mut bench, keys) = Bench::running(r#"{"drain_timeout_seconds": 10}"#, &[TASK]);
    bench.event(Event::Terminate);
    assert!(matches!(bench.next(), Action::Beat));
    bench.pass(9.0);
    bench.nothing();
    bench.pass(2.0);
    assert!(matches!(bench.next(), Action::Terminate(key) if key == keys[0]));
    bench.event(Event::Terminate);
    assert!(matches!(bench.next(), Action::Kill(key) if key == keys[0]));
    bench.ended(keys[0], ExitStatus::Signaled(9), 11);
    assert!(matches!(bench.settle().1.settlement, Settlement::Return));
    bench.event(Event::Settled(vec![(keys[0], Settled::Recorded)]));
    assert!(matches!(bench.next(), Action::Exit));
    bench.nothing();
}

#[test]
fn what_is_held_goes_back_when_draining() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 1, "task_prefetch": 2}"#, &[TASK]);
    bench.event(Event::Woken);
    bench.actions.clear();
    bench.answer(0, &["shell:1:1:0:true # 2"]);
    bench.nothing();
    bench.event(Event::Terminate);
    assert!(matches!(bench.next(), Action::Beat));
    let (_, settle) = bench.settle();
    assert!(matches!(settle.settlement, Settlement::Return) && settle.record.is_none());
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    assert!(matches!(bench.settle().1.settlement, Settlement::Finish { .. }));
}

#[test]
fn a_revoked_task_is_killed_and_its_result_dropped() {
    let (mut bench, keys) = Bench::running("{}", &[TASK]);
    bench.event(Event::Beaten(BeatReply { revoked: vec![TASK.to_owned()], ..BeatReply::default() }));
    assert!(matches!(bench.next(), Action::Terminate(key) if key == keys[0]));
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    assert!(matches!(bench.next(), Action::Beat));
    bench.actions.retain(|action| !matches!(action, Action::Claim(_)));
    bench.nothing();
    assert_eq!(bench.dispatcher.stopped, [TASK]);
}

#[test]
fn a_task_ended_before_it_was_started_is_given_back_or_dropped() {
    for revoked in [true, false] {
        let mut bench = Bench::new("{}");
        bench.node(32);
        bench.claim();
        bench.answer(1, &[TASK]);
        let key = bench.start();
        if revoked {
            bench.event(Event::Beaten(BeatReply { revoked: vec![TASK.to_owned()], ..BeatReply::default() }));
        } else {
            bench.event(Event::Terminate);
            bench.event(Event::Terminate);
        }
        bench.actions.clear();
        bench.event(Event::Withdrawn { key });
        if revoked {
            assert!(matches!(bench.next(), Action::Beat));
        } else {
            let (_, settle) = bench.settle();
            assert!(matches!(settle.settlement, Settlement::Return) && settle.record.is_none(), "{settle:?}");
        }
    }
}

#[test]
fn a_line_handed_out_twice_is_run_once() {
    let (mut bench, keys) = Bench::running("{}", &[TASK]);
    bench.event(Event::Woken);
    bench.actions.clear();
    let claim = Claim { line: TASK.into(), token: "i.9".to_owned(), attempt: 1 };
    bench.dispatcher.take_in(bench.now, claim);
    bench.event(Event::Tick);
    bench.actions.retain(|action| !matches!(action, Action::Claim(_)));
    bench.nothing();
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    assert_eq!(bench.settle().1.token, "i.9");
}

#[test]
fn while_redis_is_away_nothing_new_is_claimed_and_what_runs_goes_on() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 2}"#, &[TASK]);
    bench.event(Event::LinkDown);
    bench.event(Event::Woken);
    bench.nothing();
    bench.event(Event::Reasserted { known: vec![(keys[0], Reasserted::Ours)], unknown: vec![] });
    bench.nothing();
    bench.event(Event::LinkUp);
    bench.claim();
    bench.nothing();
}

#[test]
fn what_is_held_does_not_start_while_redis_is_away() {
    // Held: claimed ahead of the one slot.
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 1}"#, &[TASK]);
    let claim = Claim { line: "shell:1:1:5:true # held".into(), token: "i.2".to_owned(), attempt: 1 };
    bench.dispatcher.take_in(bench.now, claim);
    bench.event(Event::LinkDown);
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    bench.settle();
    bench.pass(0.5);
    bench.nothing();
    // It may have been reclaimed meanwhile: what Redis says comes first.
    let held = bench.dispatcher.inventory().all.iter().map(|(key, ..)| *key).next().expect("the held one");
    bench.event(Event::Reasserted { known: vec![(held, Reasserted::Ours)], unknown: vec![] });
    bench.nothing();
    bench.event(Event::LinkUp);
    assert_eq!(bench.start(), held);
}

#[test]
fn after_a_lease_without_a_heartbeat_nothing_starts_until_one_was_taken() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 1, "worker_dead_after_seconds": 10}"#, &[TASK]);
    let claim = Claim { line: "shell:1:1:5:true # held".into(), token: "i.2".to_owned(), attempt: 1 };
    bench.dispatcher.take_in(bench.now, claim);
    // Frozen for longer than the lease: the first thing it hears is that its slot is free.
    bench.now += Duration::from_secs(11);
    let held = bench.dispatcher.inventory().all.iter().map(|(key, ..)| *key).max().expect("the held one");
    let (reply, _made) = oneshot::channel();
    bench.event(Event::BeatDue(reply));
    bench.dispatcher.ledger.place(held, Place::Held { since: bench.now });
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    bench.settle();
    bench.nothing();
    bench.event(Event::Beaten(BeatReply::default()));
    let action = bench.next();
    let Action::Start { key, before, .. } = action else { panic!("not a start: {action:?}") };
    assert_eq!(
        (key, before),
        (held, bench.now + Duration::from_secs(10)),
        "the lease runs from the heartbeat's making"
    );
}

#[test]
fn claims_whose_answer_was_lost_go_back() {
    let mut bench = Bench::new("{}");
    bench.node(32);
    bench.claim();
    bench.event(Event::LinkDown);
    let unknown = vec![Claim { line: TASK.into(), token: "i.1".to_owned(), attempt: 1 }];
    bench.event(Event::Reasserted { known: vec![], unknown });
    assert!(matches!(bench.settle().1.settlement, Settlement::Return));
    bench.nothing();
}

#[test]
fn a_garbage_line_is_refused_for_ever_and_stops_nothing() {
    let mut bench = Bench::new("{}");
    bench.node(32);
    bench.claim();
    bench.answer(2, &["garbage", TASK]);
    let (key, settle) = bench.settle();
    assert!(matches!(settle.settlement, Settlement::Fail { is_final: true, .. }));
    bench.start();
    bench.event(Event::Settled(vec![(key, Settled::OutOfRetries)]));
    assert_eq!(bench.dispatcher.rejecting, 0);
}

#[test]
fn without_batching_one_task_is_claimed_at_a_time() {
    let mut bench = Bench::new(r#"{"redis_pipeline_batching": false, "task_prefetch": 8}"#);
    bench.node(32);
    let request = bench.claim();
    assert_eq!((request.slots, request.ahead), (1, 0));
}

#[test]
fn a_shortage_of_the_node_is_not_the_tasks_fault() {
    let mut bench = Bench::new("{}");
    bench.node(32);
    bench.claim();
    bench.answer(1, &[TASK]);
    let key = bench.start();
    bench.actions.clear();
    bench.event(Event::SpawnFailed { key, error: "no processes".to_owned(), is_ours: true });
    assert!(matches!(bench.settle().1.settlement, Settlement::Return));
    bench.event(Event::Settled(vec![(key, Settled::Recorded)]));
    bench.nothing();
    bench.pass(3.0);
    bench.claim();
}

/// A worker of one slot in which tasks end every millisecond, with more held, whose first task is on its way to its keeper.
fn stream_started(lines: &[&str]) -> (Bench, TaskKey) {
    let mut bench = Bench::new(r#"{"max_task_per_worker": 1, "task_prefetch": 8}"#);
    bench.node(32);
    bench.claim();
    for _ in 0..300 {
        bench.dispatcher.pace.ended(bench.now, Duration::ZERO);
        bench.now += Duration::from_millis(1);
    }
    bench.answer(1, lines);
    let key = bench.start();
    bench.actions.clear();
    (bench, key)
}

/// The same, when its start was heard of: its running task, then what is queued behind it, in order.
fn stream(lines: &[&str]) -> (Bench, TaskKey) {
    let (mut bench, key) = stream_started(lines);
    bench.event(Event::Started { key, keeper: 100 });
    bench.actions.retain(|action| !matches!(action, Action::Arm { .. } | Action::Claim(_)));
    (bench, key)
}

fn queued(bench: &mut Bench, running: TaskKey) -> TaskKey {
    let action = bench.next();
    let Action::Queue { key, behind, .. } = action else { panic!("not queued: {action:?}") };
    assert_eq!(behind, running);
    key
}

const NEXT: &str = "shell:1:1:0:true # 2";
const THIRD: &str = "shell:1:1:0:true # 3";

#[test]
fn in_a_stream_the_next_task_waits_in_the_keeper_and_starts_without_being_told() {
    let (mut bench, first) = stream(&[TASK, NEXT, THIRD]);
    let second = queued(&mut bench, first);
    bench.nothing();
    assert_eq!(bench.dispatcher.ledger.budget().tasks, 1);
    assert!(bench.dispatcher.beat().started.iter().all(|line| **line == *TASK), "what waits has not started");
    bench.ended(first, ExitStatus::Exited(0), 0);
    bench.settle();
    assert_eq!(bench.dispatcher.ledger.budget().tasks, 1);
    bench.actions.retain(|action| !matches!(action, Action::Claim(_)));
    bench.nothing();
    bench.event(Event::Started { key: second, keeper: 100 });
    bench.actions.retain(|action| !matches!(action, Action::Arm { .. } | Action::Claim(_)));
    queued(&mut bench, second);
}

#[test]
fn nothing_is_queued_behind_a_running_task_while_redis_is_away() {
    for is_away in [true, false] {
        let (mut bench, key) = stream_started(&[TASK, NEXT]);
        if is_away {
            bench.event(Event::LinkDown);
        }
        bench.event(Event::Started { key, keeper: 100 });
        let is_queued = bench.actions.iter().any(|action| matches!(action, Action::Queue { .. }));
        assert_eq!(is_queued, !is_away, "{:?}", bench.actions);
    }
}

#[test]
fn a_larger_task_or_another_priority_does_not_wait_in_a_keeper() {
    for other in ["shell:2:1:0:true", "shell:1:2:0:true"] {
        let (mut bench, _) = stream(&[TASK, other]);
        bench.nothing();
    }
}

#[test]
fn what_waits_in_a_keeper_goes_back_when_draining() {
    let (mut bench, first) = stream(&[TASK, NEXT]);
    let second = queued(&mut bench, first);
    bench.event(Event::Terminate);
    assert!(matches!(bench.next(), Action::Beat));
    assert!(matches!(bench.next(), Action::Withdraw(key) if key == second));
    bench.nothing();
    bench.event(Event::Withdrawn { key: second });
    let (key, settle) = bench.settle();
    assert!(key == second && matches!(settle.settlement, Settlement::Return) && settle.record.is_none());
}

#[test]
fn what_waits_in_a_keeper_is_taken_back_when_memory_is_short_and_after_a_while() {
    for by_memory in [true, false] {
        let (mut bench, first) = stream(&[TASK, NEXT, THIRD]);
        let second = queued(&mut bench, first);
        if by_memory {
            bench.node(1);
        } else {
            bench.pass(0.021);
        }
        bench.actions.retain(|action| !matches!(action, Action::Claim(_) | Action::Kill(_)));
        assert!(matches!(bench.next(), Action::Withdraw(key) if key == second));
        bench.event(Event::Withdrawn { key: second });
        assert_eq!(bench.dispatcher.ledger.held().next(), Some(second), "it is next again");
        assert!(!bench.actions.iter().any(|action| matches!(action, Action::Queue { .. } | Action::Start { .. })));
    }
}

#[test]
fn a_revoked_task_that_waits_in_a_keeper_is_dropped() {
    let (mut bench, first) = stream(&[TASK, NEXT]);
    let second = queued(&mut bench, first);
    bench.event(Event::Beaten(BeatReply { revoked: vec![NEXT.to_owned()], ..BeatReply::default() }));
    assert!(matches!(bench.next(), Action::Terminate(key) if key == second));
    bench.event(Event::Withdrawn { key: second });
    assert_eq!(bench.dispatcher.stopped, [NEXT]);
    assert!(bench.dispatcher.ledger.get(second).is_none());
}

#[test]
fn a_task_withdrawn_too_late_runs() {
    let (mut bench, first) = stream(&[TASK, NEXT]);
    let second = queued(&mut bench, first);
    bench.event(Event::Terminate);
    bench.actions.clear();
    bench.ended(first, ExitStatus::Exited(0), 0);
    bench.settle();
    bench.event(Event::Started { key: second, keeper: 100 });
    bench.actions.clear();
    bench.ended(second, ExitStatus::Exited(0), 0);
    assert!(matches!(bench.settle().1.settlement, Settlement::Finish { .. }));
}

#[test]
fn a_moment_that_has_passed_is_never_asked_for_again() {
    // Every slot taken with one task claimed ahead, then free memory below the accept threshold.
    let mut bench = Bench::new(r#"{ "max_task_per_worker": 1, "task_prefetch": 4 }"#);
    bench.node(32);
    bench.claim();
    bench.answer(1, &["shell:1:1:1:sleep 60", "shell:1:1:1:true"]);
    let key = bench.start();
    bench.event(Event::Started { key, keeper: 100 });
    for i in 0..100 {
        bench.pass(0.1);
        bench.node(if i < 50 { 32 } else { 1 });
        assert!(bench.dispatcher.next_tick().is_none_or(|at| at > bench.now), "a busy loop");
    }
    // Redis away, told to go, and the task still runs.
    bench.event(Event::LinkDown);
    bench.event(Event::Terminate);
    bench.pass(60.0);
    assert!(bench.dispatcher.next_tick().is_none_or(|at| at > bench.now), "a busy loop");
}

#[test]
fn the_limit_of_a_task_is_the_one_it_started_with() {
    let (mut bench, keys) = Bench::running(r#"{ "default_task_timeout_seconds": 5 }"#, &["shell:1:1:1:sleep 60"]);
    let changed = Bench::new(r#"{ "default_task_timeout_seconds": 600 }"#);
    bench.event(Event::Reconfigured(Arc::clone(&changed.dispatcher.config)));
    bench.event(Event::Overdue(keys[0]));
    bench.actions.clear();
    bench.ended(keys[0], ExitStatus::Signaled(15), 5);
    let (_, settle) = bench.settle();
    let Settlement::Fail { reason, .. } = settle.settlement else { panic!("{settle:?}") };
    assert_eq!(reason, "\"timed out after 5 s: err\"");
}
