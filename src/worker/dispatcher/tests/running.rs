//! From a start to its settlement.

use std::sync::Arc;

use super::bench::{Bench, GIB, TASK, revoked};
use crate::model::{Bytes, Outcome};
use crate::policy::admission;
use crate::process::ExitStatus;
use crate::queue::session::{Settled, Settlement};
use crate::worker::events::{Action, Event};

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
    let (mut bench, keys) = Bench::running(r#"{"default_task_timeout_seconds": 9}"#, &["shell:1:1:0:sleep 99"]);
    bench.event(Event::Overdue(keys[0]));
    assert!(matches!(bench.next(), Action::Terminate { key, .. } if key == keys[0]));
    bench.ended(keys[0], ExitStatus::Signaled(15), 9);
    let (_, settle) = bench.settle();
    let Settlement::Fail { outcome, reason, .. } = settle.settlement else { panic!("it has not failed") };
    assert_eq!(reason, "\"timed out after 9 s (default_task_timeout_seconds): err\"");
    assert_eq!(outcome, Outcome::TimedOut(9), "groups go by kind");
    let (mut bench, keys) = Bench::running("{}", &["shell:1:1:0:7:sleep 99"]);
    bench.event(Event::Overdue(keys[0]));
    assert!(matches!(bench.next(), Action::Terminate { key, .. } if key == keys[0]));
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
fn low_memory_returns_newest_per_check_and_fails_the_last() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 2}"#, &[TASK, "shell:1:1:0:true # 2"]);
    bench.node(0);
    assert!(matches!(bench.next(), Action::Kill { key, .. } if key == keys[1]));
    bench.node(0);
    bench.nothing();
    bench.ended(keys[1], ExitStatus::Signaled(9), 1);
    assert!(matches!(bench.settle().1.settlement, Settlement::Return));
    bench.event(Event::Settled(vec![(keys[1], Settled::Recorded)]));
    bench.node(0);
    assert!(matches!(bench.next(), Action::Kill { key, .. } if key == keys[0]));
    bench.ended(keys[0], ExitStatus::Signaled(9), 1);
    let (_, settle) = bench.settle();
    assert!(matches!(settle.settlement, Settlement::Fail { outcome: Outcome::Memory, .. }), "{settle:?}");
}

#[test]
fn task_returned_for_memory_is_skipped_until_it_fits() {
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
    let node = bench.dispatcher.node;
    assert!(!admission::may_retake(
        &bench.dispatcher.limits(),
        &node,
        &bench.dispatcher.ledger.budget(),
        Bytes(3 * GIB)
    ));
}

#[test]
fn a_revoked_task_is_killed_and_its_result_dropped() {
    let (mut bench, keys) = Bench::running("{}", &[TASK]);
    bench.revoke(&[TASK]);
    assert!(matches!(bench.next(), Action::Terminate { key, .. } if key == keys[0]));
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    assert!(matches!(bench.next(), Action::Heartbeat));
    bench.actions.retain(|action| !matches!(action, Action::Claim(_)));
    bench.nothing();
    assert_eq!(bench.dispatcher.outbox.stopped(), [revoked(TASK)]);
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
            bench.revoke(&[TASK]);
        } else {
            bench.event(Event::Terminate);
            bench.event(Event::Terminate);
        }
        bench.actions.clear();
        bench.event(Event::Recalled { key });
        if revoked {
            assert!(matches!(bench.next(), Action::Heartbeat));
        } else {
            let (_, settle) = bench.settle();
            assert!(matches!(settle.settlement, Settlement::Return) && settle.record.is_none(), "{settle:?}");
        }
    }
}

#[test]
fn a_shortage_of_the_node_is_not_the_tasks_fault() {
    let mut bench = Bench::new("{}");
    bench.node(32);
    bench.claim();
    bench.answer(1, &[TASK]);
    let key = bench.start();
    bench.actions.clear();
    bench.event(Event::SpawnFailed { key, error: "no processes".to_owned(), is_node_fault: true });
    assert!(matches!(bench.settle().1.settlement, Settlement::Return));
    bench.event(Event::Settled(vec![(key, Settled::Recorded)]));
    bench.nothing();
    bench.pass(3.0);
    bench.claim();
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
    assert_eq!(reason, "\"timed out after 5 s (default_task_timeout_seconds): err\"");
}
