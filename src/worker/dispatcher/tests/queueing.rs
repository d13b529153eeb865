//! What waits in a slot behind a running task.

use std::time::Duration;

use super::bench::{Bench, GIB, TASK, revoked};
use crate::process::ExitStatus;
use crate::queue::session::{Settled, Settlement};
use crate::worker::events::{Action, Event, TaskKey};
use crate::worker::ledger::ClaimState;

/// A worker of one slot in which tasks end every millisecond, with more held, whose first task is on its way to its keeper.
fn stream_started(lines: &[&str]) -> (Bench, TaskKey) {
    let mut bench = Bench::new(r#"{"max_task_per_worker": 1, "task_prefetch": 8}"#);
    bench.node(32);
    bench.claim();
    for _ in 0..300 {
        bench.dispatcher.completion_rate.ended(bench.now, Duration::ZERO);
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

/// The next action, which hands a task to the slot of another, behind it.
fn queued(bench: &mut Bench, before: TaskKey) -> TaskKey {
    let action = bench.next();
    let Action::Start { slot, key, .. } = action else { panic!("not started: {action:?}") };
    let slot_of = |key| bench.dispatcher.ledger.get(key).and_then(|entry| entry.state.slot());
    assert_eq!((Some(slot), Some(slot)), (slot_of(before), slot_of(key)));
    assert_eq!(state(bench, key), Some("queued"));
    key
}

/// Where a task is, in a word.
fn state(bench: &Bench, key: TaskKey) -> Option<&'static str> {
    bench.dispatcher.ledger.get(key).map(|entry| match entry.state {
        ClaimState::Held { .. } => "held",
        ClaimState::Queued { .. } => "queued",
        ClaimState::Starting { .. } => "starting",
        ClaimState::Running { .. } => "running",
        ClaimState::Terminating { .. } => "terminating",
        ClaimState::Settling => "settling",
    })
}

fn is_start(action: &Action) -> bool {
    matches!(action, Action::Start { .. })
}

const NEXT: &str = "shell:1:1:0:true # 2";
const THIRD: &str = "shell:1:1:0:true # 3";

#[test]
fn next_tasks_wait_in_the_slot_and_start_untold_in_a_stream() {
    let (mut bench, first) = stream(&[TASK, NEXT, THIRD]);
    let second = queued(&mut bench, first);
    let third = queued(&mut bench, second);
    bench.nothing();
    assert_eq!(bench.dispatcher.ledger.budget().tasks, 1);
    assert!(
        bench.dispatcher.heartbeat(bench.now).started.iter().all(|line| **line == *TASK),
        "what waits has not started"
    );
    bench.ended(first, ExitStatus::Exited(0), 0);
    bench.settle();
    assert_eq!((bench.dispatcher.ledger.budget().tasks, state(&bench, second)), (1, Some("starting")));
    bench.actions.retain(|action| !matches!(action, Action::Claim(_)));
    bench.nothing();
    bench.event(Event::Started { key: second, keeper: 100 });
    bench.actions.clear();
    bench.ended(second, ExitStatus::Exited(0), 0);
    bench.event(Event::Started { key: third, keeper: 100 });
    assert_eq!(bench.dispatcher.ledger.budget().tasks, 1);
}

#[test]
fn nothing_is_queued_while_redis_is_away() {
    for is_away in [true, false] {
        let (mut bench, key) = stream_started(&[TASK, NEXT]);
        if is_away {
            bench.event(Event::LinkDown);
        }
        bench.event(Event::Started { key, keeper: 100 });
        let is_queued = bench.actions.iter().any(is_start);
        assert_eq!(is_queued, !is_away, "{:?}", bench.actions);
    }
}

#[test]
fn tasks_that_wait_in_slots_are_of_one_priority() {
    let (mut bench, first) = stream(&[TASK, NEXT, "shell:1:1:1:true # 3"]);
    queued(&mut bench, first);
    bench.nothing();
}

#[test]
fn waiting_task_goes_back_when_draining() {
    let (mut bench, first) = stream(&[TASK, NEXT]);
    let second = queued(&mut bench, first);
    bench.event(Event::Terminate);
    assert!(matches!(bench.next(), Action::Heartbeat));
    assert!(matches!(bench.next(), Action::Recall { key, .. } if key == second));
    bench.nothing();
    bench.event(Event::Recalled { key: second });
    let (key, settle) = bench.settle();
    assert!(key == second && matches!(settle.settlement, Settlement::Return) && settle.record.is_none());
}

#[test]
fn waiting_tasks_are_recalled_on_low_memory_and_after_a_while() {
    for by_memory in [true, false] {
        let (mut bench, first) = stream(&[TASK, NEXT, THIRD]);
        let second = queued(&mut bench, first);
        let third = queued(&mut bench, second);
        if by_memory {
            bench.node(1);
        } else {
            bench.pass(0.021);
        }
        bench.actions.retain(|action| !matches!(action, Action::Claim(_) | Action::Kill { .. }));
        assert!(matches!(bench.next(), Action::Recall { key, .. } if key == third), "from the end");
        assert!(matches!(bench.next(), Action::Recall { key, .. } if key == second));
        bench.event(Event::Recalled { key: second });
        assert!(!bench.actions.iter().any(is_start), "one is not back yet");
        bench.event(Event::Recalled { key: third });
        assert_eq!([second, third].map(|key| state(&bench, key)), [Some("held"); 2]);
        assert_eq!(bench.dispatcher.ledger.held().next(), Some(second), "it is next again");
        assert!(!bench.actions.iter().any(is_start));
    }
}

#[test]
fn revoked_task_that_waits_in_a_slot_is_dropped() {
    let (mut bench, first) = stream(&[TASK, NEXT]);
    let second = queued(&mut bench, first);
    bench.revoke(&[NEXT]);
    assert!(matches!(bench.next(), Action::Terminate { key, .. } if key == second));
    bench.event(Event::Recalled { key: second });
    assert_eq!(bench.dispatcher.outbox.stopped(), [revoked(NEXT)]);
    assert!(bench.dispatcher.ledger.get(second).is_none());
}

#[test]
fn task_recalled_too_late_runs() {
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
fn past_moment_is_never_asked_for_again() {
    // Every slot taken with one task prefetched, then free memory below the accept threshold.
    let mut bench = Bench::new(r#"{ "max_task_per_worker": 1, "task_prefetch": 4 }"#);
    bench.node(32);
    bench.claim();
    bench.answer(1, &["shell:1:1:1:sleep 60", "shell:1:1:1:true"]);
    let key = bench.start();
    bench.event(Event::Started { key, keeper: 100 });
    for i in 0..100 {
        bench.pass(0.1);
        bench.node(if i < 50 { 32 } else { 1 });
        assert!(bench.next_tick.is_none_or(|at| at > bench.now), "a busy loop");
    }
    // Redis away, told to go, and the task still runs.
    bench.event(Event::LinkDown);
    bench.event(Event::Terminate);
    bench.pass(60.0);
    assert!(bench.next_tick.is_none_or(|at| at > bench.now), "a busy loop");
}

/// A worker in whose slots tasks end every millisecond, with more held; its first tasks are on their way to their keepers.
fn busy(slots: usize, held: usize) -> (Bench, Vec<TaskKey>) {
    let lines: Vec<String> = (0..held).map(|at| format!("shell:1:1:0:true # {at} held")).collect();
    busy_with(slots, held, &lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The same, with these lines held.
fn busy_with(slots: usize, ahead: usize, held: &[&str]) -> (Bench, Vec<TaskKey>) {
    let mut bench = Bench::new(&format!(r#"{{"max_task_per_worker": {slots}, "task_prefetch": {ahead}}}"#));
    bench.node(32);
    bench.claim();
    for _ in 0..300 * slots {
        bench.dispatcher.completion_rate.ended(bench.now, Duration::ZERO);
        bench.now += Duration::from_micros(1000 / slots as u64);
    }
    let lines: Vec<String> = (0..slots).map(|at| format!("shell:1:1:0:true # {at}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).chain(held.iter().copied()).collect();
    bench.answer(slots, &lines);
    let keys = (0..slots).map(|_| bench.start()).collect();
    bench.actions.clear();
    (bench, keys)
}

fn reconfigured(bench: &mut Bench, json: &str) {
    let other = Bench::new(json);
    bench.event(Event::Reconfigured(other.dispatcher.config));
}

#[test]
fn lowered_slots_are_not_refilled_by_keepers() {
    let (mut bench, keys) = busy(4, 8);
    reconfigured(&mut bench, r#"{"max_task_per_worker": 2, "task_prefetch": 8}"#);
    for key in &keys {
        bench.event(Event::Started { key: *key, keeper: 100 });
    }
    assert!(!bench.actions.iter().any(is_start), "{:?}", bench.actions);
    for (ended, may_refill) in [(keys[0], false), (keys[1], true)] {
        bench.actions.clear();
        bench.ended(ended, ExitStatus::Exited(0), 0);
        assert_eq!(bench.actions.iter().any(is_start), may_refill, "{:?}", bench.actions);
    }
}

#[test]
fn held_tasks_behind_tasks_that_became_long_go_back() {
    for fixed in [false, true] {
        let (mut bench, first) = stream(&[TASK, NEXT, THIRD]);
        let (second, third) = (queued(&mut bench, first), TaskKey::from(first + 2));
        if !fixed {
            reconfigured(&mut bench, r#"{"max_task_per_worker": 1}"#);
        }
        bench.pass(0.021);
        bench.event(Event::Recalled { key: second });
        bench.event(Event::Recalled { key: third });
        // The claim that is under way brings nothing.
        bench.answer(0, &[]);
        bench.actions.clear();
        bench.pass(0.5);
        assert!(!bench.actions.iter().any(|action| matches!(action, Action::Settle(..))), "not at once");
        bench.pass(0.51);
        let mut back: Vec<TaskKey> = Vec::new();
        for action in bench.actions.drain(..) {
            if let Action::Settle(key, settle) = action {
                assert!(matches!(settle.settlement, Settlement::Return) && settle.record.is_none());
                back.push(key);
            }
        }
        // A fixed number of tasks ahead is what somebody asked for.
        assert_eq!(back, if fixed { vec![] } else { vec![second, third] });
    }
}

#[test]
fn waiting_task_is_recalled_when_redis_goes_away() {
    let (mut bench, first) = stream(&[TASK, NEXT]);
    let second = queued(&mut bench, first);
    bench.event(Event::LinkDown);
    assert!(bench.actions.iter().any(|action| matches!(action, Action::Recall { key, .. } if *key == second)));
}

#[test]
fn revoking_begins_with_what_waits_so_that_it_does_not_start() {
    let (mut bench, first) = stream(&[TASK, NEXT]);
    let second = queued(&mut bench, first);
    bench.revoke(&[TASK, NEXT]);
    assert!(matches!(bench.next(), Action::Terminate { key, .. } if key == second));
    assert!(matches!(bench.next(), Action::Terminate { key, .. } if key == first));
}

#[test]
fn waiting_task_is_recalled_before_the_running_one_is_killed() {
    let (mut bench, first) = stream(&[TASK, NEXT]);
    let second = queued(&mut bench, first);
    bench.node(0);
    assert!(matches!(bench.next(), Action::Recall { key, .. } if key == second));
    assert!(matches!(bench.next(), Action::Kill { key, .. } if key == first));
}

#[test]
fn task_recalled_at_its_turn_makes_room_for_the_one_behind_it() {
    let (mut bench, first) = stream(&[TASK, NEXT, THIRD]);
    let second = queued(&mut bench, first);
    let third = queued(&mut bench, second);
    bench.ended(first, ExitStatus::Exited(0), 0);
    bench.actions.clear();
    // Its right to start had passed, that of the third had not.
    bench.event(Event::Recalled { key: second });
    assert_eq!((bench.dispatcher.ledger.budget().tasks, state(&bench, third)), (1, Some("starting")));
    bench.event(Event::Started { key: third, keeper: 100 });
    assert_eq!(bench.dispatcher.ledger.budget().tasks, 1);
    bench.actions.retain(is_start);
    assert_eq!(queued(&mut bench, third), second, "it waits anew");
}

#[test]
fn next_task_has_the_slot_until_its_keeper_is_known_lost() {
    let (mut bench, first) = stream(&[TASK, NEXT]);
    let second = queued(&mut bench, first);
    bench.event(Event::KeeperLost { key: first, had_it: true });
    assert_eq!((bench.dispatcher.ledger.budget().tasks, state(&bench, second)), (1, Some("starting")));
    assert!(!bench.actions.iter().any(is_start), "{:?}", bench.actions);
    bench.event(Event::KeeperLost { key: second, had_it: false });
    assert_eq!(state(&bench, second), Some("settling"), "it did not run, and goes back");
    assert_eq!(bench.dispatcher.ledger.budget().tasks, 0);
}

#[test]
fn prefetch_switched_off_queues_nothing_in_slots() {
    let (mut bench, first) = stream(&[TASK, NEXT]);
    let second = queued(&mut bench, first);
    reconfigured(&mut bench, r#"{"max_task_per_worker": 1, "task_prefetch": 0}"#);
    bench.actions.clear();
    bench.event(Event::Recalled { key: second });
    assert!(!bench.actions.iter().any(is_start), "{:?}", bench.actions);
}

#[test]
fn larger_task_waits_in_a_slot_only_where_its_excess_fits() {
    for (mem, is_queued) in [(17, true), (33, false)] {
        let larger = format!("shell:{mem}:1:0:true # 2");
        let (mut bench, first) = stream(&[TASK, &larger, THIRD]);
        if is_queued {
            queued(&mut bench, first);
            assert_eq!(bench.dispatcher.unreserved().mem().0, 15 * GIB, "32 are free; 1 runs, 16 more are to come");
        } else {
            assert!(!bench.actions.iter().any(is_start), "the room of a task that is too large is not given away");
        }
    }
}

#[test]
fn outcomes_are_not_coalesced_while_nothing_is_prefetched() {
    let mut bench = Bench::new(r#"{"max_task_per_worker": 4}"#);
    bench.node(32);
    assert!(
        !bench.dispatcher.prefetches(bench.now),
        "the next claim waits for the settlement, and a slot for the claim"
    );
    for _ in 0..300 {
        bench.dispatcher.completion_rate.ended(bench.now, Duration::ZERO);
        bench.now += Duration::from_millis(1);
    }
    assert!(bench.dispatcher.prefetches(bench.now));
    bench.now += Duration::from_secs(2);
    assert!(!bench.dispatcher.prefetches(bench.now), "the stream is over");
    let mut off = Bench::new(r#"{"task_prefetch": 0}"#);
    assert!(!off.dispatcher.prefetches(off.now));
}

#[test]
fn no_claim_is_made_while_unstarted_tasks_go_back() {
    let (mut bench, first) = stream(&[TASK, NEXT, THIRD]);
    let (second, third) = (queued(&mut bench, first), TaskKey::from(first + 2));
    reconfigured(&mut bench, r#"{"max_task_per_worker": 1}"#);
    bench.pass(0.021);
    bench.event(Event::Recalled { key: second });
    bench.event(Event::Recalled { key: third });
    bench.actions.clear();
    bench.event(Event::Woken);
    let returns = |bench: &Bench| bench.actions.iter().any(|action| matches!(action, Action::Settle(..)));
    let claims = |bench: &Bench| bench.actions.iter().any(|action| matches!(action, Action::Claim(_)));
    bench.dispatcher.intake.asked(bench.now, 0, 1);
    bench.pass(1.1);
    // So late an answer is a distance that more would be claimed ahead for, had the stream not ended.
    bench.pass(0.3);
    assert!(!returns(&bench), "a claim is under way, and what it brings would start before what goes back");
    bench.answer(0, &[]);
    assert!(returns(&bench));
    bench.actions.clear();
    bench.ended(first, ExitStatus::Exited(0), 0);
    bench.event(Event::Woken);
    assert!(!claims(&bench), "not all is back");
    bench.event(Event::Settled([first, second, third].map(|key| (key, Settled::Recorded)).to_vec()));
    assert!(claims(&bench));
}
