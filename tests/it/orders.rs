//! What operators order for running tasks: no second copy starts before the first is gone, and no outcome of the first is recorded, whatever happens
//! between the order and the death of the process.
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Bed, Output, Redis, SOON, ServerOptions, holds_for, lines_of, reason_of, stays, wait_until};

/// A server that keeps its data, and a grace that is long enough to be looked at.
fn bed(changes: Value) -> Bed {
    let mut conf = json!({
        "worker_dead_after_seconds": 60, "task_kill_grace_seconds": 2, "max_lost_per_task": 1, "retry_backoff_seconds": 0
    });
    conf.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    Bed::on(Redis::start(ServerOptions { durable: true, ..Default::default() }), conf)
}

/// A task that ignores SIGTERM until the file `gate` is there, and says `overlap` where another process of it still lives.
fn stubborn(bed: &Bed) -> String {
    let [lock, runs, gate] = ["lock", "runs", "gate"].map(|name| bed.out(name));
    format!(
        "shell:0:0:1:exec 9>{lock}; flock -n 9 || echo overlap >> {runs}; trap '' TERM; echo run >> {runs}; \
         while ! test -e {gate}; do sleep 0.05; done; echo end >> {runs}"
    )
}

fn runs(bed: &Bed) -> Vec<String> {
    lines_of(bed.out("runs"))
}

#[track_caller]
fn wait_runs(bed: &Bed, count: usize) {
    wait_until(&format!("{count} runs"), SOON, || {
        let seen = runs(bed);
        holds_for(seen.iter().filter(|line| *line == "run").count() >= count, format!("{seen:?} {:?}", bed.counts()))
    });
}

#[track_caller]
fn told(output: Output, text: &str) {
    let all = output.expect(0).all();
    assert!(all.contains(text), "{text:?} is missing: {all}");
}

#[track_caller]
fn no_overlap(bed: &Bed) {
    let seen = runs(bed);
    assert!(!seen.contains(&"overlap".to_owned()), "two copies at once: {seen:?}");
}

#[test]
fn requeued_task_starts_again_only_when_its_process_is_gone() {
    let bed = bed(json!({"max_task_per_worker": 4}));
    let line = stubborn(&bed);
    let _workers = ["one", "two"].map(|name| bed.worker(name));
    bed.add([&line]);
    wait_runs(&bed, 1);
    told(bed.ctl(&["requeue", &line, "--yes"]), "1 was running: it is being stopped");
    let shown = bed.status(&["show", &line]).expect(0).stdout;
    assert!(shown.contains("being requeued"), "{shown}");
    assert!(bed.status(&["explain", &line]).expect(0).stdout.contains("being requeued"));
    assert!(bed.status(&[]).expect(0).stdout.contains("1 running task is being stopped"));
    wait_runs(&bed, 2);
    no_overlap(&bed);
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    no_overlap(&bed);
    assert_eq!(bed.count("distcomp:marks"), 0);
}

#[test]
fn later_order_replaces_an_earlier_one() {
    let bed = bed(json!({}));
    let line = stubborn(&bed);
    let _worker = bed.worker("w");
    bed.add([&line]);
    wait_runs(&bed, 1);
    bed.ctl(&["requeue", &line, "--yes"]).expect(0);
    bed.ctl(&["cancel", &line, "--yes"]).expect(0);
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    assert_eq!(reason_of(&bed, &line), "cancelled");
    bed.ctl(&["requeue", &line, "--yes"]).expect(0);
    wait_runs(&bed, 2);
    bed.ctl(&["cancel", &line, "--yes"]).expect(0);
    bed.ctl(&["purge", &line, "--yes"]).expect(0);
    told(bed.ctl(&["requeue", &line, "--yes"]), "skipped 1");
    bed.wait_counts(SOON, [0, 0, 0, 0]);
    no_overlap(&bed);
}

#[test]
fn submission_of_a_task_being_purged_waits_for_its_end() {
    let bed = bed(json!({}));
    let line = stubborn(&bed);
    let _worker = bed.worker("w");
    bed.add([&line]);
    wait_runs(&bed, 1);
    bed.ctl(&["purge", &line, "--yes"]).expect(0);
    told(bed.submit(&["-"], format!("{line}\n")), "added 1");
    wait_runs(&bed, 2);
    no_overlap(&bed);
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
}

#[test]
fn outcome_that_comes_after_its_requeue_is_not_recorded() {
    let bed = bed(json!({}));
    let [runs, gate] = ["runs", "gate"].map(|name| bed.out(name));
    let line =
        format!("shell:0:0:1:echo run >> {runs}; while ! test -e {gate}; do sleep 0.05; done; echo end >> {runs}");
    let worker = bed.worker("w");
    bed.add([&line]);
    wait_runs(&bed, 1);
    worker.signal(Signal::SIGSTOP);
    bed.file("gate", "");
    wait_until("its end", SOON, || holds_for(lines_of(&runs).contains(&"end".to_owned()), "it runs"));
    bed.ctl(&["requeue", &line, "--yes"]).expect(0);
    worker.signal(Signal::SIGCONT);
    wait_runs(&bed, 2);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    let shown = bed.status(&["show", &line, "--json"]).expect(0).json();
    let ends: Vec<_> = shown["attempts"].as_array().expect("attempts").iter().map(|one| &one["result"]).collect();
    assert_eq!(ends, [&json!("cancelled"), &json!("exit 0")]);
}

#[test]
fn order_outlives_the_worker_that_is_killed_with_it() {
    for (op, after) in [("cancel", [0, 0, 0, 1]), ("purge", [0, 0, 0, 0])] {
        let bed = bed(json!({"worker_dead_after_seconds": 1, "task_kill_grace_seconds": 30}));
        let line = stubborn(&bed);
        let mut worker = bed.worker("w");
        bed.add([&line]);
        wait_runs(&bed, 1);
        bed.ctl(&[op, &line, "--yes"]).expect(0);
        assert_eq!(bed.counts(), [0, 1, 0, 0], "it stays in progress until it is stopped");
        worker.kill9();
        let _other = bed.worker("other");
        bed.wait_counts(SOON, after);
        stays("it does not run again", Duration::from_secs(1), || {
            let seen = runs(&bed);
            holds_for(seen == ["run"], format!("{seen:?}"))
        });
    }
}

#[test]
fn order_for_a_worker_that_restarts_is_carried_out_by_it() {
    let bed = bed(json!({"task_kill_grace_seconds": 30}));
    let line = stubborn(&bed);
    let mut worker = bed.worker("w");
    bed.add([&line]);
    wait_runs(&bed, 1);
    bed.ctl(&["requeue", &line, "--yes"]).expect(0);
    worker.kill9();
    let _again = bed.worker("w");
    wait_runs(&bed, 2);
    no_overlap(&bed);
    assert_eq!(bed.count("distcomp:lost"), 0, "an order is no loss");
}

#[test]
fn order_for_a_frozen_worker_is_executed_and_outcome_refused() {
    let bed = bed(json!({"worker_dead_after_seconds": 1}));
    let [runs, gate] = ["runs", "gate"].map(|name| bed.out(name));
    let line =
        format!("shell:0:0:1:echo run >> {runs}; while ! test -e {gate}; do sleep 0.05; done; echo end >> {runs}");
    let mut frozen = bed.worker("frozen");
    bed.add([&line]);
    wait_runs(&bed, 1);
    frozen.signal(Signal::SIGSTOP);
    bed.ctl(&["cancel", &line, "--yes"]).expect(0);
    let _other = bed.worker("other");
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    bed.ctl(&["pause", "--yes"]).expect(0);
    bed.ctl(&["requeue", &line, "--yes"]).expect(0);
    // It has ended by the time at which its worker goes on, and waits: for that of the cancelled attempt nothing is recorded.
    bed.file("gate", "");
    wait_until("its end", SOON, || holds_for(lines_of(&runs).contains(&"end".to_owned()), "it runs"));
    frozen.signal(Signal::SIGCONT);
    wait_until("the refusal", SOON, || holds_for(frozen.log().contains("no longer ours"), frozen.log()));
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
    bed.ctl(&["resume", "--yes"]).expect(0);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(lines_of(&runs), ["run", "end", "run", "end"]);
    assert!(frozen.is_running());
}

#[test]
fn order_outlives_a_restart_of_redis_before_the_end() {
    let mut bed = bed(json!({"task_kill_grace_seconds": 3}));
    let line = stubborn(&bed);
    let _worker = bed.worker("w");
    bed.add([&line]);
    wait_runs(&bed, 1);
    bed.ctl(&["cancel", &line, "--yes"]).expect(0);
    bed.redis.kill9();
    bed.redis.start_again();
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    assert_eq!(runs(&bed), ["run"]);
}

#[test]
fn order_for_a_dead_worker_is_carried_out_where_nobody_else_is() {
    let bed = bed(json!({"worker_dead_after_seconds": 1}));
    let line = stubborn(&bed);
    let mut worker = bed.worker("w");
    bed.add([&line]);
    wait_runs(&bed, 1);
    worker.kill9();
    wait_until("its lease to end", SOON, || {
        let workers = bed.status(&["workers", "--json"]).expect(0).json_lines();
        let age = workers.first().map_or(0, |one| one["heartbeat_age_seconds"].as_u64().unwrap_or(0));
        holds_for(age >= 2, format!("{workers:?}"))
    });
    told(bed.ctl(&["cancel", &line, "--yes"]), "cancelled 1 task");
    assert_eq!(bed.counts(), [0, 0, 0, 1]);
}

#[test]
fn drained_worker_carries_out_an_order_before_it_goes() {
    let bed = bed(json!({"task_kill_grace_seconds": 1}));
    let line = stubborn(&bed);
    let mut worker = bed.worker("w");
    bed.add([&line]);
    wait_runs(&bed, 1);
    bed.ctl(&["cancel", &line, "--yes"]).expect(0);
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
    assert_eq!(bed.counts(), [0, 0, 0, 1]);
    assert_eq!(bed.count("distcomp:owner"), 0, "its name is free");
}

#[test]
fn task_without_a_claim_is_changed_at_once() {
    let bed = bed(json!({}));
    bed.hset("in_progress_tasks", "shell:0:0:1:of python", "python-worker");
    told(bed.ctl(&["requeue", "shell:0:0:1:of python", "--yes"]), "cannot be stopped");
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
}
