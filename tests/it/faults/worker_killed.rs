//! Row "worker SIGKILL": alone, with its keepers, at each step of a task; taken up by its restart or by another.
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{all_ran, bed, counted, wait_gone, wait_there, watch};
use crate::support::{SOON, Stopwatch, begun, holds_for, read, result_of, unique_sleep, wait_until, with_argv};

#[test]
fn task_of_a_dead_worker_runs_elsewhere_in_configured_time() {
    let bed = bed(json!({}));
    let (mark, gate) = (unique_sleep(), bed.out("gate"));
    let line = format!("shell:0:0:9:test -e {gate} || sleep {mark}; echo here");
    bed.add([&line]);
    let mut dead = bed.worker("dead");
    wait_there(&mark, 1);
    let _alive = bed.worker("alive");
    bed.wait_alive("alive");
    let checker = watch(&bed, std::slice::from_ref(&line));
    // The other one has watched for a lease by then.
    wait_until("a second heartbeat period", SOON, || holds_for(checker.report().pictures > 40, "not yet"));
    bed.file("gate", "");
    let start = Stopwatch::start();
    dead.kill9();
    wait_gone(&mark, Duration::from_secs(2));
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    // The lease of one second, the second that a heartbeat may be of, and one look.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(result_of(&bed.table("finished_tasks"), &line), ("alive".to_owned(), "here".to_owned()));
    checker.finish();
}

#[test]
fn what_was_only_claimed_ahead_is_no_loss() {
    let bed = bed(json!({"max_task_per_worker": 1, "max_lost_per_task": 1, "task_prefetch": 4}));
    let (mark, out) = (unique_sleep(), bed.out("runs"));
    let first = format!("shell:0:0:9:echo first >> {out}; sleep {mark}");
    let lines = counted(&out, 0..4, "");
    bed.add(std::iter::once(&first).chain(&lines));
    let mut worker = bed.worker("w");
    wait_there(&mark, 1);
    wait_until("tasks claimed ahead", SOON, || {
        let seen = bed.count("in_progress_tasks");
        holds_for(seen > 1, seen)
    });
    // Its start is known to Redis with the next heartbeat.
    let started = || bed.table("distcomp:claims:w").remove(&first).unwrap_or_default();
    wait_until("the start to be told", SOON, || holds_for(started().split('|').nth(2) == Some("1"), started()));
    worker.kill9();
    let checker = watch(&bed, &lines);
    let _again = bed.worker("w");
    // The one that ran is lost for the first and last time; the others have lost nothing.
    bed.wait_counts(SOON, [0, 0, 4, 1]);
    assert!(bed.table("failed_tasks").contains_key(&first));
    checker.finish();
}

#[test]
fn killed_while_it_terminates_a_task_it_leaves_nothing() {
    let bed = bed(json!({"task_kill_grace_seconds": 60, "default_task_timeout_seconds": 1, "max_retry_per_task": 1}));
    let (mark, out) = (unique_sleep(), bed.out("said"));
    let line = format!(
        "shell:0:0:1:trap 'echo asked >> {out}' TERM; (setsid sh -c 'trap \"\" TERM; sleep {mark}; sleep {mark}' &); while :; do sleep 0.1; done"
    );
    bed.add([&line]);
    let mut worker = bed.worker("w");
    wait_until("the SIGTERM of the time-out", SOON, || holds_for(read(&out).contains("asked"), read(&out)));
    worker.kill9();
    wait_gone(&mark, Duration::from_secs(2));
    assert_eq!(bed.counts(), [0, 1, 0, 0]);
    let checker = watch(&bed, std::slice::from_ref(&line));
    bed.hset("todo_tasks", "shell:0:0:1:true", "");
    let _again = bed.worker_with("w", json!({"task_kill_grace_seconds": 0.2}), &[]);
    bed.wait_counts(SOON, [0, 0, 1, 1]);
    checker.finish();
}

#[test]
fn restart_sweeps_leftovers_before_the_first_claim() {
    let bed = bed(json!({"max_task_per_worker": 4}));
    let (mark, gate, out) = (unique_sleep(), bed.out("gate"), bed.out("seen"));
    // A second run says how many processes of the first it still sees.
    let tree = format!("(setsid sleep {mark} &); (sleep {mark} &); nohup sleep {mark} >/dev/null 2>&1 & sleep {mark}");
    let line =
        format!("shell:0:0:9:test -e {gate} && grep -lsa {mark} /proc/[0-9]*/cmdline | wc -l > {out} || {{ {tree}; }}");
    bed.add([&line]);
    let mut worker = bed.worker("w");
    wait_there(&mark, 5);
    worker.kill9_with_keepers();
    assert!(!with_argv(&mark).is_empty(), "nobody was left to clear up: else this shows nothing");
    bed.file("gate", "");
    let again = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    // The shell of the second run has the mark in its own line, and so have its children at their start.
    let seen: usize = read(&out).trim().parse().expect("a number");
    assert!(seen <= 3, "{seen} processes with the mark when it ran again\n{}", again.log());
    assert_eq!(with_argv(&mark).len(), 0);
    assert!(again.log().contains("left behind"), "{}", again.log());
}

#[test]
fn cgroup_sweep_finds_processes_without_any_marker() {
    let bed = bed(json!({"max_task_per_worker": 4}));
    let (mark, gate) = (unique_sleep(), bed.out("gate"));
    let daemon = format!("env -i setsid sleep {mark} </dev/null >/dev/null 2>&1 &");
    let line = format!("shell:0:0:9:test -e {gate} || {{ ({daemon}); ({daemon}); sleep {mark}; }}");
    bed.add([&line]);
    let mut worker = bed.worker("w");
    wait_there(&mark, 3);
    let has_cgroup = worker.log().contains("containment=\"cgroup");
    assert!(!bed.cli("distcomp-worker").args(["--check"]).run().expect(0).all().is_empty());
    worker.kill9_with_keepers();
    assert!(begun(&mark).len() >= 3, "nobody was left to clear up: else this shows nothing");
    bed.file("gate", "");
    let _again = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    if has_cgroup {
        assert_eq!(with_argv(&mark).len(), 0);
    } else {
        eprintln!("no cgroup v2 is writable here: those that cleared both are out of reach, as the manual says");
    }
}

#[test]
fn sweep_without_cgroup_finds_all_that_keep_a_marker() {
    let bed = bed(json!({"max_task_per_worker": 4}));
    let (mark, cleared, gate) = (unique_sleep(), unique_sleep(), bed.out("gate"));
    let tree = format!(
        "setsid sh -c 'sleep {mark} &'; (sleep {mark} &); nohup setsid sleep {mark} >/dev/null 2>&1 & (env -i setsid sleep {mark} &)"
    );
    // Whoever means to hide can; whoever only cleans up after himself is found.
    let both = bed.file(
        "both.py",
        format!(
            "import os\nif os.fork(): os._exit(0)\nos.setsid()\nos.closerange(0, 4096)\nos.execve('/bin/sleep', ['sleep', '{cleared}'], {{}})\n"
        ),
    );
    let line = format!("shell:0:0:9:test -e {gate} || {{ {tree}; python3 {both}; sleep {mark}; }}");
    bed.add([&line]);
    // As where the hierarchy is there and nobody has given us a part of it.
    let hidden = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"", "sh"];
    let through: &[&str] = if nix::unistd::Uid::effective().is_root() { &hidden } else { &[] };
    let mut worker = bed.worker_through(through, "w", json!({}), &[]);
    wait_there(&mark, 5);
    wait_there(&cleared, 1);
    assert!(worker.log().contains("containment=\"keepers, marks\""), "{}", worker.log());
    worker.kill9_with_keepers();
    assert!(begun(&mark).len() >= 5, "nobody was left to clear up: else this shows nothing");
    bed.file("gate", "");
    let again = bed.worker_through(through, "w", json!({}), &[]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    let left: Vec<String> = with_argv(&mark).iter().map(ToString::to_string).collect();
    assert!(left.is_empty(), "{left:?}\n{}", again.log());
    assert_eq!(with_argv(&cleared).len(), 1, "the limit of what marks can do, as the manual says");
}

#[test]
fn the_sweep_spares_the_tasks_of_other_workers() {
    let bed = bed(json!({"max_task_per_worker": 1, "worker_dead_after_seconds": 60}));
    let (mark, other) = (unique_sleep(), unique_sleep());
    bed.add([format!("shell:0:0:1:exec env -i sleep {other}")]);
    let mut neighbour = bed.worker("neighbour");
    wait_there(&other, 1);
    bed.add([format!("shell:0:0:1:sleep {mark}")]);
    let mut worker = bed.worker("w");
    wait_there(&mark, 1);
    worker.kill9_with_keepers();
    let again = bed.worker("w");
    wait_until("the sweep", SOON, || holds_for(again.log().contains("left behind"), again.log()));
    assert_eq!(with_argv(&other).len(), 1);
    assert!(neighbour.is_running());
}

#[test]
fn a_result_that_was_not_reported_is_reported_by_the_restart() {
    let mut bed = bed(json!({}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..3, "sleep 0.7;");
    bed.add(&lines);
    let mut worker = bed.worker("w");
    wait_there(&out, 3);
    bed.redis.kill9();
    wait_until("the tasks to end", SOON, || holds_for(read(&out).lines().count() == 3, read(&out)));
    let spool = || -> usize {
        let found = std::process::Command::new("find")
            .arg(bed.path())
            .args(["-name", "spool.jsonl", "-exec", "wc", "-l", "{}", "+"])
            .output();
        let text = String::from_utf8(found.expect("find runs").stdout).expect("text");
        text.split_whitespace().filter_map(|word| word.parse::<usize>().ok()).max().unwrap_or(0)
    };
    wait_until("three outcomes in the spool", SOON, || holds_for(spool() == 3, spool()));
    worker.kill9();
    bed.redis.start_again();
    let checker = watch(&bed, &lines);
    let _again = bed.worker("w");
    assert_eq!(all_ran(&bed, &out, 3, SOON), 0, "none runs again");
    checker.finish();
}

#[test]
fn keeper_that_briefly_outlives_its_worker_delays_no_restart() {
    let bed = bed(json!({}));
    let (mark, gate) = (unique_sleep(), bed.out("gate"));
    let line = format!("shell:0:0:9:test -e {gate} || sleep {mark}");
    bed.add([&line]);
    let mut worker = bed.worker("w");
    wait_there(&mark, 1);
    // Its keepers cannot act on its death: as on a machine that is too busy.
    let keepers = worker.keepers();
    for one in &keepers {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(one.pid), Signal::SIGSTOP);
    }
    worker.kill9();
    bed.file("gate", "");
    let _again = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(with_argv(&mark).is_empty(), "the sweep has killed stopped ones too");
}
