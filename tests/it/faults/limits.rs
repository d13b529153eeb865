//! Rows "fd exhaustion", "fork EAGAIN", memory, and I8: what a long life leaves behind.
use std::time::Duration;

use serde_json::json;

use super::cgroup::Cgroup;
use super::{all_ran, bed, counted, wait_there, watch};
use crate::support::{SOON, holds_for, wait_until};

#[test]
fn a_low_limit_of_open_files_lowers_the_slots_and_says_so() {
    let bed = bed(json!({"max_task_per_worker": 64}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..60, "sleep 0.1;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    // 64 of its own and five for each of eight slots.
    let worker = bed.worker_through(&["prlimit", "--nofile=104:104"], "w", json!({}), &[]);
    assert_eq!(all_ran(&bed, &out, 60, SOON), 0);
    let log = worker.log();
    assert!(log.contains("limit of open files") && log.contains("slots=8"), "{log}");
    assert!(worker.footprint().1 < 104, "{:?}", worker.footprint());
    checker.finish();
}

#[test]
fn a_node_with_hardly_any_descriptors_works_on_with_one_slot() {
    let bed = bed(json!({"max_task_per_worker": 8}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..40, "");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let mut worker = bed.worker_through(&["prlimit", "--nofile=40:40"], "w", json!({}), &[]);
    assert_eq!(all_ran(&bed, &out, 40, Duration::from_secs(40)), 0);
    assert!(worker.is_running());
    assert_eq!(bed.count("failed_tasks"), 0, "a shortage is nobody's failure");
    checker.finish();
}

#[test]
fn node_that_cannot_fork_returns_tasks_and_recovers() {
    let Some(pids) = Cgroup::new("pids", "pids.max", "12") else {
        eprintln!("no control group for processes can be made here: nothing is tested");
        return;
    };
    let bed = bed(json!({"max_task_per_worker": 8, "worker_dead_after_seconds": 30}));
    let out = bed.out("runs");
    // The shortage shall meet the worker, not the task: this one forks nothing.
    let lines: Vec<String> = (0..24).map(|at| format!("shell:0:0:1:echo {at} >> {out}; exec sleep 0.4")).collect();
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    // Three threads, the zygote, and then too few processes for eight keepers with a task each.
    let mut worker = bed.worker_through(&pids.through(), "w", json!({}), &[]);
    wait_until("the shortage to be met", SOON, || holds_for(worker.log().contains("could not start"), worker.log()));
    pids.set("pids.max", "max");
    bed.wait_counts(Duration::from_secs(40), [0, 0, 24, 0]);
    assert!(worker.is_running());
    checker.finish();
}

#[test]
fn a_task_whose_own_fork_fails_has_failed_by_its_own_code() {
    let Some(pids) = Cgroup::new("pids", "pids.max", "24") else {
        eprintln!("no control group for processes can be made here: nothing is tested");
        return;
    };
    let bed = bed(json!({"max_task_per_worker": 1, "worker_dead_after_seconds": 30}));
    let line = "shell:0:0:1:for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do sleep 600 & done; wait";
    let worker = bed.worker_through(&pids.through(), "w", json!({}), &[]);
    bed.wait_alive("w");
    bed.add([line]);
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    let reason = crate::support::reason_of(&bed, line);
    assert!(reason.starts_with("exit 2") && reason.to_lowercase().contains("fork"), "{reason}");
    pids.set("pids.max", "max");
    // Nothing of it is left, and the slot goes on.
    bed.add(["shell:0:0:1:echo next"]);
    bed.wait_counts(SOON, [0, 0, 1, 1]);
    assert_eq!(worker.survivors().len(), worker.keepers().len(), "{:?}", worker.survivors());
}

#[test]
fn a_node_short_of_descriptors_reconnects_all_the_same() {
    let mut bed = bed(json!({"max_task_per_worker": 8, "worker_dead_after_seconds": 30}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..40, "sleep 0.2;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let worker = bed.worker_through(&["prlimit", "--nofile=40:40"], "w", json!({}), &[]);
    wait_there(&out, 1);
    bed.redis.kill9();
    wait_until("the loss to be seen", SOON, || holds_for(worker.log().contains("lost Redis"), worker.log()));
    bed.redis.start_again();
    assert_eq!(all_ran(&bed, &out, 40, Duration::from_secs(40)), 0);
    assert!(worker.log().contains("Redis is back"), "{}", worker.log());
    checker.finish();
}

#[test]
fn many_tasks_leak_no_descriptor_zombie_or_memory() {
    let bed = bed(json!({"max_task_per_worker": 8, "worker_dead_after_seconds": 30}));
    let worker = bed.worker("w");
    let run = |from: usize, to: usize| {
        bed.add((from..to).map(|at| format!("shell:0:0:1:echo {at}; (sleep 7000 &)")));
        bed.wait_counts(Duration::from_secs(90), [0, 0, to, 0]);
    };
    run(0, 500);
    let (memory, files) = worker.footprint();
    run(500, 1500);
    let settled = || {
        let (memory_now, files_now) = worker.footprint();
        holds_for(memory_now < memory + 4 * 1024 && files_now <= files, format!("{memory_now} KiB, {files_now} files"))
    };
    wait_until(&format!("{memory} KiB and {files} files, as after the first 500"), SOON, settled);
    let zombies = worker.survivors().len() - worker.keepers().len();
    assert_eq!(zombies, 0, "only keepers are left: {:?}", worker.survivors());
    let children = std::process::Command::new("ps").args(["-eo", "stat=,ppid="]).output().expect("ps runs").stdout;
    let keepers: Vec<String> = worker.keepers().iter().map(|one| one.pid.to_string()).collect();
    for row in String::from_utf8_lossy(&children).lines() {
        let mut words = row.split_whitespace();
        let (state, parent) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        assert!(!(state.starts_with('Z') && keepers.iter().any(|pid| pid == parent)), "a zombie: {row}");
    }
}

#[test]
fn a_real_memory_hog_is_returned_with_no_failure_counted() {
    // In a node of 600 MB where we may make one; else with what the machine has, which others change too: the steps are as large as it allows.
    let cgroup = Cgroup::new("memory", "memory.limit_in_bytes", "629145600");
    let available = available_gb();
    let step = (available / 8.0).clamp(0.3, 1.0);
    let (accept, trigger, hog_mb) = match cgroup {
        Some(_) => (0.35, 0.2, 450),
        None => (available - step, available - 2.0 * step, (3.0 * step * 1024.0) as u32),
    };
    let bed = bed(json!({
        "min_dram_gb_accept_new_task": accept,
        "min_dram_gb_trigger_return": trigger,
        "max_task_per_worker": 2,
        "worker_dead_after_seconds": 30,
    }));
    let (gate, out) = (bed.out("gate"), bed.out("runs"));
    let calm = format!("shell:0:0:9:until test -e {gate}; do sleep 0.1; done");
    let hog = format!(
        "shell:0:0:1:echo ran >> {out}; test -e {gate} || exec python3 -c 'import time; x = bytearray({hog_mb} << 20); \
         x[::4096] = bytes(len(x) // 4096); time.sleep(600)'"
    );
    bed.add([&calm]);
    let through = cgroup.as_ref().map(Cgroup::through).unwrap_or_default();
    let worker = bed.worker_through(&through, "w", json!({}), &[]);
    // The hog shall be the newer one.
    wait_there(&gate, 1);
    bed.add([&hog]);
    let checker = watch(&bed, &[calm.clone(), hog.clone()]);
    wait_until("the hog to be given back", Duration::from_secs(30), || {
        let log = worker.log();
        holds_for(log.contains("memory is low") && log.contains("returned"), log)
    });
    assert_eq!((bed.count("failed_tasks"), bed.count("task_fail_reason")), (0, 0));
    bed.file("gate", "");
    bed.wait_counts(Duration::from_secs(30), [0, 0, 2, 0]);
    checker.finish();
}

/// `MemAvailable`, in GB.
fn available_gb() -> f64 {
    let text = crate::support::read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).expect("MemAvailable");
    let kib: f64 = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number");
    kib / f64::from(1 << 20)
}
