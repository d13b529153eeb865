//! Row "network cut", through a proxy: silent, deaf one way, reset, slow.
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{all_ran, bed, counted, wait_there, watch};
use crate::support::{Bed, Mode, Proxy, SOON, Worker, holds_for, wait_until};

/// A worker behind a proxy of its own.
fn behind(bed: &Bed, name: &str) -> (Proxy, Worker) {
    let proxy = Proxy::start(&bed.redis.socket());
    let worker = bed.worker_with(name, json!({"redis_url": proxy.url()}), &[]);
    (proxy, worker)
}

#[test]
fn a_silent_cut_is_noticed_within_ten_seconds_and_healed() {
    let bed = bed(json!({"worker_dead_after_seconds": 30, "max_task_per_worker": 2}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..8, "sleep 1;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let (proxy, worker) = behind(&bed, "w");
    wait_there(&out, 2);
    let start = Instant::now();
    proxy.set(Mode::Silent);
    wait_until("the cut to be noticed", Duration::from_secs(10), || {
        let log = worker.log();
        holds_for(log.contains("lost Redis"), log)
    });
    thread::sleep(Duration::from_secs(6).saturating_sub(start.elapsed()));
    // What was sent into the old connection arrives now, late: a claim among it must not count.
    proxy.set(Mode::Pass);
    assert_eq!(all_ran(&bed, &out, 8, Duration::from_secs(30)), 0);
    assert!(worker.log().contains("Redis is back"), "{}", worker.log());
    checker.finish();
}

#[test]
fn lost_answers_cause_no_second_claim_and_no_second_report() {
    let bed = bed(json!({"worker_dead_after_seconds": 60, "max_task_per_worker": 4}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..120, "sleep 0.1;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let (proxy, _worker) = behind(&bed, "w");
    for goal in [10, 40] {
        wait_until("some tasks to be done", Duration::from_secs(60), || {
            holds_for(bed.count("finished_tasks") >= goal, "not yet")
        });
        proxy.set(Mode::DropAnswers);
        thread::sleep(Duration::from_secs(5));
        proxy.set(Mode::Pass);
    }
    assert_eq!(all_ran(&bed, &out, 120, Duration::from_secs(40)), 0, "no answer lost is a task run twice");
    let tally = bed.table("distcomp:tally");
    assert_eq!(tally.get("finished").map(String::as_str), Some("120"), "each is counted once: {tally:?}");
    checker.finish();
}

#[test]
fn cut_longer_than_the_lease_moves_tasks_and_fences_results() {
    let bed = bed(json!({"max_task_per_worker": 2}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..2, "sleep 3;");
    bed.add(&lines);
    let (proxy, first) = behind(&bed, "first");
    wait_there(&out, 2);
    let _second = bed.worker("second");
    bed.wait_alive("second");
    let checker = watch(&bed, &lines);
    proxy.set(Mode::Silent);
    assert_eq!(all_ran(&bed, &out, 2, SOON), 2, "each ran on both");
    let results = bed.table("finished_tasks");
    assert!(results.values().all(|value| value.starts_with("second: ")), "{results:?}");
    proxy.set(Mode::Pass);
    wait_until("the late results to be refused", SOON, || {
        let log = first.log();
        holds_for(log.matches("refused").count() >= 2, log)
    });
    assert_eq!(bed.table("finished_tasks"), results);
    checker.finish();
}

#[test]
fn resets_and_a_slow_line_delay_and_lose_nothing() {
    let bed = bed(json!({"worker_dead_after_seconds": 30, "max_task_per_worker": 4}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..60, "sleep 0.05;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let (proxy, _worker) = behind(&bed, "w");
    for goal in [5, 15, 25] {
        wait_until("some tasks to be done", Duration::from_secs(60), || {
            holds_for(bed.count("finished_tasks") >= goal, "not yet")
        });
        proxy.set(Mode::Reset);
        thread::sleep(Duration::from_millis(200));
        proxy.set(Mode::Delay(Duration::from_millis(150)));
    }
    assert_eq!(all_ran(&bed, &out, 60, Duration::from_secs(40)), 0);
    checker.finish();
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_an_answer() {
    let bed = bed(json!({"worker_dead_after_seconds": 30, "max_task_per_worker": 4}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..40, "sleep 0.05;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let (proxy, worker) = behind(&bed, "w");
    wait_until("some tasks to be done", Duration::from_secs(60), || {
        holds_for(bed.count("finished_tasks") >= 5, "not yet")
    });
    proxy.set(Mode::Trickle(Duration::from_micros(500)));
    assert_eq!(all_ran(&bed, &out, 40, Duration::from_secs(60)), 0);
    assert!(!worker.log().contains("lost Redis"), "{}", worker.log());
    checker.finish();
}

#[test]
fn answer_after_the_timeout_counts_as_lost_and_runs_once() {
    let bed = bed(json!({"worker_dead_after_seconds": 60, "max_task_per_worker": 4}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..40, "sleep 0.1;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let (proxy, worker) = behind(&bed, "w");
    wait_until("some tasks to be done", Duration::from_secs(60), || {
        holds_for(bed.count("finished_tasks") >= 5, "not yet")
    });
    // A byte a second: whatever it is, it is not there within four seconds.
    proxy.set(Mode::Trickle(Duration::from_secs(1)));
    wait_until("it to be noticed", Duration::from_secs(12), || {
        holds_for(worker.log().contains("lost Redis"), worker.log())
    });
    thread::sleep(Duration::from_secs(2));
    proxy.set(Mode::Pass);
    assert_eq!(all_ran(&bed, &out, 40, Duration::from_secs(60)), 0);
    checker.finish();
}

#[test]
fn half_closed_connection_is_noticed_and_repeats_nothing() {
    let bed = bed(json!({"worker_dead_after_seconds": 60, "max_task_per_worker": 4}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..80, "sleep 0.1;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let (proxy, worker) = behind(&bed, "w");
    for (round, goal) in [5, 20, 40].into_iter().enumerate() {
        wait_until("some tasks to be done", Duration::from_secs(60), || {
            holds_for(bed.count("finished_tasks") >= goal, "not yet")
        });
        proxy.set(Mode::HalfClose);
        wait_until("it to be noticed", Duration::from_secs(10), || {
            holds_for(worker.log().matches("lost Redis").count() > round, worker.log())
        });
        thread::sleep(Duration::from_millis(500));
        proxy.set(Mode::Pass);
        wait_until("it to be back", SOON, || {
            holds_for(worker.log().matches("Redis is back").count() > round, worker.log())
        });
    }
    assert_eq!(all_ran(&bed, &out, 80, Duration::from_secs(60)), 0);
    let tally = bed.table("distcomp:tally");
    assert_eq!(tally.get("finished").map(String::as_str), Some("80"), "each is counted once: {tally:?}");
    checker.finish();
}

#[test]
fn a_submitter_that_is_cut_off_says_so_and_may_repeat() {
    let bed = bed(json!({}));
    let proxy = Proxy::start(&bed.redis.socket());
    let lines = counted(&bed.out("runs"), 0..500, "");
    for mode in [Mode::Silent, Mode::DropAnswers, Mode::HalfClose, Mode::Reset] {
        proxy.set(mode);
        let start = Instant::now();
        let submitted = bed
            .cli("distcomp-submit")
            .args(["--redis-url", &bed.url_through(&proxy), "-"])
            .stdin(lines.join("\n"))
            .run();
        assert!(submitted.is(3), "{mode:?}: {}", submitted.all());
        assert!(start.elapsed() < Duration::from_secs(30), "{mode:?}: {:?}", start.elapsed());
    }
    proxy.set(Mode::Pass);
    bed.cli("distcomp-submit")
        .args(["--redis-url", &bed.url_through(&proxy), "-"])
        .stdin(lines.join("\n"))
        .run()
        .expect(0);
    assert_eq!(bed.counts(), [500, 0, 0, 0]);
}
