//! A task that attacks what guards it: its keeper killed or stopped, or the process that makes keepers.
use std::time::Duration;

use serde_json::json;

use super::{bed, wait_gone};
use crate::support::{SOON, reason_of, run_times, unique_sleep};

#[test]
fn a_task_that_kills_its_keeper_fails_like_any_other() {
    let bed = bed(json!({"max_retry_per_task": 2}));
    let (mark, out) = (unique_sleep(), bed.out("runs"));
    let line = format!("shell:0:0:1:echo ran >> {out}; (setsid sleep {mark} &); kill -9 $PPID; sleep {mark}");
    bed.add([&line]);
    let mut worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    assert_eq!(run_times(&out).get("ran"), Some(&2), "as often as max_retry_per_task says");
    assert!(reason_of(&bed, &line).contains("keeper"), "{}", reason_of(&bed, &line));
    wait_gone(&mark, Duration::from_secs(2));
    bed.add(["shell:0:0:1:echo next"]);
    bed.wait_counts(SOON, [0, 0, 1, 1]);
    assert!(worker.is_running());
}

#[test]
fn a_task_that_stops_its_keeper_is_ended_at_its_limit_all_the_same() {
    let bed = bed(json!({"task_kill_grace_seconds": 0.2, "max_task_per_worker": 1}));
    let mark = unique_sleep();
    let line = format!("shell:0:0:1:1:kill -STOP $PPID; sleep {mark}");
    bed.add([line.as_str(), "shell:0:0:0:echo next"]);
    let mut worker = bed.worker("w");
    bed.wait_counts(Duration::from_secs(30), [0, 0, 1, 1]);
    // The first thing it does may keep the worker from hearing of its start, and so from counting its time.
    let reason = reason_of(&bed, &line);
    assert!(reason.starts_with("timed out after 1 s") || reason.contains("keeper"), "{reason}");
    wait_gone(&mark, Duration::from_secs(2));
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
}

#[test]
fn a_task_that_kills_the_maker_of_keepers_stops_no_worker() {
    let bed = bed(json!({"max_task_per_worker": 2}));
    // The parent of its parent. Another slot than its own, which has a keeper already, is needed for the next one.
    let killer = "shell:0:0:9:kill -9 $(ps -o ppid= -p $PPID); sleep 1";
    bed.add([killer]);
    let mut worker = bed.worker("w");
    bed.wait_running(killer);
    bed.add((0..10).map(|at| format!("shell:0:0:1:echo {at}")));
    bed.wait_counts(SOON, [0, 0, 11, 0]);
    assert!(worker.is_running());
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
}
