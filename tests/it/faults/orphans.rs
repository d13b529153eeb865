//! What a worker and its keepers leave behind when they go at one moment: killed before another worker of the machine runs the same tasks.
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use serde_json::json;

use super::{bed, wait_there, watch};
use crate::support::{Bed, SOON, UniqueSleep, Worker, begun, holds_for, lines_of, unique_sleep, wait_until, with_argv};

/// A task whose first run sleeps until it is killed; each run holds a lock, and says so when it finds another one holding it.
struct Alone {
    line: String,
    mark: UniqueSleep,
    twice: String,
}

impl Alone {
    fn new(bed: &Bed) -> Self {
        let (mark, gate, lock, twice) = (unique_sleep(), bed.out("gate"), bed.out("lock"), bed.out("twice"));
        let line = format!(
            "shell:0:0:9:exec 9>{lock}; flock -n 9 || echo beside >> {twice}; (setsid sleep {mark} &); (env -i setsid sleep {mark} &); \
             test -e {gate} || {{ touch {gate}; sleep {mark}; }}; echo $DISTCOMP_WORKER"
        );
        Self { line, mark, twice }
    }

    #[track_caller]
    fn is_run_once_more_by(&self, bed: &Bed, worker: &Worker) {
        bed.wait_counts(SOON, [0, 0, 1, 0]);
        assert_eq!(lines_of(&self.twice), Vec::<String>::new(), "beside its orphan:\n{}", worker.log());
        let result = bed.table("finished_tasks").remove(&self.line).unwrap_or_default();
        assert!(result.starts_with(&format!("{}:", worker.name())), "{result}");
        wait_until("nothing left", SOON, || {
            let left = with_argv(&self.mark);
            holds_for(left.is_empty(), format!("{left:?}"))
        });
        assert!(worker.log().contains("a dead worker of this machine"), "{}", worker.log());
    }
}

/// With a cgroup where there is one, and as where there is none.
fn hidden(is_hidden: bool) -> &'static [&'static str] {
    const HIDE: [&str; 6] = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"", "sh"];
    if is_hidden && nix::unistd::Uid::effective().is_root() { &HIDE } else { &[] }
}

#[rstest]
fn task_of_dead_keepers_does_not_run_beside_its_orphan(#[values(false, true)] without_cgroup: bool) {
    let bed = bed(json!({"max_task_per_worker": 2}));
    let (state, task) = (json!({"state_dir": bed.out("state")}), Alone::new(&bed));
    bed.add([&task.line]);
    let mut dead = bed.worker_through(hidden(without_cgroup), "dead", state.clone(), &[]);
    wait_there(&task.mark, 3);
    let heir = bed.worker_through(hidden(without_cgroup), "heir", state, &[]);
    bed.wait_alive("heir");
    let checker = watch(&bed, std::slice::from_ref(&task.line));
    dead.kill9_with_keepers();
    assert!(begun(&task.mark).len() >= 3, "nobody was left to clear up: else this shows nothing");
    task.is_run_once_more_by(&bed, &heir);
    checker.finish();
}

#[test]
fn orphaned_frozen_keepers_run_no_copy_beside_the_next() {
    let bed = bed(json!({"max_task_per_worker": 2}));
    let (state, task) = (json!({"state_dir": bed.out("state")}), Alone::new(&bed));
    bed.add([&task.line]);
    let mut dead = bed.worker_with("dead", state.clone(), &[]);
    wait_there(&task.mark, 3);
    let heir = bed.worker_with("heir", state, &[]);
    bed.wait_alive("heir");
    for one in dead.keepers() {
        let _ = kill(Pid::from_raw(one.pid), Signal::SIGSTOP);
    }
    dead.kill9();
    task.is_run_once_more_by(&bed, &heir);
}

#[rstest]
fn task_that_kills_keeper_and_zygote_leaves_no_copy(#[values(false, true)] without_cgroup: bool) {
    let bed = bed(json!({"max_task_per_worker": 2, "worker_dead_after_seconds": 30, "max_retry_per_task": 3}));
    let task = Alone::new(&bed);
    let killer = "kill -9 $(ps -o ppid= -p $PPID) $PPID; sleep";
    let line = task.line.replacen("; sleep", &format!("; {killer}"), 1);
    assert!(line.contains(killer), "{line}");
    bed.add([&line]);
    // Another slot's task lives on: its keeper is nobody's stray.
    let spared = unique_sleep();
    bed.add([format!("shell:0:0:10:sleep {spared}")]);
    let worker = bed.worker_through(hidden(without_cgroup), "w", json!({}), &[]);
    wait_there(&spared, 1);
    bed.wait_counts(SOON, [0, 1, 1, 0]);
    assert_eq!(lines_of(&task.twice), Vec::<String>::new(), "beside its orphan:\n{}", worker.log());
    wait_until("nothing left", SOON, || {
        // What clears its environment and holds no descriptor of ours is found by a cgroup alone.
        let left = with_argv(&task.mark);
        holds_for(left.is_empty(), format!("{left:?}"))
    });
    assert!(!with_argv(&spared).is_empty(), "{}", worker.log());
}

#[test]
fn silent_live_neighbour_keeps_its_tasks() {
    let bed = bed(json!({"max_task_per_worker": 1}));
    let state = json!({"state_dir": bed.out("state")});
    let mark = unique_sleep();
    bed.add([format!("shell:0:0:9:exec sleep {mark}")]);
    let silent = bed.worker_with("silent", state.clone(), &[]);
    // In the middle of its exec a process has no arguments: its id is taken when it is seen.
    let before =
        wait_until("the first copy", SOON, || with_argv(&mark).first().map(|one| one.pid).ok_or_else(|| silent.log()));
    silent.signal(Signal::SIGSTOP);
    let heir = bed.worker_with("heir", state, &[]);
    wait_there(&mark, 2);
    assert!(fs::metadata(format!("/proc/{before}")).is_ok(), "it is its own worker's to end");
    assert!(!heir.log().contains("a dead worker of this machine"), "{}", heir.log());
    silent.signal(Signal::SIGCONT);
    // It hears that it has lost the task.
    wait_until("the first copy to end", SOON, || {
        let left: Vec<i32> = with_argv(&mark).iter().map(|one| one.pid).collect();
        holds_for(left.len() == 1 && left[0] != before, format!("{left:?}"))
    });
}
