//! Time-outs: on time, with a reason, and with nothing of the tree left.
use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, SOON, Stopwatch, begun, read, reason_of, unique_sleep, wait_until, with_argv};

/// For a machine with two cores that runs other tests at the same time.
const SLACK: Duration = Duration::from_millis(700);

#[test]
fn stubborn_daemon_tree_is_gone_1_s_after_limit_and_grace() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    let mark = unique_sleep();
    let line = format!(
        "shell:0:0:1:1:trap '' TERM; sleep {mark} & (sleep {mark} &); (setsid sh -c \"trap '' TERM; sleep {mark} & sleep {mark}\" &); \
         nohup setsid sleep {mark} >/dev/null 2>&1 & (env -i setsid sleep {mark} &); sleep {mark}; sleep {mark}"
    );
    bed.add([&line]);
    let start = wait_until("the tree to grow", SOON, || {
        let seen = begun(&mark).len();
        if seen >= 7 { Ok(Stopwatch::start()) } else { Err(format!("{seen} processes")) }
    });
    wait_until("every process of the tree to be gone", SOON, || {
        let left = with_argv(&mark);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    let took = start.elapsed();
    let promised = Duration::from_millis(1000 + 500 + 1000);
    assert!(took < promised + SLACK, "gone after {took:?}; limit + grace + 1 s is {promised:?}");
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    assert!(reason_of(&bed, &line).starts_with("timed out after 1 s"));
}

#[test]
fn the_limit_counts_from_the_start_of_the_task_and_is_kept() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    let line = "shell:0:0:1:2:sleep 3601";
    bed.add([line]);
    bed.wait_running(line);
    let start = Stopwatch::start();
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    let took = start.elapsed();
    assert!(took < Duration::from_millis(3000) + SLACK, "{took:?}");
    // Not before: by its record, since whoever looks from outside may have begun to look late.
    let shown = bed.status(&["show", line, "--json"]).expect(0).json();
    let at = |name: &str| shown["attempts"][0][name].as_f64().unwrap_or_else(|| panic!("no {name}: {shown}"));
    assert!(at("end") - at("start") > 1.5, "{shown}");
}

#[test]
fn a_task_within_its_limit_is_left_alone() {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:5:sleep 0.5; echo done"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn zero_is_no_limit_and_no_field_is_the_default_limit() {
    let bed = Bed::with(json!({"default_task_timeout_seconds": 1}));
    let (unlimited, limited, own) = ("shell:0:0:1:0:sleep 2.5", "shell:0:0:1:sleep 62", "shell:0:0:1:4:sleep 2.2");
    bed.add([unlimited, limited, own]);
    bed.burst("w");
    let finished: Vec<_> = bed.table("finished_tasks").into_keys().collect();
    assert_eq!(finished, [unlimited, own]);
    assert!(reason_of(&bed, limited).starts_with("timed out after 1 s"));
}

#[test]
fn a_default_of_zero_is_no_limit() {
    let bed = Bed::with(json!({"default_task_timeout_seconds": 0}));
    bed.add(["shell:0:0:1:sleep 2"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn task_that_cleans_up_in_its_grace_is_still_timed_out() {
    let bed = Bed::with(json!({"task_kill_grace_seconds": 5}));
    let out = bed.out("cleaned");
    let line = format!("shell:0:0:1:1:trap 'echo clean > {out}; exit 0' TERM; sleep 3602 & wait");
    bed.add([&line]);
    let start = Stopwatch::start();
    bed.burst("w");
    assert_eq!(read(&out), "clean\n");
    assert!(reason_of(&bed, &line).starts_with("timed out after 1 s"));
    assert!(start.elapsed() < Duration::from_secs(5), "a tree that is gone is not waited for");
}

#[test]
fn a_grace_of_zero_is_sigkill_at_once() {
    let bed = Bed::with(json!({"task_kill_grace_seconds": 0}));
    let out = bed.out("term");
    let line = format!("shell:0:0:1:1:trap 'echo term > {out}' TERM; sleep 3603; sleep 3603");
    bed.add([&line]);
    bed.burst("w");
    assert!(fs::metadata(&out).is_err(), "the task saw SIGTERM");
    assert!(reason_of(&bed, &line).starts_with("timed out after 1 s"));
}

#[test]
fn what_a_task_said_before_its_time_out_is_kept() {
    let bed = Bed::new();
    let line = "shell:0:0:1:1:echo 'at step 7' >&2; sleep 3604";
    bed.add([line]);
    bed.burst("w");
    let reason = reason_of(&bed, line);
    assert!(reason.starts_with("timed out after 1 s: ") && reason.contains("at step 7"), "{reason}");
}

#[test]
fn a_timed_out_task_is_retried_like_any_failure() {
    let bed = Bed::with(json!({"max_retry_per_task": 2}));
    let line = "shell:0:0:1:1:sleep 3605";
    bed.add([line]);
    bed.burst("w");
    assert_eq!(bed.table("failed_tasks").remove(line).as_deref(), Some("w,w,"));
}
