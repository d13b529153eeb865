//! `enforce_memory`: tasks have what they declare and no more, where a cgroup lets us; and what the kernel kills for want of memory is said.
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::support::{
    Bed, Cli, SOON, Worker, begun, bin, holds_for, reason_of, result_of, unique_sleep, wait_until, with_argv,
};

/// Writes to this much memory, in MiB, and says so.
fn hog(mib: u32) -> String {
    format!("python3 -c 'x = bytearray({mib} << 20); print(\"had it\")'")
}

/// A bed where limits are enforced; `None` where this machine gives us no cgroup for it.
fn enforcing(changes: Value) -> Option<Bed> {
    let mut bed = Bed::with(json!({"enforce_memory": true, "max_retry_per_task": 1}));
    bed.configure(changes);
    let checked = bed.cli("distcomp-worker").args(["--check"]).run().expect(0).all();
    let here =
        checked.lines().any(|line| line.starts_with("containment") && line.contains("memory and process limits"));
    if !here {
        assert!(checked.contains("enforce_memory cannot be done here"), "{checked}");
        eprintln!("no cgroup to limit memory here: {checked}");
    }
    here.then_some(bed)
}

#[test]
fn task_above_its_declared_memory_is_killed_with_a_reason() {
    let Some(bed) = enforcing(json!({})) else { return };
    let (more, less, unknown) = (
        format!("shell:0.1:0:3:{}", hog(400)),
        format!("shell:0.25:0:2:{}", hog(100)),
        format!("shell:0:0:1:{}", hog(400)),
    );
    bed.add([&more, &less, &unknown]);
    let mut worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 2, 1]);
    let reason = reason_of(&bed, &more);
    assert!(reason.contains("out of memory (oom)") && reason.contains("0.10 GB"), "{reason}");
    assert!(reason.starts_with("signal 9 (SIGKILL)") || reason.starts_with("exit 137"), "{reason}");
    for line in [&less, &unknown] {
        assert_eq!(result_of(&bed.table("finished_tasks"), line).1, "had it");
    }
    assert!(worker.is_running());
    let shown = bed.status(&["show", "--json", &unknown]).expect(0).json();
    assert!(shown.to_string().contains("\"cgroup\""), "{shown}");
    let groups = groups(&worker);
    assert!(groups.iter().any(|group| group.exists()), "{groups:?}");
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
    assert!(!groups.iter().any(|group| group.exists()), "its cgroups have gone with it: {groups:?}");
}

/// The limit groups that the keepers of this worker are in, of version 1 where there are such, else of version 2.
fn groups(worker: &Worker) -> Vec<PathBuf> {
    let of = |pid: i32| {
        let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let path = |kind: &str| membership.lines().find_map(|line| Some(line.split_once(kind)?.1.to_owned()));
        let group = match (path(":memory:"), path("0::")) {
            (Some(v1), _) => Path::new("/sys/fs/cgroup/memory").join(v1.trim_start_matches('/')),
            (None, v2) => Path::new("/sys/fs/cgroup").join(v2?.trim_start_matches('/')),
        };
        group.to_string_lossy().contains("/distcomp-").then_some(group)
    };
    worker.keepers().iter().filter_map(|one| of(one.pid)).collect()
}

#[test]
fn a_tree_is_held_to_what_the_task_declares_as_a_whole() {
    let Some(bed) = enforcing(json!({})) else { return };
    // No one of them is more than half of it.
    let child = "python3 -c 'x = bytearray(100 << 20); import time; time.sleep(2)'";
    let line =
        format!("shell:0.2:0:1:set -e; {child} & a=$!; {child} & b=$!; {child} & c=$!; wait $a; wait $b; wait $c");
    bed.add([&line]);
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    let reason = reason_of(&bed, &line);
    assert!(reason.starts_with("exit 137: out of memory (oom)"), "{reason}");
}

#[test]
fn the_next_task_of_a_slot_has_its_own_limit_and_its_own_peak() {
    let Some(bed) = enforcing(json!({"max_task_per_worker": 1})) else { return };
    let large = format!("shell:0.5:0:9:{}", hog(300));
    let over = format!("shell:0.06:0:8:{}", hog(300));
    let small = "shell:0.06:0:7:echo small".to_owned();
    let again = format!("shell:0.5:0:6:{} # 2", hog(300));
    bed.add([&large, &over, &small, &again]);
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 3, 1]);
    assert!(reason_of(&bed, &over).contains("oom"));
    let peak = |line: &String| {
        let shown = bed.status(&["show", "--json", line]).expect(0).json();
        let text = shown.to_string();
        let found = text
            .split("\"peak_memory_bytes\":")
            .nth(1)
            .and_then(|rest| rest.split([',', '}']).next()?.parse::<u64>().ok());
        found.unwrap_or_else(|| panic!("no peak: {text}"))
    };
    assert!(peak(&large) >= 300 << 20 && peak(&large) < 400 << 20, "{}", peak(&large));
    assert!(peak(&again) >= 300 << 20, "{}", peak(&again));
    assert!(peak(&small) < 50 << 20, "{}", peak(&small));
}

#[test]
fn a_fork_bomb_ends_at_the_number_of_processes_of_its_cores() {
    let Some(bed) = enforcing(json!({})) else { return };
    let script = "import os, signal, time
count = 0
while True:
    try: pid = os.fork()
    except OSError: break
    if not pid: signal.pause()
    count += 1
print(count)
";
    let line = format!("shell:0:0:1:exec python3 {}", bed.file("bomb.py", script));
    bed.add([&line]);
    let mut worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    let count: u32 = result_of(&bed.table("finished_tasks"), &line).1.parse().expect("a number");
    assert!((1000..1024).contains(&count), "{count}");
    assert_eq!(with_argv("bomb.py").len(), 0);
    assert!(worker.is_running());
}

/// A way to execute something with no cgroup to be had: as nobody's, or with the directory out of sight.
fn without_cgroups() -> Vec<&'static str> {
    if Uid::effective().is_root() {
        vec!["unshare", "-m", "sh", "-c", "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"", "sh"]
    } else {
        vec!["env"]
    }
}

#[test]
fn missing_cgroup_limits_are_warned_of_and_tasks_run() {
    let bed = Bed::with(json!({"enforce_memory": true}));
    let through = without_cgroups();
    let check = Cli::new(through[0])
        .args(through[1..].iter().copied())
        .args([bin("distcomp-worker"), "--config", bed.conf_path().to_str().expect("a path"), "--check"])
        .env("XDG_STATE_HOME", bed.path().join("state-home"))
        .run()
        .expect(0)
        .all();
    assert!(check.contains("enforce_memory cannot be done here"), "{check}");
    assert!(!check.lines().any(|line| line.starts_with("containment") && line.contains("limits")), "{check}");
    let line = format!("shell:0.1:0:1:{}", hog(200));
    bed.add([&line]);
    let worker = bed.worker_through(&through, "w", json!({}), &[]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(worker.log().contains("ERROR") && worker.log().contains("WITHOUT limits"), "{}", worker.log());
}

#[test]
fn cgroups_of_a_dead_worker_show_what_it_left_running() {
    let Some(bed) = enforcing(json!({"max_task_per_worker": 1})) else { return };
    // Version 2 out of sight where there are both, so that the groups of version 1 are the only record.
    let through: &[&str] = if Path::new("/sys/fs/cgroup/unified").exists() {
        &["unshare", "-m", "sh", "-c", "mount -t tmpfs none /sys/fs/cgroup/unified && exec \"$@\"", "sh"]
    } else {
        &[]
    };
    let (mark, gate) = (unique_sleep(), bed.out("gate"));
    let both = bed.file(
        "both.py",
        format!("import os\nif os.fork(): os._exit(0)\nos.setsid()\nos.closerange(0, 4096)\nos.execve('/bin/sleep', ['sleep', '{mark}'], {{}})\n"),
    );
    bed.add([format!("shell:0:0:1:test -e {gate} || {{ python3 {both}; sleep {mark}; }}")]);
    let mut worker = bed.worker_through(through, "w", json!({"worker_dead_after_seconds": 1}), &[]);
    wait_until("both", SOON, || holds_for(begun(&mark).len() >= 3, "not yet"));
    worker.kill9_with_keepers();
    assert!(begun(&mark).len() >= 3, "nobody was left to clear up: else this shows nothing");
    bed.file("gate", "");
    let _again = bed.worker_through(through, "w", json!({}), &[]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(with_argv(&mark).len(), 0);
}

#[test]
fn kernel_oom_kill_is_reported_without_any_setting() {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| path);
    let Some(path) = path.filter(|_| Uid::effective().is_root()) else {
        eprintln!("no memory cgroup of version 1 to confine a worker with: not tried here");
        return;
    };
    // A small node: the worker and all it starts in a cgroup of 250 MB.
    let dir = format!("/sys/fs/cgroup/memory{path}/small-node-{}", std::process::id());
    let enter =
        "mkdir \"$0\" && echo 262144000 > \"$0/memory.limit_in_bytes\" && echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
    let bed = Bed::with(json!({
        "min_dram_gb_accept_new_task": 0.000_002, "min_dram_gb_trigger_return": 0.000_001, "max_retry_per_task": 1,
    }));
    let (hog, killed) = (format!("shell:0:0:9:exec {}", hog(2000)), "shell:0:0:1:kill -9 $$".to_owned());
    bed.add([&hog, &killed]);
    let mut worker = bed.worker_through(&["sh", "-c", enter, &dir], "w", json!({"max_task_per_worker": 1}), &[]);
    bed.wait_counts(SOON, [0, 0, 0, 2]);
    assert_eq!(reason_of(&bed, &hog), "signal 9 (SIGKILL): out of memory (oom): killed by the kernel");
    assert_eq!(reason_of(&bed, &killed), "signal 9 (SIGKILL)", "somebody's kill is not the kernel's");
    assert!(worker.is_running(), "the worker is not whom the kernel takes");
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
    wait_until("the small node gone", SOON, || fs::remove_dir(&dir));
}
