//! Row "worker SIGSTOP": shorter and longer than the lease.
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{bed, wait_there, watch};
use crate::support::{SOON, holds_for, read, result_of, stays, unique_sleep, wait_until, with_argv};

#[test]
fn worker_frozen_past_its_lease_is_fenced() {
    let bed = bed(json!({"max_task_per_worker": 2}));
    let out = bed.out("runs");
    // One ends while the worker is frozen, one runs on past the thaw.
    let (mark, gate) = (unique_sleep(), bed.out("gate"));
    let short = format!("shell:0:0:9:sleep 1; echo $DISTCOMP_WORKER >> {out}; echo $DISTCOMP_WORKER");
    let long = format!("shell:0:0:8:test -e {gate} || sleep {mark}; echo $DISTCOMP_WORKER");
    bed.add([&short, &long]);
    let mut first = bed.worker("first");
    wait_there(&mark, 1);
    wait_there(&out, 1);
    let epoch = |fence: Option<String>| fence.and_then(|fence| fence.rsplit_once(':')?.1.parse::<u64>().ok());
    let owner = || bed.table("distcomp:owner").remove("first");
    let before = epoch(owner()).expect("its epoch");
    first.signal(Signal::SIGSTOP);
    bed.file("gate", "");
    let _second = bed.worker("second");
    let checker = watch(&bed, &[short.clone(), long.clone()]);
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    let results = bed.table("finished_tasks");
    assert_eq!(result_of(&results, &short).0, "second");
    wait_until("its name to be deregistered", SOON, || holds_for(owner().is_none(), format!("{:?}", owner())));
    first.signal(Signal::SIGCONT);
    wait_until("the first one to see that it was refused", SOON, || {
        let log = first.log();
        holds_for(log.contains("no longer ours") && log.contains("refused"), log)
    });
    wait_until("its copy to be killed", SOON, || holds_for(with_argv(&mark).is_empty(), "it lives"));
    bed.wait_alive("first");
    // What it sent before the freeze, under its old epoch, must stay refused: no epoch comes twice, even of a name that was forgotten.
    let after = epoch(owner()).expect("its epoch");
    assert!(after > before, "{before} -> {after}");
    assert_eq!(bed.table("finished_tasks"), results, "nothing was written over");
    assert_eq!(read(&out).lines().count(), 2, "it ran on each");
    assert!(first.is_running(), "and goes on working");
    bed.add(["shell:0:0:1:echo next"]);
    bed.wait_counts(SOON, [0, 0, 3, 0]);
    checker.finish();
}

#[test]
fn frozen_for_less_than_its_lease_a_worker_loses_nothing() {
    let bed = bed(json!({"worker_dead_after_seconds": 30}));
    let out = bed.out("runs");
    let line = format!("shell:0:0:9:sleep 1; echo ran >> {out}");
    bed.add([&line]);
    let first = bed.worker("first");
    wait_there(&out, 1);
    let _second = bed.worker("second");
    bed.wait_alive("second");
    first.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_secs(3));
    first.signal(Signal::SIGCONT);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(read(&out), "ran\n");
}

#[test]
fn frozen_and_unmissed_a_worker_goes_on_where_it_was() {
    // Alone: its lease runs out and nobody takes over.
    let bed = bed(json!({}));
    let out = bed.out("runs");
    let line = format!("shell:0:0:9:sleep 1; echo ran >> {out}");
    bed.add([&line]);
    let mut worker = bed.worker("w");
    wait_there(&out, 1);
    worker.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_secs(3));
    worker.signal(Signal::SIGCONT);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(read(&out), "ran\n");
    assert!(worker.is_running());
}

#[test]
fn prefetched_tasks_of_a_frozen_worker_run_elsewhere_once() {
    let bed = bed(json!({"max_task_per_worker": 1, "task_prefetch": 4}));
    let out = bed.out("runs");
    let (mark, gate) = (unique_sleep(), bed.out("gate"));
    let first = format!("shell:0:0:9:test -e {gate} || sleep {mark}");
    let ahead: Vec<String> =
        (0..4).map(|at| format!("shell:0:0:1:echo $DISTCOMP_WORKER >> {out}; echo $DISTCOMP_WORKER {at}")).collect();
    bed.add(std::iter::once(&first).chain(&ahead));
    let mut frozen = bed.worker("frozen");
    wait_there(&mark, 1);
    wait_until("some claimed ahead", SOON, || {
        let seen = bed.count("in_progress_tasks");
        holds_for(seen > 1, seen)
    });
    frozen.signal(Signal::SIGSTOP);
    bed.file("gate", "");
    let _other = bed.worker("other");
    let checker = watch(&bed, &ahead);
    bed.wait_counts(SOON, [0, 0, 5, 0]);
    frozen.signal(Signal::SIGCONT);
    wait_until("it to be back", SOON, || holds_for(frozen.log().contains("Redis is back"), frozen.log()));
    stays("nothing of it runs here", Duration::from_secs(1), || {
        holds_for(!read(&out).contains("frozen") && read(&out).lines().count() == 4, read(&out))
    });
    assert!(frozen.is_running());
    checker.finish();
}

#[test]
fn task_past_its_limit_during_a_freeze_ends_at_the_thaw() {
    let bed = bed(json!({"worker_dead_after_seconds": 60}));
    let mark = unique_sleep();
    let line = format!("shell:0:0:1:2:sleep {mark}");
    bed.add([&line]);
    let worker = bed.worker("w");
    wait_there(&mark, 1);
    worker.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_secs(4));
    worker.signal(Signal::SIGCONT);
    wait_until("it to be ended", Duration::from_secs(5), || holds_for(with_argv(&mark).is_empty(), "it lives"));
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    assert!(crate::support::reason_of(&bed, &line).starts_with("timed out after 2 s"));
}
