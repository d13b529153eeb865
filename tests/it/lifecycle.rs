//! A worker's life: drain, second signal, restart, burst, death, reclaim, names, and a Redis that goes away.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{
    Bed, Redis, SOON, ServerOptions, Table, begun, holds_for, read, reason_of, result_of, task_id, unique_sleep,
    wait_until, with_argv,
};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

#[track_caller]
fn wait_gone(mark: &str, timeout: Duration) {
    wait_until("the task's processes to be gone", timeout, || {
        let left = with_argv(mark);
        holds_for(left.is_empty(), format!("{left:?}"))
    });
}

#[test]
fn sigterm_lets_running_tasks_end_and_returns_the_rest() {
    let bed = Bed::with(json!({"max_task_per_worker": 1}));
    let (begun, gate) = (bed.out("begun"), bed.out("gate"));
    let first = &format!("shell:0:0:9:echo > {begun}; until test -e {gate}; do sleep 0.05; done; echo done");
    bed.add([first]);
    bed.add((0..20).map(|at| format!("shell:0:0:1:echo {at}")));
    let mut worker = bed.worker("w");
    bed.wait_running(first);
    wait_until("the task to have started", SOON, || holds_for(!read(&begun).is_empty(), "not yet"));
    worker.sigterm();
    wait_until("the drain to be logged", SOON, || holds_for(worker.log().contains("drain"), worker.log()));
    bed.file("gate", "");
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
    assert_eq!(bed.counts(), [20, 0, 1, 0]);
    assert_eq!(result_of(&bed.table("finished_tasks"), first).1, "done");
    assert_eq!(bed.table("worker_status"), Table::new());
}

#[test]
fn tasks_that_outlive_the_drain_return_without_a_failure() {
    let bed = Bed::with(json!({"drain_timeout_seconds": 0.5}));
    let mark = unique_sleep();
    let line = format!("shell:0:0:9:sleep {mark}");
    bed.add([&line]);
    let mut worker = bed.worker("w");
    wait_until("the task to have started", SOON, || holds_for(!with_argv(&mark).is_empty(), "no sleep"));
    worker.sigterm();
    assert_eq!(worker.wait_exit(Duration::from_secs(10)), 0, "{}", worker.log());
    wait_gone(&mark, Duration::from_millis(500));
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
}

#[test]
fn a_second_signal_kills_and_returns_at_once() {
    let bed = Bed::with(json!({"drain_timeout_seconds": 300}));
    let mark = unique_sleep();
    bed.add([format!("shell:0:0:9:trap '' TERM; sleep {mark}; sleep {mark}")]);
    let mut worker = bed.worker("w");
    wait_until("the task to have started", SOON, || holds_for(begun(&mark).len() >= 2, "no sleep"));
    worker.sigterm();
    wait_until("the drain to be logged", SOON, || {
        let log = worker.log();
        holds_for(log.to_lowercase().contains("drain"), log)
    });
    assert!(worker.is_running());
    worker.sigterm();
    worker.wait_exit(Duration::from_secs(5));
    wait_gone(&mark, Duration::from_millis(500));
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
}

#[test]
fn killed_worker_leaves_no_process_and_restart_recovers() {
    let bed = Bed::new();
    let (mark, out) = (unique_sleep(), bed.out("runs"));
    let gate = bed.out("gate");
    let line = format!("shell:0:0:9:echo ran >> {out}; test -e {gate} || {{ (setsid sleep {mark} &); sleep {mark}; }}");
    bed.add([&line]);
    let mut worker = bed.worker("w");
    wait_until("the tree to grow", SOON, || holds_for(begun(&mark).len() >= 3, "not yet"));
    worker.kill9();
    wait_gone(&mark, Duration::from_secs(2));
    assert_eq!(bed.counts(), [0, 1, 0, 0], "in progress until someone takes it back");
    bed.file("gate", "");
    let _again = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(read(&out), "ran\nran\n");
    assert_eq!(bed.count("task_fail_reason"), 0);
}

#[test]
fn a_dead_workers_tasks_are_reclaimed_with_no_failure_counted() {
    let bed = Bed::with(json!({"worker_dead_after_seconds": 1.5, "max_lost_per_task": 3}));
    let gate = bed.out("gate");
    let line = format!("shell:0:0:9:test -e {gate} || sleep 3600; echo here");
    bed.add([&line]);
    let mut dead = bed.worker("dead");
    assert_eq!(bed.wait_running(&line), "dead");
    wait_until("the task to have started", SOON, || holds_for(!with_argv(&gate).is_empty(), "not yet"));
    let _alive = bed.worker("alive");
    bed.wait_alive("alive");
    bed.file("gate", "");
    dead.kill9();
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(result_of(&bed.table("finished_tasks"), &line), ("alive".to_owned(), "here".to_owned()));
    wait_until("the dead worker's status to go", SOON, || {
        let seen = bed.table("worker_status");
        holds_for(!seen.contains_key("dead"), format!("{seen:?}"))
    });
}

#[test]
fn a_task_that_loses_its_worker_too_often_fails() {
    let bed = Bed::with(json!({"worker_dead_after_seconds": 1.5, "max_lost_per_task": 2}));
    let mark = unique_sleep();
    let line = format!("shell:0:0:9:sleep {mark}");
    bed.add([&line]);
    for name in ["one", "two"] {
        let mut worker = bed.worker(name);
        wait_until("the task to have started", SOON, || holds_for(!with_argv(&mark).is_empty(), worker.log()));
        // The start of an attempt travels with the next heartbeat.
        let started = || bed.table(&format!("distcomp:claims:{name}")).remove(&line).unwrap_or_default();
        wait_until("the start to be told", SOON, || holds_for(started().split('|').nth(2) == Some("1"), started()));
        worker.kill9();
        wait_gone(&mark, Duration::from_secs(5));
    }
    let _third = bed.worker("three");
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    let reason = reason_of(&bed, &line);
    assert!(reason.contains("worker lost 2 times"), "{reason}");
}

#[test]
fn a_worker_lost_before_its_next_heartbeat_counts_as_lost() {
    let bed =
        Bed::with(json!({"health_report_interval": 60, "worker_dead_after_seconds": 200, "max_lost_per_task": 2}));
    let mark = unique_sleep();
    let line = format!("shell:0:0:9:sleep {mark}");
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    bed.add([&line]);
    for _ in 0..2 {
        wait_until("the task to have started", SOON, || holds_for(!with_argv(&mark).is_empty(), worker.log()));
        worker.kill9();
        wait_gone(&mark, Duration::from_secs(5));
        worker = bed.worker("w");
    }
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    assert!(reason_of(&bed, &line).contains("worker lost 2 times"));
}

#[test]
fn burst_ends_when_nothing_is_left_that_it_could_run() {
    let bed = Bed::with(json!({"max_retry_per_task": 2}));
    bed.burst("w");
    bed.add((0..30).map(|at| format!("shell:0:0:1:sleep 0.05; echo {at}")));
    bed.add(["shell:0:0:1:exit 1", "shell:1000000:0:1:echo never here"]);
    let mut worker = bed.worker_with("w", json!({}), &["--burst"]);
    assert_eq!(worker.wait_exit(SOON), 0);
    assert_eq!(bed.counts(), [1, 0, 30, 1]);
    let log = worker.log();
    assert!(log.contains("tasks wait that this worker cannot run") && log.contains("left=1"), "{log}");
}

#[test]
fn a_second_live_worker_of_one_name_refuses_to_start() {
    let bed = Bed::new();
    let mut first = bed.worker("w");
    bed.wait_alive("w");
    // With the first one's state directory, and with one of its own as on another node.
    for changes in [json!({}), json!({"state_dir": bed.out("elsewhere")})] {
        let mut second = bed.worker_with("w", changes, &[]);
        assert_eq!(second.wait_exit(SOON), 2, "{}", second.log());
    }
    assert!(first.is_running(), "the first one is not disturbed");
    bed.add(["shell:0:0:1:echo still here"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(first.name(), "w");
}

#[test]
fn worker_refuses_the_name_of_a_live_python_worker() {
    let bed = Bed::new();
    let stop = Arc::new(AtomicBool::new(false));
    let mut con = bed.redis.con();
    let seen = Arc::clone(&stop);
    let twin = thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            let status = format!("{}:1.00:8.00:2.00:16.00", now());
            ::redis::cmd("HSET").arg("worker_status").arg("w").arg(status).exec(&mut con).expect("a beat");
            thread::sleep(Duration::from_secs(1));
        }
    });
    bed.wait_alive("w");
    let mut worker = bed.worker("w");
    let code = worker.wait_exit(Duration::from_secs(30));
    stop.store(true, Ordering::Relaxed);
    twin.join().expect("the twin ends");
    assert_eq!(code, 2, "{}", worker.log());
    assert!(bed.table("worker_status").contains_key("w"), "the twin's status stays");
}

#[test]
fn a_dead_namesake_is_taken_over() {
    let bed = Bed::new();
    bed.hset("worker_status", "w", format!("{}:1.00:8.00:2.00:16.00", now() - 1000));
    bed.add(["shell:0:0:1:echo mine"]);
    let _worker = bed.worker("w");
    bed.wait_counts(Duration::from_secs(30), [0, 0, 1, 0]);
}

#[test]
fn a_clean_exit_frees_the_name_at_once() {
    let bed = Bed::new();
    for _ in 0..3 {
        let mut worker = bed.worker_with("w", json!({"state_dir": bed.out("one-place")}), &[]);
        bed.wait_alive("w");
        worker.sigterm();
        assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
    }
}

#[test]
fn names_that_would_break_the_wire_format_are_refused() {
    let bed = Bed::new();
    let long = "x".repeat(65);
    for name in ["a,b", "a:b", "a b", "", "ü", long.as_str()] {
        bed.cli("distcomp-worker").args(["--name", name]).run().expect(2);
    }
}

#[test]
fn a_worker_waits_for_redis_and_says_so() {
    let mut bed = Bed::with(json!({"task_prefetch": 0}));
    bed.redis.kill9();
    let mut worker = bed.worker("w");
    wait_until("the worker to say that it waits", SOON, || {
        let log = worker.log();
        holds_for(log.to_lowercase().contains("redis"), log)
    });
    assert!(worker.is_running());
    bed.redis.start_again();
    bed.add(["shell:0:0:1:echo hello"]);
    bed.wait_counts(Duration::from_secs(30), [0, 0, 1, 0]);
}

#[test]
fn a_worker_that_waits_for_redis_goes_at_once_when_asked() {
    let mut bed = Bed::new();
    bed.redis.kill9();
    let mut worker = bed.worker("w");
    wait_until("the worker to say that it waits", SOON, || holds_for(worker.log().contains("waiting"), worker.log()));
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
}

#[test]
fn tasks_run_on_while_redis_is_away_and_are_recorded_once() {
    let redis = Redis::start(ServerOptions { durable: true, ..Default::default() });
    let mut bed = Bed::on(redis, json!({"max_task_per_worker": 1, "task_prefetch": 0}));
    let out = bed.out("runs");
    let line = format!("shell:0:0:9:echo start >> {out}; sleep 1.5; echo end >> {out}");
    bed.add([line.as_str(), "shell:0:0:1:echo next"]);
    let _worker = bed.worker("w");
    wait_until("the task to have started", SOON, || holds_for(read(&out) == "start\n", read(&out)));
    bed.redis.kill9();
    wait_until("the task to end without Redis", SOON, || holds_for(read(&out) == "start\nend\n", read(&out)));
    bed.redis.start_again();
    bed.wait_counts(Duration::from_secs(30), [0, 0, 2, 0]);
    assert_eq!(read(&out), "start\nend\n", "it ran once");
}

#[test]
fn a_redis_that_hangs_delays_and_loses_nothing() {
    let bed = Bed::with(json!({"max_task_per_worker": 2}));
    let out = bed.out("runs");
    bed.add((0..40).map(|at| format!("shell:0:0:1:sleep 0.1; echo {at} >> {out}")));
    let mut worker = bed.worker("w");
    wait_until("some tasks to be done", SOON, || holds_for(bed.count("finished_tasks") >= 5, "not yet"));
    bed.redis.freeze();
    thread::sleep(Duration::from_secs(6));
    bed.redis.thaw();
    bed.wait_counts(Duration::from_secs(40), [0, 0, 40, 0]);
    assert_eq!(read(&out).lines().count(), 40, "each ran once");
    assert!(worker.is_running());
}

#[test]
fn a_log_follows_a_task_by_its_id_and_can_be_json() {
    let bed = Bed::new();
    let line = "shell:0:0:1:exit 3";
    bed.add([line]);
    let mut worker = bed.worker_with("w", json!({}), &["--burst", "--log-format", "json"]);
    assert_eq!(worker.wait_exit(SOON), 0);
    let log = worker.log();
    for row in log.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(row).is_ok(), "not JSON: {row}");
    }
    assert!(log.contains(&task_id(line)), "{log}");
}

#[test]
fn burst_ends_while_the_queue_is_paused_and_empty() {
    let bed = Bed::new();
    bed.ctl(&["--yes", "pause"]).expect(0);
    let mut worker = bed.worker_with("w", json!({}), &["--burst"]);
    worker.wait_exit(SOON);
    bed.add(["shell:0:0:1:true"]);
    let mut waiting = bed.worker_with("w", json!({}), &["--burst"]);
    bed.wait_alive("w");
    assert!(waiting.is_running());
    bed.ctl(&["--yes", "resume"]).expect(0);
    waiting.wait_exit(SOON);
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}
