//! The kernel runs out of memory and kills: the worker, or its keepers, under a task that takes all there is.
use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::cgroup::Cgroup;
use super::{bed, counted, wait_gone, wait_there, watch};
use crate::support::{Bed, SOON, Worker, holds_for, unique_sleep, wait_until};

/// 200 MB for a worker and its tasks; `None` where we may not make it.
fn small_node() -> Option<Cgroup> {
    let cgroup = Cgroup::new("memory", "memory.limit_in_bytes", "209715200");
    if cgroup.is_none() {
        // Nobody but root may, and without it the kernel has no reason to kill.
        assert!(!nix::unistd::Uid::effective().is_root(), "root can make a memory cgroup of version 1 here");
        eprintln!("no memory cgroup of our own here: nothing is shown");
    }
    cgroup
}

/// Five that together take more than the node has once `gate` is there, none of them so much that the kernel would choose it before those below; a
/// second run ends at once.
fn hog(bed: &Bed, mark: &str) -> String {
    let (gate, ran) = (bed.out("gate"), bed.out("ran"));
    let greedy = bed.file("greedy.py", "x = []\nwhile True: x.append(bytearray(b'x' * (1 << 20)))\n");
    format!(
        "shell:0:0:9:test -e {ran} && exit 0; touch {ran}; (setsid sleep {mark} &); sleep {mark} & until test -e {gate}; do sleep 0.05; done; \
         for i in 1 2 3 4 5; do python3 {greedy} & done; wait"
    )
}

/// The kernel chooses these first.
fn choose(pids: impl IntoIterator<Item = i32>) {
    for pid in pids {
        fs::write(format!("/proc/{pid}/oom_score_adj"), "1000").expect("it runs, and we may");
    }
}

fn start(bed: &Bed, cgroup: &Cgroup, mark: &str) -> Worker {
    let worker = bed.worker_through(&cgroup.through(), "w", json!({}), &[]);
    wait_there(mark, 2);
    worker
}

#[test]
fn oom_killed_worker_leaves_nothing_and_its_tasks_rerun() {
    let Some(cgroup) = small_node() else { return };
    let bed = bed(json!({
        "max_task_per_worker": 2,
        "worker_dead_after_seconds": 30,
        "max_retry_per_task": 3,
        "oom_score_adj": 0,
        "min_dram_gb_accept_new_task": 0.001,
        "min_dram_gb_trigger_return": 0.0005,
    }));
    let (mark, out) = (unique_sleep(), bed.out("runs"));
    let mut lines = counted(&out, 0..20, "");
    lines.push(hog(&bed, &mark));
    bed.add(&lines[20..]);
    let mut worker = start(&bed, &cgroup, &mark);
    let checker = watch(&bed, &lines[20..]);
    choose([worker.pid().as_raw()]);
    // It would give the task back first, were it quicker than the kernel.
    worker.signal(Signal::SIGSTOP);
    bed.file("gate", "");
    assert_eq!(worker.wait_exit(Duration::from_secs(30)), -1, "it is killed: {}", worker.log());
    assert!(cgroup.oom_kills() > 0, "it was the kernel");
    wait_gone(&mark, Duration::from_secs(5));
    wait_until("nothing of it", SOON, || {
        let left: Vec<String> = worker.survivors().iter().map(ToString::to_string).collect();
        holds_for(left.is_empty(), format!("{left:?}"))
    });
    bed.add(&lines[..20]);
    let _again = bed.worker("w");
    bed.wait_counts(Duration::from_secs(30), [0, 0, 21, 0]);
    checker.finish();
}

#[test]
fn oom_killed_keepers_take_their_trees_and_stop_no_worker() {
    let Some(cgroup) = small_node() else { return };
    let bed = bed(json!({
        "max_task_per_worker": 2,
        "worker_dead_after_seconds": 30,
        "max_retry_per_task": 3,
        "oom_score_adj": 0,
        "min_dram_gb_accept_new_task": 0.001,
        "min_dram_gb_trigger_return": 0.0005,
    }));
    let (mark, out) = (unique_sleep(), bed.out("runs"));
    let mut lines = counted(&out, 0..20, "");
    lines.push(hog(&bed, &mark));
    bed.add(&lines[20..]);
    let mut worker = start(&bed, &cgroup, &mark);
    let checker = watch(&bed, &lines[20..]);
    choose(worker.keepers().iter().map(|one| one.pid));
    worker.signal(Signal::SIGSTOP);
    bed.file("gate", "");
    wait_until("the kernel to kill", Duration::from_secs(30), || holds_for(cgroup.oom_kills() > 0, "it has not"));
    worker.signal(Signal::SIGCONT);
    wait_gone(&mark, Duration::from_secs(10));
    bed.add(&lines[..20]);
    bed.wait_counts(Duration::from_secs(30), [0, 0, 21, 0]);
    assert!(worker.is_running(), "{}", worker.log());
    checker.finish();
}
