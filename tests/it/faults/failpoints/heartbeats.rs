//! Steps of a heartbeat, and of who judges by it.
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::{Load, Steps, wait_at};
use crate::faults::{bed, wait_there, watch};
use crate::support::{Mode, Proxy, SOON, holds_for, stays, unique_sleep, wait_until};

#[test]
fn a_start_whose_heartbeat_was_lost_is_told_again() {
    let bed = bed(json!({"worker_dead_after_seconds": 60, "max_task_per_worker": 1, "task_prefetch": 0}));
    let steps = Steps::new(&bed);
    let proxy = Proxy::start(&bed.redis.socket());
    let mark = unique_sleep();
    let line = format!("shell:0:0:1:sleep {mark}");
    let worker = steps.worker(&bed, "w", json!({"redis_url": proxy.url(), "health_report_interval": 1}));
    bed.wait_alive("w");
    steps.arm("beating");
    wait_at(&worker, "beating");
    // It starts while a heartbeat is held that does not name it; the next one does, and does not arrive.
    bed.add([&line]);
    wait_there(&mark, 1);
    steps.release("beating");
    wait_until("it to go on", SOON, || holds_for(worker.log().contains("past step beating"), worker.log()));
    steps.arm("beating");
    wait_until("the next heartbeat", SOON, || {
        holds_for(worker.log().matches("at step beating").count() >= 2, worker.log())
    });
    proxy.set(Mode::Reset);
    steps.release("beating");
    wait_until("the loss", SOON, || holds_for(worker.log().contains("lost Redis"), worker.log()));
    let started =
        || bed.table("distcomp:claims:w").get(&line).and_then(|claim| claim.split('|').nth(2).map(str::to_owned));
    assert_ne!(started().as_deref(), Some("1"), "nobody has told yet: else this shows nothing");
    proxy.set(Mode::Pass);
    wait_until("the start to be told", SOON, || {
        holds_for(started().as_deref() == Some("1"), format!("{:?}", started()))
    });
}

#[test]
fn one_that_has_attached_and_not_yet_beaten_is_not_dead() {
    let bed = bed(json!({"worker_dead_after_seconds": 4}));
    let steps = Steps::new(&bed);
    let judge = bed.worker("judge");
    bed.wait_alive("judge");
    // The judge has watched for a whole lease by then, and believes what it sees.
    thread::sleep(Duration::from_secs(5));
    steps.arm("beating");
    let fresh = steps.worker(&bed, "fresh", json!({}));
    wait_at(&fresh, "beating");
    let attached = Instant::now();
    stays("it is not declared dead", Duration::from_millis(2500), || {
        holds_for(!judge.log().contains("took over"), judge.log())
    });
    if attached.elapsed() > Duration::from_secs(4) {
        eprintln!("this machine was too busy: nothing is shown");
        return;
    }
    steps.release("beating");
    bed.add(["shell:0:0:1:echo fine"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(!fresh.log().contains("lost Redis"), "{}", fresh.log());
}

#[test]
fn worker_back_during_take_over_loses_only_taken_tasks() {
    // Judged dead; before its first line moves it is back and beats: then it is alive, whatever was judged.
    let bed = bed(json!({"worker_dead_after_seconds": 2, "max_task_per_worker": 2}));
    let (steps, mark, gate) = (Steps::new(&bed), unique_sleep(), bed.out("gate"));
    let line = format!("shell:0:0:1:until test -e {gate}; do sleep 0.1; done; : {mark}");
    bed.add([&line]);
    let sleeper = bed.worker("sleeper");
    wait_there(&mark, 1);
    let checker = watch(&bed, std::slice::from_ref(&line));
    steps.arm("reclaiming");
    let judge = steps.worker(&bed, "judge", json!({}));
    bed.wait_alive("judge");
    sleeper.signal(Signal::SIGSTOP);
    wait_at(&judge, "reclaiming");
    sleeper.signal(Signal::SIGCONT);
    let beat = || bed.table("worker_status").get("sleeper").and_then(|row| row.split(':').next().map(str::to_owned));
    let old = beat();
    wait_until("it to beat", SOON, || holds_for(beat() != old, format!("{old:?}")));
    steps.release("reclaiming");
    stays("it keeps its task", Duration::from_secs(2), || {
        let rows = bed.table("in_progress_tasks");
        holds_for(rows.get(&line).map(String::as_str) == Some("sleeper"), format!("{rows:?}"))
    });
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(!sleeper.log().contains("no longer ours"), "{}", sleeper.log());
    checker.finish();
}

#[test]
fn a_judge_that_dies_half_way_leaves_the_rest_to_the_next() {
    for step in ["reclaiming", "reclaimed"] {
        let bed = bed(json!({"max_task_per_worker": 4}));
        let (steps, load) = (Steps::new(&bed), Load::new(&bed, 4));
        bed.add(&load.lines);
        let mut dead = steps.worker(&bed, "dead", json!({}));
        steps.arm("ended");
        wait_at(&dead, "ended");
        let checker = watch(&bed, &load.lines);
        steps.arm(step);
        let mut judge = steps.worker(&bed, "judge", json!({"max_task_per_worker": 1}));
        bed.wait_alive("judge");
        dead.kill9();
        wait_at(&judge, step);
        judge.kill9();
        let _next = bed.worker("next");
        bed.wait_counts(SOON, [0, 0, 4, 0]);
        wait_until("both to be deregistered", SOON, || {
            let owners = bed.table("distcomp:owner");
            holds_for(owners.len() == 1, format!("{owners:?}"))
        });
        checker.finish();
    }
}
