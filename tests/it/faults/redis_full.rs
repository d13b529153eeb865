//! Rows "Redis disk full", out of memory and read-only: the server is there and takes no writes.
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{PATIENT, all_ran, bed, counted, wait_there, watch, workers};
use crate::support::{Bed, Cli, SOON, holds_for, wait_until};

fn replica_of(bed: &Bed, host: &str, port: &str) {
    ::redis::cmd("REPLICAOF").arg(host).arg(port).exec(&mut bed.redis.con()).expect("REPLICAOF");
}

/// Makes the server refuse writes for longer than the lease, in this way, under load.
#[track_caller]
fn refuses_writes(begin: impl Fn(&Bed), end: impl Fn(&Bed)) {
    let bed = bed(json!({"max_task_per_worker": 2, "worker_dead_after_seconds": PATIENT}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..12, "sleep 1;");
    let mut workers = workers(&bed, ["a", "b"]);
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    wait_there(&out, 4);
    begin(&bed);
    thread::sleep(Duration::from_secs(u64::from(PATIENT) + 2));
    for worker in &mut workers {
        assert!(worker.is_running(), "{}", worker.log());
    }
    end(&bed);
    assert_eq!(all_ran(&bed, &out, 12, Duration::from_secs(30)), 0);
    for worker in &workers {
        assert!(!worker.log().contains("took over"), "{}", worker.log());
        let lines = worker.log().lines().count();
        assert!(lines < 120, "{lines} lines\n{}", worker.log());
    }
    checker.finish();
}

#[test]
fn a_redis_out_of_memory_delays_and_loses_nothing() {
    refuses_writes(|bed| bed.redis.set("maxmemory", "1"), |bed| bed.redis.set("maxmemory", "0"));
}

#[test]
fn a_redis_that_is_read_only_delays_and_loses_nothing() {
    // Nobody is there to replicate from, so it keeps its data and refuses to change it.
    refuses_writes(|bed| replica_of(bed, "127.0.0.1", "1"), |bed| replica_of(bed, "NO", "ONE"));
}

#[test]
fn worker_waits_and_warns_while_redis_refuses_writes() {
    let bed = bed(json!({}));
    bed.add(["shell:0:0:1:echo hello"]);
    bed.redis.set("maxmemory", "1");
    let mut worker = bed.worker("w");
    wait_until("the worker to say that it waits", SOON, || {
        let log = worker.log();
        holds_for(log.contains("waiting for Redis") && log.contains("OOM"), log)
    });
    assert!(worker.is_running());
    bed.redis.set("maxmemory", "0");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
}

#[test]
fn a_submitter_that_redis_refuses_says_so_and_may_repeat() {
    let bed = bed(json!({}));
    bed.redis.set("maxmemory", "1");
    let submit = |bed: &Bed| bed.cli("distcomp-submit").args(["-"]).stdin("shell:0:0:1:echo hello\n");
    Cli::run(submit(&bed)).expect(3).says(&["OOM"]);
    assert_eq!(bed.count("todo_tasks"), 0);
    bed.redis.set("maxmemory", "0");
    Cli::run(submit(&bed)).expect(0);
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
}

#[test]
fn a_server_that_would_evict_tasks_is_warned_of() {
    let bed = bed(json!({}));
    bed.redis.set("maxmemory-policy", "allkeys-lru");
    let worker = bed.worker("w");
    wait_until("the warning", SOON, || {
        let log = worker.log();
        holds_for(log.contains("maxmemory-policy is allkeys-lru"), log)
    });
}
