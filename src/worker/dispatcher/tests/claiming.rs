//! What is asked for, and what becomes of the answer.

use std::time::Duration;

use super::bench::{Bench, GIB, TASK};
use crate::model::Bytes;
use crate::process::ExitStatus;
use crate::queue::session::{Claim, Settled, Settlement};
use crate::worker::dispatcher::claiming::{HELD_AT_MOST, UNREPORTED_AT_MOST};
use crate::worker::events::{Action, Event};

#[test]
fn nothing_is_claimed_before_the_node_was_looked_at() {
    let mut bench = Bench::new("{}");
    bench.event(Event::Woken);
    bench.nothing();
    bench.node(32);
    let request = bench.claim();
    assert_eq!((request.room.slots, request.prefetch.slots), (32, 0));
    assert_eq!(request.room.amounts.mem(), Bytes(32 * GIB));
    bench.nothing();
}

#[test]
fn leaving_waits_for_a_claim_and_returns_its_tasks() {
    let mut bench = Bench::new("{}");
    bench.node(32);
    bench.claim();
    bench.event(Event::Terminate);
    bench.actions.retain(|action| !matches!(action, Action::Heartbeat));
    bench.nothing();
    bench.answer(1, &["shell:1:1:1:a"]);
    let (key, settle) = bench.settle();
    assert!(matches!(settle.settlement, Settlement::Return));
    bench.nothing();
    bench.event(Event::Settled(vec![(key, Settled::Recorded)]));
    assert!(matches!(bench.next(), Action::Exit { .. }));
}

#[test]
fn a_line_handed_out_twice_is_run_once() {
    let (mut bench, keys) = Bench::running("{}", &[TASK]);
    bench.event(Event::Woken);
    bench.actions.clear();
    let claim = Claim::new(TASK.into(), "i.9".to_owned(), 1);
    bench.dispatcher.accept_claim(bench.now, claim);
    bench.event(Event::Tick);
    bench.actions.retain(|action| !matches!(action, Action::Claim(_)));
    bench.nothing();
    bench.ended(keys[0], ExitStatus::Exited(0), 1);
    assert_eq!(bench.settle().1.token, "i.9");
}

#[test]
fn what_comes_after_a_task_that_goes_back_goes_back_too() {
    let (mut bench, _) = Bench::running(r#"{"max_task_per_worker": 1, "task_prefetch": 0}"#, &[TASK]);
    for number in 1..=2 {
        let claim = Claim::new(format!("shell:1:1:1:{number}").into(), format!("i.{number}"), 1);
        bench.dispatcher.accept_claim(bench.now, claim);
        bench.now += HELD_AT_MOST / 2 + Duration::from_millis(1);
    }
    // The first was held for too long, the second not yet.
    bench.event(Event::Tick);
    let back = bench.actions.iter().filter_map(|action| {
        let Action::Settle(_, settle) = action else { return None };
        matches!(settle.settlement, Settlement::Return).then(|| settle.line.to_string())
    });
    assert_eq!(back.collect::<Vec<_>>(), ["shell:1:1:1:1", "shell:1:1:1:2"]);
}

#[test]
fn claims_whose_answer_was_lost_go_back() {
    let mut bench = Bench::new("{}");
    bench.node(32);
    bench.claim();
    bench.event(Event::LinkDown);
    let unknown = vec![Claim::new(TASK.into(), "i.1".to_owned(), 1)];
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
    assert!(!bench.dispatcher.outbox.is_refusing());
}

#[test]
fn without_batching_one_task_is_claimed_at_a_time() {
    let mut bench = Bench::new(r#"{"redis_pipeline_batching": false, "task_prefetch": 8}"#);
    bench.node(32);
    let request = bench.claim();
    assert_eq!((request.room.slots, request.prefetch.slots), (1, 0));
}

#[test]
fn nothing_is_claimed_while_many_outcomes_are_unreported() {
    let lines: Vec<String> = (0..UNREPORTED_AT_MOST).map(|n| format!("shell:0:0:1:true # {n}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (mut bench, keys) = Bench::running(r#"{"max_task_per_worker": 600, "task_prefetch": 8}"#, &lines);
    for key in &keys {
        bench.actions.clear();
        bench.ended(*key, ExitStatus::Exited(0), 1);
    }
    // The claim that was made when the first slot was free.
    bench.answer(0, &[]);
    bench.actions.clear();
    bench.event(Event::Woken);
    bench.nothing();
    bench.event(Event::Settled(vec![(keys[0], Settled::Recorded)]));
    bench.claim();
}

#[test]
fn what_other_programs_hold_is_not_what_the_node_could_give() {
    let mut bench = Bench::new("{}");
    bench.node(32);
    assert_eq!(bench.claim().offer.expect("it admits tasks").amounts.mem(), Bytes(32 * GIB));
}

#[test]
fn burst_on_a_full_node_claims_once_more_and_ends() {
    let mut bench = Bench::new("{}");
    bench.dispatcher.me.is_burst = true;
    bench.node(1);
    bench.pass(10.0);
    bench.nothing();
    bench.pass(25.0);
    bench.node(1);
    let request = bench.claim();
    assert_eq!((request.room.slots, request.prefetch.slots, request.offer), (0, 0, None));
    bench.answer(0, &[]);
    assert!(matches!(bench.next(), Action::Exit { .. }));
}

#[test]
fn room_kept_in_vain_by_an_empty_node_is_given_up_at_once() {
    let mut bench = Bench::new(r#"{"auto_sleep_sec": false, "sleep_sec_between_accepting_task": 600}"#);
    bench.node(32);
    bench.claim();
    bench.reserved("shell:40:1:1:a");
    bench.nothing();
    bench.now += std::time::Duration::from_secs(31);
    bench.node(32);
    assert_eq!(bench.claim().offer.expect("it admits tasks").amounts.mem(), Bytes(32 * GIB));
}
