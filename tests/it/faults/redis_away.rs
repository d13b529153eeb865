//! Rows "Redis SIGKILL", "restart", "hang" and "power loss": what runs goes on, what is known is told once, and nobody is declared dead.
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{PATIENT, all_ran, bed, counted, wait_there, watch};
use crate::support::{SOON, begun, holds_for, read, run_times, wait_until};

#[test]
fn redis_killed_three_times_under_load_loses_nothing() {
    let mut bed = bed(json!({"max_task_per_worker": 4, "worker_dead_after_seconds": PATIENT}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..300, "sleep 0.05;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let mut workers = [bed.worker("a"), bed.worker("b")];
    for round in 1..=3 {
        wait_until("some tasks to be done", SOON, || holds_for(bed.count("finished_tasks") >= round * 40, "not yet"));
        bed.redis.kill9();
        thread::sleep(Duration::from_millis(700));
        bed.redis.start_again();
    }
    // A claim whose answer died with the server is given back at the reconnect: no run is lost or repeated.
    assert_eq!(all_ran(&bed, &out, 300, Duration::from_secs(40)), 0);
    for worker in &mut workers {
        assert!(worker.is_running(), "{}", worker.log());
    }
    checker.finish();
}

#[test]
fn a_redis_that_is_restarted_under_load_costs_no_run() {
    let mut bed = bed(json!({"max_task_per_worker": 4, "worker_dead_after_seconds": PATIENT}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..120, "sleep 0.05;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let _workers = [bed.worker("a"), bed.worker("b")];
    for round in 1..=2 {
        wait_until("some tasks to be done", SOON, || holds_for(bed.count("finished_tasks") >= round * 20, "not yet"));
        bed.redis.stop();
        thread::sleep(Duration::from_millis(300));
        bed.redis.start_again();
    }
    assert_eq!(all_ran(&bed, &out, 120, Duration::from_secs(40)), 0);
    checker.finish();
}

#[test]
fn redis_outage_beyond_the_lease_declares_nobody_dead() {
    let mut bed = bed(json!({"max_task_per_worker": 2, "worker_dead_after_seconds": PATIENT}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..4, "sleep 18;");
    bed.add(&lines);
    let workers = [bed.worker("a"), bed.worker("b")];
    wait_there(&out, 4);
    let checker = watch(&bed, &lines);
    bed.redis.kill9();
    thread::sleep(Duration::from_secs(u64::from(PATIENT) + 2));
    bed.redis.start_again();
    for name in ["a", "b"] {
        bed.wait_alive(name);
    }
    bed.redis.freeze();
    // Longer than anybody waits for an answer: both must come back, and one of them is first.
    thread::sleep(Duration::from_secs(8));
    bed.redis.thaw();
    assert_eq!(all_ran(&bed, &out, 4, Duration::from_secs(40)), 0, "each ran once, in the same worker");
    for worker in &workers {
        assert!(!worker.log().contains("took over"), "{}", worker.log());
    }
    checker.finish();
}

#[test]
fn redis_hanging_for_8_s_costs_no_result_and_no_busy_loop() {
    let bed = bed(json!({"max_task_per_worker": 4, "worker_dead_after_seconds": 30}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..12, "sleep 2;");
    bed.add(&lines);
    let worker = bed.worker("w");
    wait_there(&out, 4);
    let ticks = || -> u64 {
        let stat = read(format!("/proc/{}/stat", worker.pid()));
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
    };
    bed.redis.freeze();
    let before = ticks();
    thread::sleep(Duration::from_secs(8));
    let used = ticks() - before;
    bed.redis.thaw();
    // A hundred ticks are a second: 8 s at 5 %.
    assert!(used <= 40, "{used} ticks of processor time in 8 s\n{}", worker.log());
    assert!(read(&out).lines().count() >= 4, "what ran ended meanwhile");
    let checker = watch(&bed, &lines);
    assert_eq!(all_ran(&bed, &out, 12, Duration::from_secs(40)), 0);
    checker.finish();
}

#[test]
fn data_loss_restores_claims_and_repeats_recent_results() {
    let mut bed = bed(json!({"max_task_per_worker": 8, "worker_dead_after_seconds": 30}));
    let out = bed.out("runs");
    let quick = counted(&out, 0..6, "");
    let slow = counted(&out, 6..8, "sleep 6;");
    bed.add(quick.iter().chain(&slow));
    // The cut reaches back to the moment after the submission: claims, results and heartbeats are gone.
    let kept = bed.redis.log_length();
    let worker = bed.worker("w");
    wait_until("the quick ones to be done", SOON, || holds_for(bed.count("finished_tasks") == 6, "not yet"));
    wait_there(&out, 2);
    bed.redis.kill9();
    bed.redis.cut_tail(bed.redis.log_length() - kept);
    // Held for a look at what the server has before the worker has told it.
    worker.signal(Signal::SIGSTOP);
    bed.redis.start_again();
    assert_eq!(bed.count("finished_tasks"), 0, "the data is lost: else this shows nothing");
    worker.signal(Signal::SIGCONT);
    wait_until("the results to be there again", SOON, || {
        holds_for(bed.count("finished_tasks") == 6, format!("{:?}", bed.counts()))
    });
    // It tells the results first, then what runs.
    bed.wait_counts(SOON, [0, 2, 6, 0]);
    assert_eq!(begun(&out).len(), 2, "the same two run on");
    bed.wait_counts(SOON, [0, 0, 8, 0]);
    assert!(run_times(&out).values().all(|times| *times == 1), "{}", read(&out));
}

#[test]
fn empty_server_gets_back_what_the_worker_knows() {
    let mut bed = bed(json!({"max_task_per_worker": 4, "worker_dead_after_seconds": 30}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..2, "sleep 3;");
    bed.add(&lines);
    let _worker = bed.worker("w");
    wait_there(&out, 2);
    bed.redis.kill9();
    bed.redis.cut_tail(u64::MAX);
    bed.redis.start_again();
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    assert_eq!(read(&out).lines().count(), 2);
}
