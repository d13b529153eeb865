//! Row "clock jump": the clock of a worker's node, or of the server, is set by an hour and back. Nobody is dead for that, and no limit moves.
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PATIENT, all_ran, bed, counted, wait_there, watch, workers};
use crate::support::{Bed, Clock, Redis, SOON, ServerOptions, Worker, holds_for, reason_of, result_of, wait_until};

const HOUR: i64 = 3600;

fn worker_with(bed: &Bed, name: &str, clock: &Clock, conf: Value) -> Worker {
    let through = clock.through();
    let through: Vec<&str> = through.iter().map(String::as_str).collect();
    bed.worker_through(&through, name, conf, &[])
}

fn server_with_clock() -> Bed {
    let server = Redis::start(ServerOptions { durable: true, clock: true, ..Default::default() });
    Bed::on(server, json!({"worker_dead_after_seconds": PATIENT, "max_lost_per_task": 100, "max_task_per_worker": 4}))
}

/// The server's clock, in seconds.
fn server_time(bed: &Bed) -> i64 {
    ::redis::cmd("TIME").query::<(i64, i64)>(&mut bed.redis.con()).expect("TIME").0
}

#[test]
fn clock_jump_of_a_worker_kills_nothing_early_or_late() {
    let bed = bed(json!({"max_task_per_worker": 4, "worker_dead_after_seconds": PATIENT}));
    let out = bed.out("runs");
    let clock = Clock::new();
    let _other = bed.worker_with("other", json!({"max_task_per_worker": 1}), &[]);
    let worker = worker_with(&bed, "w", &clock, json!({}));
    bed.wait_alive("w");
    let lines: Vec<String> =
        (0..5).map(|at| format!("shell:0:0:1:60:date +%s > {out}.{at}; sleep 4; echo {at} >> {out}")).collect();
    let short = "shell:0:0:9:3:sleep 600; true $DISTCOMP_WORKER";
    let start = Instant::now();
    bed.add(lines.iter().map(String::as_str).chain([short]));
    let checker = watch(&bed, &lines);
    wait_until("all to run", SOON, || holds_for(bed.count("in_progress_tasks") >= 5, format!("{:?}", bed.counts())));
    for offset in [HOUR, -HOUR, 0, HOUR] {
        clock.set(offset);
        thread::sleep(Duration::from_millis(600));
    }
    bed.wait_counts(Duration::from_secs(40), [0, 0, 5, 1]);
    assert!(start.elapsed() > Duration::from_secs(3), "the limit of the short one was kept");
    assert!(reason_of(&bed, short).starts_with("timed out after 3 s"), "{}", reason_of(&bed, short));
    assert_eq!(crate::support::run_times(&out).values().max(), Some(&1));
    assert!(!worker.log().contains("took over"), "{}", worker.log());
    // The next task, on a clock that is an hour off: its limit counts its own seconds.
    bed.add(["shell:0:0:1:30:sleep 1; echo fine"]);
    bed.wait_counts(SOON, [0, 0, 6, 1]);
    checker.finish();
}

#[test]
fn a_workers_clock_that_is_an_hour_off_is_nobodys_death() {
    let bed = bed(json!({"max_task_per_worker": 2, "worker_dead_after_seconds": PATIENT}));
    let (out, clock) = (bed.out("runs"), Clock::new());
    clock.set(-HOUR);
    let off = worker_with(&bed, "off", &clock, json!({}));
    let right = bed.worker("right");
    bed.wait_alive("off");
    bed.wait_alive("right");
    let lines = counted(&out, 0..40, "sleep 0.3;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    wait_there(&out, 3);
    thread::sleep(Duration::from_secs(2));
    clock.set(HOUR);
    assert_eq!(all_ran(&bed, &out, 40, Duration::from_secs(40)), 0);
    for worker in [&off, &right] {
        assert!(!worker.log().contains("took over") && !worker.log().contains("lost Redis"), "{}", worker.log());
    }
    let by: std::collections::BTreeSet<String> =
        bed.table("finished_tasks").values().map(|value| value.split(':').next().unwrap_or("").to_owned()).collect();
    assert_eq!(by.len(), 2, "both worked: {by:?}");
    checker.finish();
}

#[test]
fn clock_jump_of_a_worker_moves_the_end_of_no_life() {
    let bed = bed(json!({"max_task_per_worker": 1, "drain_timeout_seconds": 0}));
    let [ahead, back] = [Clock::new(), Clock::new()];
    let mut long = worker_with(&bed, "long", &ahead, json!({"time_limit_seconds": 1800}));
    let mut short = worker_with(&bed, "short", &back, json!({"time_limit_seconds": 12}));
    for worker in [&long, &short] {
        wait_until("its start", SOON, || holds_for(worker.log().contains("started"), worker.log()));
    }
    ahead.set(HOUR);
    let start = Instant::now();
    back.set(-HOUR);
    assert_eq!(short.wait_exit(SOON), 0, "{}", short.log());
    assert!(short.log().contains("time_limit_seconds is almost over"), "{}", short.log());
    // A worker looks at its time every ten seconds.
    thread::sleep(Duration::from_secs(12).saturating_sub(start.elapsed()));
    assert!(long.is_running() && !long.log().contains("draining"), "{}", long.log());
}

#[test]
fn clock_jump_of_the_server_declares_nobody_dead() {
    let bed = server_with_clock();
    let out = bed.out("runs");
    let lines = counted(&out, 0..60, "sleep 2;");
    let workers = workers(&bed, ["a", "b", "c"]);
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    wait_there(&out, 12);
    // They have watched for a whole lease by then, and may believe what they see.
    thread::sleep(Duration::from_secs(u64::from(PATIENT) + 1));
    let before = server_time(&bed);
    for offset in [HOUR, 0, -HOUR, 0, 2 * HOUR] {
        bed.redis.clock().set(offset);
        thread::sleep(Duration::from_millis(1500));
    }
    assert!(server_time(&bed) - before > HOUR, "it jumped: else this shows nothing");
    assert_eq!(all_ran(&bed, &out, 60, Duration::from_secs(40)), 0);
    for worker in &workers {
        let log = worker.log();
        assert!(!log.contains("took over") && !log.contains("no longer ours"), "{log}");
    }
    checker.finish();
}

#[test]
fn dead_workers_are_found_after_a_server_clock_change() {
    for offset in [HOUR, -HOUR] {
        let bed = server_with_clock();
        let out = bed.out("runs");
        let gate = bed.out("gate");
        let line = format!("shell:0:0:9:echo run >> {out}; test -e {gate} || sleep 600; echo $DISTCOMP_WORKER");
        bed.add([&line]);
        let mut dead = bed.worker("dead");
        wait_there(&gate, 1);
        let _alive = bed.worker("alive");
        bed.wait_alive("alive");
        let checker = watch(&bed, std::slice::from_ref(&line));
        bed.file("gate", "");
        // Its last heartbeat is an hour old at once, or an hour in the future.
        dead.kill9();
        bed.redis.clock().set(offset);
        bed.wait_counts(Duration::from_secs(30), [0, 0, 1, 0]);
        assert_eq!(result_of(&bed.table("finished_tasks"), &line).1, "alive");
        checker.finish();
    }
}

#[test]
fn waiting_retry_keeps_its_delay_when_server_clock_goes_back() {
    let mut bed = server_with_clock();
    bed.configure(json!({"retry_backoff_seconds": 3, "max_retry_per_task": 3}));
    let gate = bed.out("gate");
    let line = format!("shell:0:0:1:test -e {gate}");
    bed.add([&line]);
    let _worker = bed.worker("w");
    wait_until("its failure", SOON, || holds_for(bed.count("task_fail_reason") == 1, format!("{:?}", bed.counts())));
    bed.redis.clock().set(-HOUR);
    bed.file("gate", "");
    bed.wait_counts(Duration::from_secs(40), [0, 0, 1, 0]);
}
