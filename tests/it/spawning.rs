//! Where tasks come from: never from the worker, whose memory a fork would have to copy the map of, but from keepers, which the zygote has forked.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::json;

use crate::support::{Bed, SOON, lines_of, read};

#[test]
fn task_is_child_of_a_keeper_and_keeper_of_the_zygote() {
    let bed = Bed::with(json!({"max_task_per_worker": 3}));
    let out = bed.out("parents");
    let worker = bed.worker("w");
    // Fields 2 and 4 of `stat` are the name and the parent; ours have no blank in their names.
    let look = "read _ name _ above _ < /proc/$PPID/stat; read _ higher _ root _ < /proc/$above/stat";
    bed.add((0..60).map(|at| format!("shell:0:0:1:{look}; echo $PPID $name $above $higher $root >> {out} # {at}")));
    bed.wait_counts(SOON, [0, 0, 60, 0]);
    let (mut keepers, mut zygotes) = (BTreeSet::new(), BTreeSet::new());
    for line in lines_of(&out) {
        let words: Vec<&str> = line.split(' ').collect();
        let [keeper, "(distcomp-keeper)", zygote, "(distcomp-zygote)", root] = words[..] else {
            panic!("a task with other ancestors: {line}");
        };
        assert_eq!(root, worker.pid().to_string(), "{line}");
        keepers.insert(keeper.to_owned());
        zygotes.insert(zygote.to_owned());
    }
    assert!(keepers.len() <= 3 && zygotes.len() == 1, "{keepers:?} {zygotes:?}");
}

/// One call that makes a process or a thread, as strace writes it.
struct Birth {
    parent: i32,
    flags: String,
    child: i32,
}

fn births(trace: &str) -> Vec<Birth> {
    // A call that another process interrupts in the file is written in two parts: flags in the first, the child in the second.
    let mut unfinished: BTreeMap<i32, String> = BTreeMap::new();
    let mut found = Vec::new();
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Ok(parent) = pid.parse() else { continue };
        let rest = rest.trim_start();
        if rest.contains("<unfinished ...>") {
            unfinished.insert(parent, rest.to_owned());
            continue;
        }
        let whole = if rest.starts_with("<...") {
            unfinished.remove(&parent).unwrap_or_default() + rest
        } else {
            rest.to_owned()
        };
        let is_birth = ["clone(", "clone3(", "fork(", "vfork("].iter().any(|call| whole.starts_with(call));
        let child = whole.rsplit(" = ").next().and_then(|child| child.trim().parse().ok());
        if let (true, Some(child)) = (is_birth, child) {
            let flags = whole.split("flags=").nth(1).unwrap_or(&whole);
            let flags = flags.split([',', '}', ')']).next().unwrap_or_default().to_owned();
            found.push(Birth { parent, flags, child });
        }
    }
    found
}

#[test]
fn no_task_costs_a_fork() {
    let strace = Command::new("strace").arg("-V").output();
    assert!(strace.is_ok_and(|ran| ran.status.success()), "this test needs strace: install it");
    let bed = Bed::with(json!({"max_task_per_worker": 3}));
    let trace = bed.path().join("trace").display().to_string();
    let count = 200;
    bed.add((0..count).map(|at| format!("shell:0:0:1:true # {at}")));
    // -D: the tracer is the one apart, so that the worker is our child as ever.
    let through =
        ["strace", "-D", "-f", "-qq", "-e", "trace=clone,clone3,fork,vfork", "-e", "signal=none", "-o", &trace];
    let mut worker = bed.worker_through(&through, "w", json!({}), &["--burst"]);
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
    assert_eq!(bed.counts(), [0, 0, count, 0]);
    let trace = read(&trace);
    let births = births(&trace);
    let is_thread = |birth: &&Birth| birth.flags.contains("CLONE_THREAD");
    let root = worker.pid().as_raw();
    let mut threads = BTreeSet::from([root]);
    threads.extend(births.iter().filter(is_thread).map(|birth| birth.child));
    let children: Vec<&Birth> =
        births.iter().filter(|birth| threads.contains(&birth.parent) && !is_thread(birth)).collect();
    let [zygote] = children[..] else { panic!("the worker has made other processes than its zygote:\n{trace}") };
    assert!(zygote.flags.contains("CLONE_VFORK"), "the zygote was forked: {}", zygote.flags);
    let keepers: Vec<i32> =
        births.iter().filter(|birth| birth.parent == zygote.child).map(|birth| birth.child).collect();
    // One a slot, and one for the task that does nothing, by which the worker finds out at its start whether any can be started.
    assert!((2..=4).contains(&keepers.len()), "{keepers:?}");
    let tasks: Vec<&Birth> = births.iter().filter(|birth| keepers.contains(&birth.parent)).collect();
    assert_eq!(tasks.len(), count + 1, "one birth a task");
    for birth in tasks {
        assert!(birth.flags.contains("CLONE_VM") && birth.flags.contains("CLONE_VFORK"), "{}", birth.flags);
    }
}
