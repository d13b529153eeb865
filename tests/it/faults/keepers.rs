//! A task that attacks what guards it: its keeper killed or stopped, or the process that makes keepers.
use std::time::Duration;

use serde_json::json;

use super::{bed, wait_gone};
use crate::support::{SOON, holds_for, reason_of, run_times, unique_sleep, wait_until};

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
fn task_that_kills_its_keeper_harms_no_earlier_task() {
    let bed = bed(json!({"max_task_per_worker": 1, "max_retry_per_task": 1, "task_prefetch": 8}));
    let out = bed.out("runs");
    // In turns, so that each killer waits in the keeper behind one that ends well.
    let (mut lines, mut killers) = (Vec::new(), Vec::new());
    for at in 0..20 {
        lines.push(format!("shell:0:0:{}:echo {at} >> {out}", 100 - 2 * at));
        killers.push(format!("shell:0:0:{}:kill -9 $PPID # {at}", 99 - 2 * at));
    }
    bed.add(lines.iter().chain(&killers));
    let _worker = bed.worker("w");
    bed.wait_counts(Duration::from_secs(60), [0, 0, 20, 20]);
    let failed = bed.table("failed_tasks");
    assert!(killers.iter().all(|killer| failed.contains_key(killer)), "{failed:?}");
    assert!(run_times(&out).values().all(|times| *times == 1), "none ran twice: {:?}", run_times(&out));
}

#[test]
fn task_that_stops_its_keeper_ends_at_its_time_limit() {
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
fn task_that_stops_its_keeper_blocks_no_queued_task() {
    let bed = bed(json!({"max_task_per_worker": 2, "max_retry_per_task": 1, "drain_timeout_seconds": 0.1}));
    let (mark, out) = (unique_sleep(), bed.out("runs"));
    // Brief ones before it, so that those behind it wait in keepers; the other slot stays free for them.
    let line = |at: usize| format!("shell:0:0:1:echo {at} >> {out}");
    let stopper = format!("shell:0:0:1:sleep 0.003; kill -STOP $PPID; sleep {mark}");
    bed.add((0..200).map(line).chain([stopper.clone()]).chain((200..400).map(line)));
    let mut worker = bed.worker("w");
    wait_until("all others", Duration::from_secs(90), || {
        holds_for(bed.count("finished_tasks") == 400, format!("{:?}", bed.counts()))
    });
    assert!(run_times(&out).values().all(|times| *times == 1), "none ran twice: {:?}", run_times(&out));
    worker.sigterm();
    assert_eq!(worker.wait_exit(Duration::from_secs(60)), 0, "{}", worker.log());
    wait_gone(&mark, Duration::from_secs(2));
}

#[test]
fn task_that_stops_the_zygote_stops_no_worker() {
    for is_asked in [true, false] {
        let bed = bed(json!({"max_task_per_worker": 2, "drain_timeout_seconds": 0.1}));
        let mark = unique_sleep();
        let stopper = format!("shell:0:0:9:kill -STOP $(ps -o ppid= -p $PPID); sleep {mark}");
        bed.add([&stopper]);
        let mut worker = bed.worker("w");
        bed.wait_running(&stopper);
        if is_asked {
            // Another slot than its own, which has a keeper already.
            bed.add((0..10).map(|at| format!("shell:0:0:1:echo {at}")));
            wait_until("the others", Duration::from_secs(30), || {
                holds_for(bed.count("finished_tasks") == 10, format!("{:?}", bed.counts()))
            });
        }
        worker.sigterm();
        assert_eq!(worker.wait_exit(Duration::from_secs(30)), 0, "{}", worker.log());
        wait_gone(&mark, Duration::from_secs(2));
    }
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
