//! Draining, and while Redis is away.

use std::time::Duration;

use tokio::sync::oneshot;

use super::bench::{Bench, TASK};
use crate::process::ExitStatus;
use crate::queue::session::{Claim, HeartbeatReply, Reasserted, Revoked, Settled, Settlement};
use crate::worker::events::{Action, Event};

#[test]
fn the_first_signal_drains_and_the_second_kills() {
    let (mut bench, keys) = Bench::running(r#"{"drain_timeout_seconds": 10}"#, &[TASK]);
    bench.event(Event::Terminate);
    assert!(matches!(bench.next(), Action::Heartbeat));
    bench.pass(9.0);
    bench.nothing();
    bench.pass(2.0);
    assert!(matches!(bench.next(), Action::Terminate { key, .. } if key == keys[0]));
    bench.event(Event::Terminate);
    assert!(matches!(bench.next(), Action::Kill { key, .. } if key == keys[0]));
    bench.ended(keys[0], ExitStatus::Signaled(9), 11);
    assert!(matches!(bench.settle().1.settlement, Settlement::Return));
    bench.event(Event::Settled(vec![(keys[0], Settled::Recorded)]));
    assert!(matches!(bench.next(), Action::Exit { .. }));
    bench.nothing();
}

#[test]
fn task_that_sigterm_ends_with_its_worker_goes_back() {
    for (wait, is_returned) in [(0.1, true), (6.0, false)] {
        for status in [ExitStatus::Signaled(15), ExitStatus::Exited(143)] {
            let (mut bench, keys) = Bench::running("{}", &[TASK]);
            bench.event(Event::Terminate);
            assert!(matches!(bench.next(), Action::Heartbeat));
            bench.pass(wait);
            bench.ended(keys[0], status, 1);
            let settlement = bench.settle().1.settlement;
            assert_eq!(
                matches!(settlement, Settlement::Return),
                is_returned,
                "{status:?} after {wait} s: {settlement:?}"
            );
        }
    }
    let (mut bench, keys) = Bench::running("{}", &[TASK]);
    bench.ended(keys[0], ExitStatus::Signaled(15), 1);
    assert!(matches!(bench.settle().1.settlement, Settlement::Fail { .. }), "nobody signalled the worker");
}

#[test]
fn what_is_held_goes_back_when_draining() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 1, "task_prefetch": 2}"#, &[TASK]);
    bench.event(Event::Woken);
    bench.actions.clear();
    bench.answer(0, &["shell:1:1:0:true # 2"]);
    bench.nothing();
    bench.event(Event::Terminate);
    assert!(matches!(bench.next(), Action::Heartbeat));
    let (_, settle) = bench.settle();
    assert!(matches!(settle.settlement, Settlement::Return) && settle.record.is_none());
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    assert!(matches!(bench.settle().1.settlement, Settlement::Finish { .. }));
}

fn judged(bench: &mut Bench, suspect: u64, may_try: bool) {
    bench.event(Event::HeartbeatAnswered(HeartbeatReply { suspect, may_try, ..HeartbeatReply::default() }));
}

#[test]
fn suspect_gives_back_what_is_held_and_claims_nothing() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 1, "task_prefetch": 2}"#, &[TASK]);
    bench.event(Event::Woken);
    bench.actions.clear();
    bench.answer(0, &["shell:1:1:0:true # 2"]);
    bench.nothing();
    judged(&mut bench, 5, false);
    let (key, settle) = bench.settle();
    assert!(matches!(settle.settlement, Settlement::Return) && settle.record.is_none());
    assert!(matches!(bench.next(), Action::Heartbeat));
    bench.event(Event::Settled(vec![(key, Settled::Recorded)]));
    judged(&mut bench, 5, true);
    bench.event(Event::Woken);
    bench.nothing();
    bench.ended(keys[0], ExitStatus::Exited(1), 1);
    let (key, _) = bench.settle();
    bench.event(Event::Settled(vec![(key, Settled::WillRetry)]));
    bench.nothing();
    judged(&mut bench, 0, false);
    assert!(matches!(bench.next(), Action::Heartbeat), "it is trusted again");
    bench.claim();
}

#[test]
fn suspect_tries_one_task_beside_nothing_else() {
    let mut bench = Bench::new(r#"{"max_task_per_worker": 4}"#);
    judged(&mut bench, 5, false);
    assert!(matches!(bench.next(), Action::Heartbeat));
    bench.node(32);
    bench.nothing();
    judged(&mut bench, 6, true);
    let request = bench.claim();
    assert_eq!((request.room.slots, request.prefetch.slots), (1, 0));
    bench.answer(1, &[TASK]);
    let key = bench.start();
    bench.event(Event::Started { key, keeper: 100 });
    bench.actions.retain(|action| !matches!(action, Action::Arm { .. }));
    judged(&mut bench, 6, true);
    bench.event(Event::Woken);
    bench.nothing();
    bench.ended(key, ExitStatus::Exited(1), 1);
    let (key, _) = bench.settle();
    bench.event(Event::Settled(vec![(key, Settled::WillRetry)]));
    bench.event(Event::Woken);
    bench.nothing();
}

#[test]
fn nothing_is_claimed_before_the_first_heartbeat_is_answered() {
    let mut bench = Bench::new("{}");
    bench.dispatcher = bench.dispatcher.awaiting_judgement();
    bench.node(32);
    bench.nothing();
    judged(&mut bench, 0, false);
    bench.claim();
}

#[test]
fn running_tasks_continue_without_claims_while_redis_is_away() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 2}"#, &[TASK]);
    bench.event(Event::LinkDown);
    bench.event(Event::Woken);
    bench.nothing();
    bench.event(Event::Reasserted { known: vec![(keys[0], Reasserted::Ours)], unknown: vec![] });
    bench.nothing();
    bench.event(Event::LinkUp);
    assert!(matches!(bench.next(), Action::Heartbeat), "orders may have come meanwhile");
    bench.claim();
    bench.nothing();
}

#[test]
fn what_is_held_does_not_start_while_redis_is_away() {
    // Held: claimed ahead of the one slot.
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 1}"#, &[TASK]);
    let claim = Claim::new("shell:1:1:5:true # held".into(), "i.2".to_owned(), 1);
    bench.dispatcher.accept_claim(bench.now, claim);
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
    assert!(matches!(bench.next(), Action::Heartbeat));
    assert_eq!(bench.start(), held);
}

#[test]
fn nothing_starts_after_a_lease_without_heartbeat() {
    let (mut bench, keys) =
        Bench::running(r#"{"max_task_per_worker": 1, "worker_dead_after_seconds": 10, "task_prefetch": 1}"#, &[TASK]);
    let claim = Claim::new("shell:1:1:5:true # held".into(), "i.2".to_owned(), 1);
    bench.dispatcher.accept_claim(bench.now, claim);
    // Frozen for longer than the lease: the first thing it hears is that its slot is free.
    bench.now += Duration::from_secs(11);
    let held = bench.dispatcher.inventory().all.iter().map(|(key, ..)| *key).max().expect("the held one");
    let (reply, _made) = oneshot::channel();
    bench.event(Event::HeartbeatDue(reply));
    bench.dispatcher.ledger.hold_again(held, bench.now);
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    bench.settle();
    bench.nothing();
    bench.event(Event::HeartbeatAnswered(HeartbeatReply::default()));
    let action = bench.next();
    let Action::Start { key, before, .. } = action else { panic!("not a start: {action:?}") };
    assert_eq!(
        (key, before),
        (held, bench.now + Duration::from_secs(10)),
        "the lease runs from the heartbeat's making"
    );
}

#[test]
fn nothing_starts_after_suspend_until_a_new_heartbeat() {
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 1, "task_prefetch": 1}"#, &[TASK]);
    let claim = Claim::new("shell:1:1:5:true # held".into(), "i.2".to_owned(), 1);
    bench.dispatcher.accept_claim(bench.now, claim);
    let heartbeat = |bench: &mut Bench| {
        let (reply, _made) = oneshot::channel();
        bench.event(Event::HeartbeatDue(reply));
    };
    // One is under way when the lid is closed.
    heartbeat(&mut bench);
    bench.event(Event::Slept(Duration::from_secs(8 * 3600)));
    assert!(matches!(bench.next(), Action::Heartbeat), "Redis is asked at once");
    bench.event(Event::HeartbeatAnswered(HeartbeatReply::default()));
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    bench.settle();
    bench.actions.retain(|action| !matches!(action, Action::Claim(_)));
    bench.nothing();
    heartbeat(&mut bench);
    bench.event(Event::HeartbeatAnswered(HeartbeatReply::default()));
    bench.start();
}

#[test]
fn order_for_a_claim_on_its_way_waits_for_the_claim() {
    let mut bench = Bench::new("{}");
    bench.node(32);
    bench.claim();
    // The heartbeat's answer overtakes the claim's.
    bench.revoke(&[TASK]);
    bench.nothing();
    assert!(bench.dispatcher.outbox.stopped().is_empty(), "what is to come is not said to be gone");
    bench.answer(1, &[TASK]);
    assert!(bench.actions.iter().any(|action| matches!(action, Action::Heartbeat)), "Redis is asked again");
}

#[test]
fn order_for_an_outcome_on_its_way_is_left_to_the_settlement() {
    let (mut bench, keys) = Bench::running("{}", &[TASK]);
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    bench.settle();
    bench.actions.clear();
    bench.revoke(&[TASK]);
    assert!(bench.dispatcher.outbox.stopped().is_empty());
    bench.event(Event::Settled(vec![(keys[0], Settled::Ordered)]));
    assert!(bench.actions.iter().any(|action| matches!(action, Action::Heartbeat)));
}

#[test]
fn order_of_an_earlier_claim_ends_no_later_one() {
    let (mut bench, _) = Bench::running("{}", &[TASK]);
    let earlier = Revoked { line: TASK.to_owned(), token: "i.0".to_owned() };
    bench.event(Event::HeartbeatAnswered(HeartbeatReply { revoked: vec![earlier], ..HeartbeatReply::default() }));
    bench.nothing();
}
