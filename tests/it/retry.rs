//! Retries: how often, by whom, and when.
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, SOON, lines_of, result_of, stays, unique_sleep, wait_until};

#[test]
fn a_name_is_compared_whole() {
    let bed = Bed::with(json!({"max_retry_per_task": 9, "max_task_per_worker": 1, "task_prefetch": 0}));
    let busy = format!("shell:0:0:9:sleep {}", unique_sleep());
    bed.add([&busy]);
    let mut other = bed.worker("m");
    bed.wait_running(&busy);
    // `m` is live, could run it, and is busy for hours. Who takes `n` for one of `n10` and `xn` waits for it: for a minute.
    let line = "shell:0:0:1:echo mine";
    bed.hset("failed_tasks", line, "n10,xn,");
    bed.hset("todo_tasks", line, "");
    let _worker = bed.worker("n");
    bed.wait_alive("n");
    wait_until("n to run what n10 and xn failed", Duration::from_secs(10), || {
        let finished = bed.table("finished_tasks");
        if finished.contains_key(line) { Ok(()) } else { Err(format!("{:?}", bed.counts())) }
    });
    assert_eq!(result_of(&bed.table("finished_tasks"), line).0, "n");
    assert!(other.is_running());
}

#[test]
fn another_live_worker_gets_the_first_retry() {
    let bed = Bed::with(json!({"max_retry_per_task": 4}));
    let (_one, _two) = (bed.worker("one"), bed.worker("two"));
    bed.wait_alive("one");
    bed.wait_alive("two");
    let file = |at: usize| bed.out(&format!("ran{at}"));
    bed.add((0..10).map(|at| {
        let file = file(at);
        format!("shell:0:0:1:echo $DISTCOMP_WORKER >> {file}; test $(wc -l < {file}) = 2")
    }));
    bed.wait_counts(Duration::from_secs(30), [0, 0, 10, 0]);
    for at in 0..10 {
        let ran = lines_of(file(at));
        assert!(ran.len() == 2 && ran[0] != ran[1], "task {at} ran on {ran:?}");
    }
}

#[test]
fn a_lone_worker_retries_its_own_failures_until_out_of_retries() {
    let bed = Bed::with(json!({"max_retry_per_task": 3}));
    let line = "shell:0:0:1:exit 5";
    bed.add([line]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 0, 1]);
    assert_eq!(bed.table("failed_tasks").remove(line).as_deref(), Some("w,w,w,"));
}

#[test]
fn when_every_live_worker_has_failed_it_any_may_take_it_again() {
    let bed = Bed::with(json!({"max_retry_per_task": 5}));
    let (_one, _two) = (bed.worker("one"), bed.worker("two"));
    bed.wait_alive("one");
    bed.wait_alive("two");
    let line = "shell:0:0:1:exit 5";
    bed.add([line]);
    bed.wait_counts(Duration::from_secs(30), [0, 0, 0, 1]);
    let failed = bed.table("failed_tasks").remove(line).expect("its workers");
    assert_eq!(failed.matches(',').count(), 5, "{failed}");
    assert!(failed.contains("one,") && failed.contains("two,"), "{failed}");
}

#[test]
fn no_retry_is_one_attempt() {
    let bed = Bed::with(json!({"max_retry_per_task": 0}));
    let line = "shell:0:0:1:exit 5";
    bed.add([line]);
    bed.burst("w");
    assert_eq!(bed.table("failed_tasks").remove(line).as_deref(), Some("w,"));
    assert_eq!(bed.count("todo_tasks"), 0);
}

#[test]
fn a_task_that_may_still_be_retried_is_in_todo_and_in_failed() {
    let bed = Bed::with(json!({"max_retry_per_task": 3, "retry_backoff_seconds": 60}));
    let line = "shell:0:0:1:exit 5";
    let _worker = bed.worker("w");
    bed.add([line, "shell:0:0:1:echo other"]);
    bed.wait_counts(SOON, [1, 0, 1, 1]);
    assert_eq!(bed.table("failed_tasks").remove(line).as_deref(), Some("w,"));
    assert!(bed.table("todo_tasks").contains_key(line));
    stays("the retry waits its delay", Duration::from_secs(2), || {
        let seen = bed.counts();
        if seen == [1, 0, 1, 1] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn failures_counted_by_python_workers_count() {
    let bed = Bed::with(json!({"max_retry_per_task": 3}));
    let line = "shell:0:0:1:exit 5";
    bed.hset("failed_tasks", line, "p1,p2,");
    bed.hset("todo_tasks", line, "");
    bed.burst("w");
    assert_eq!(bed.table("failed_tasks").remove(line).as_deref(), Some("p1,p2,w,"));
    assert_eq!(bed.count("todo_tasks"), 0);
}
