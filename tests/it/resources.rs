//! Named resources, labels and lifetimes with real workers: what runs at once, where, and what is said of the rest.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::support::{Bed, SOON, holds_for, lines_of, result_of, stays, wait_until};

/// Names of devices that no other test has: the locks of devices are those of the node.
fn devices(count: usize) -> Vec<String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let own = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    (0..count).map(|at| format!("{own}-{at}")).collect()
}

/// A command that takes a lock named by its device, for a while, and writes down what it saw.
fn on_device(bed: &Bed, at: usize) -> String {
    let (locks, seen) = (bed.out("locks"), bed.out("seen"));
    format!(
        "mkdir -p {locks}; d=$DISTCOMP_RESOURCE_VALUES_GPUS; exec 9>{locks}/$d; flock -n 9 && w=free || w=TAKEN; \
         echo \"$w $d $DISTCOMP_RESOURCE_GPUS $(date +%s.%N)\" >> {seen}; sleep 0.3; echo \"end $d {at} $(date +%s.%N)\" >> {seen}"
    )
}

/// The most that were between their two lines at once.
fn most_at_once(seen: &[String]) -> usize {
    let mut moments: Vec<(f64, i32)> = seen
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[3].parse().expect("a time"), if words[0] == "end" { -1 } else { 1 })
        })
        .collect();
    moments.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut now = 0;
    moments
        .iter()
        .map(|(_, step)| {
            now += step;
            now
        })
        .max()
        .unwrap_or(0) as usize
}

#[test]
fn each_device_runs_one_task_at_a_time_on_two_workers_of_a_node() {
    let gpus = devices(2);
    let bed = Bed::with(json!({"max_task_per_worker": 8, "resources": {"gpus": gpus}}));
    let _workers = [bed.worker("w1"), bed.worker("w2")];
    bed.add((0..8).map(|at| format!("shell,gpus=1:0:0:1:{}", on_device(&bed, at))));
    bed.wait_counts(SOON, [0, 0, 8, 0]);
    let seen = lines_of(bed.out("seen"));
    let starts: Vec<&String> = seen.iter().filter(|line| !line.starts_with("end")).collect();
    let is_free = |line: &&String| gpus.iter().any(|gpu| line.starts_with(&format!("free {gpu} 1 ")));
    assert!(starts.iter().all(is_free), "{seen:?}");
    assert_eq!(most_at_once(&seen), 2, "{seen:?}");
}

#[test]
fn halves_share_a_device_and_whole_ones_do_not() {
    let bed = Bed::with(json!({"max_task_per_worker": 8, "resources": {"gpus": devices(1)}}));
    let _worker = bed.worker("w");
    let seen = bed.out("seen");
    let task = |need: &str, at: usize| {
        format!(
            "shell,gpus={need}:0:0:1:echo \"start $DISTCOMP_RESOURCE_VALUES_GPUS {need} $(date +%s.%N)\" >> {seen}; sleep 0.3; \
             echo \"end a {need} $(date +%s.%N)\" >> {seen} # {at}"
        )
    };
    bed.add((0..6).map(|at| task(["0.5", "0.5", "1"][at % 3], at)));
    bed.wait_counts(SOON, [0, 0, 6, 0]);
    let lines = lines_of(&seen);
    let mut inside: Vec<&str> = Vec::new();
    let mut most = 0;
    for line in &lines {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "start" {
            inside.push(words[2]);
        } else {
            let at = inside.iter().position(|need| *need == words[2]).expect("it has started");
            inside.remove(at);
        }
        assert!(!inside.contains(&"1") || inside.len() == 1, "a whole device is not shared: {lines:?}");
        most = most.max(inside.len());
    }
    assert!((1..=2).contains(&most), "{lines:?}");
}

#[test]
fn sum_bounds_what_runs_at_once_and_larger_needs_wait_aside() {
    let bed = Bed::with(json!({"max_task_per_worker": 8, "resources": {"lic": 3}}));
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    let (large, seen) = ("shell,lic=4:0:0:9:true".to_owned(), bed.out("seen"));
    bed.add([&large]);
    let task = |at| {
        format!(
            "shell,lic=1:0:0:1:echo \"start x x $(date +%s.%N)\" >> {seen}; sleep 0.2; echo \"end x x $(date +%s.%N)\" >> {seen} # {at}"
        )
    };
    bed.add((0..10).map(task));
    bed.wait_counts(SOON, [1, 0, 10, 0]);
    assert_eq!(most_at_once(&lines_of(&seen)), 3);
    let why = bed.status(&["explain", &large]).expect(0).stdout;
    assert!(why.contains("it needs lic=4, which no live worker has; the nearest, w, has 3 lic in all"), "{why}");
    wait_until("what is in use to be told", SOON, || {
        let shown = bed.status(&["workers"]).expect(0).stdout;
        holds_for(shown.contains("w: lic 0/3"), shown)
    });
}

#[test]
fn labels_decide_where_a_task_runs() {
    let bed = Bed::with(json!({"max_task_per_worker": 4}));
    let _plain = bed.worker("plain");
    let _fast = bed.worker_with("fast", json!({}), &["--label", "ssd", "--label", "region=eu"]);
    for name in ["plain", "fast"] {
        bed.wait_alive(name);
    }
    let out = bed.out("where");
    let task =
        |need: &str, at: usize| format!("shell,constraint={need}:0:0:1:echo '{need}' $DISTCOMP_WORKER >> {out} # {at}");
    bed.add((0..12).map(|at| task(["ssd", "!ssd", "region=eu|region=us"][at % 3], at)));
    bed.add([task("nvme", 0)]);
    bed.wait_counts(SOON, [1, 0, 12, 0]);
    for line in lines_of(&out) {
        let wanted = if line.starts_with('!') { "plain" } else { "fast" };
        assert!(line.ends_with(wanted), "{line}");
    }
    let why = bed.status(&["explain"]).expect(0).stdout;
    assert!(why.contains("constraint=nvme") && why.contains("no live worker has"), "{why}");
}

#[test]
fn device_is_free_again_after_its_worker_was_killed_with_it() {
    let bed =
        Bed::with(json!({"worker_dead_after_seconds": 2, "max_lost_per_task": 3, "resources": {"gpus": devices(1)}}));
    let mut first = bed.worker("w1");
    let runs = bed.out("runs");
    bed.add([format!("shell,gpus=1:0:0:1:echo run >> {runs}; test $(wc -l < {runs}) -gt 1 || sleep 1000")]);
    wait_until("the first run", SOON, || holds_for(lines_of(&runs).len() == 1, "it has not started"));
    let _second = bed.worker("w2");
    first.kill9();
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(lines_of(&runs).len(), 2);
}

#[test]
fn device_is_free_again_after_worker_and_keepers_were_killed() {
    let bed =
        Bed::with(json!({"worker_dead_after_seconds": 2, "max_lost_per_task": 3, "resources": {"gpus": devices(1)}}));
    // Workers of one node keep their state in one place, and so know of what another has left.
    let state = json!({"state_dir": bed.out("state")});
    let mut first = bed.worker_with("w1", state.clone(), &[]);
    let (runs, locks) = (bed.out("runs"), bed.out("lock"));
    bed.add([format!(
        "shell,gpus=1:0:0:1:exec 9>{locks}; flock -n 9 || echo TAKEN >> {runs}; echo run >> {runs}; test $(wc -l < {runs}) -gt 1 || sleep 1000"
    )]);
    wait_until("the first run", SOON, || holds_for(lines_of(&runs).len() == 1, "it has not started"));
    first.kill9_with_keepers();
    // The other worker of this node ends what was left of the tree, and only then is the device free.
    let _second = bed.worker_with("w2", state, &[]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(lines_of(&runs), ["run", "run"]);
}

#[test]
fn lowered_resource_is_given_out_when_enough_has_come_back() {
    let bed = Bed::with(json!({"max_task_per_worker": 8, "resources": {"lic": 3}}));
    let mut worker = bed.worker("w");
    let (seen, gate) = (bed.out("seen"), bed.out("gate"));
    let task = |at: usize, then: &str| {
        format!(
            "shell,lic=1:0:0:1:echo \"start x x $(date +%s.%N)\" >> {seen}; {then}; echo \"end x x $(date +%s.%N)\" >> {seen} # {at}"
        )
    };
    bed.add((0..3).map(|at| task(at, &format!("while ! test -e {gate}; do sleep 0.05; done"))));
    wait_until("three of them", SOON, || holds_for(lines_of(&seen).len() == 3, "they have not started"));
    worker.reconfigure(&json!({"resources": {"lic": 1}}));
    worker.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the new settings", SOON, || {
        let shown = bed.status(&["workers"]).expect(0).stdout;
        holds_for(shown.contains("w: lic ") && shown.contains("/1"), shown)
    });
    bed.add((3..9).map(|at| task(at, "sleep 0.1")));
    stays("nothing starts while more is in use than there is", Duration::from_millis(700), || {
        let lines = lines_of(&seen);
        holds_for(lines.len() == 3, format!("{lines:?}"))
    });
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 9, 0]);
    assert_eq!(most_at_once(&lines_of(&seen)[6..]), 1, "one at a time from then on");
}

#[test]
fn resource_that_changes_its_kind_remembers_who_has_it() {
    let gpus = devices(2);
    let bed = Bed::with(json!({"max_task_per_worker": 8, "resources": {"gpus": gpus}}));
    let mut worker = bed.worker("w");
    let gate = bed.out("gate");
    let line =
        format!("shell,gpus=1:0:0:1:while ! test -e {gate}; do sleep 0.05; done; echo $DISTCOMP_RESOURCE_VALUES_GPUS");
    bed.add([&line]);
    bed.wait_running(&line);
    for (resources, shown) in
        [(json!({"gpus": 2}), "gpus 1/2"), (json!({"gpus": 5}), "gpus 1/5"), (json!({"gpus": gpus}), "gpus 1/2")]
    {
        worker.reconfigure(&json!({"resources": resources}));
        worker.signal(nix::sys::signal::Signal::SIGHUP);
        wait_until(shown, SOON, || {
            let now = bed.status(&["workers"]).expect(0).stdout;
            holds_for(now.contains(shown), now)
        });
    }
    let both = "shell,gpus=2:0:0:1:echo $DISTCOMP_RESOURCE_VALUES_GPUS";
    bed.add([both]);
    stays("the first task has one of them", Duration::from_millis(500), || {
        holds_for(bed.counts() == [1, 1, 0, 0], "it ran")
    });
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    assert_eq!(result_of(&bed.table("finished_tasks"), both).1, gpus.join(","));
    assert!(!worker.log().contains("another process"), "{}", worker.log());
}

#[test]
fn worker_gives_everything_back_before_its_time_is_over() {
    let bed = Bed::new();
    let (short, long) = ("shell:0:0:2:echo short", "shell:0:0:1:sleep 100");
    bed.add([short, long, "shell,time=60:0:0:1:echo late"]);
    let start = SystemTime::now();
    let mut worker = bed.worker_with("w", json!({"time_limit_seconds": 8}), &[]);
    bed.wait_running(long);
    assert_eq!(worker.wait_exit(SOON), 0);
    let lived = start.elapsed().expect("a time");
    assert!(lived > Duration::from_secs(3) && lived < Duration::from_secs(9), "{lived:?}: {}", worker.log());
    assert_eq!(bed.counts(), [2, 0, 1, 0], "{}", worker.log());
    assert!(worker.log().contains("time_limit_seconds is almost over"), "{}", worker.log());
}

#[test]
fn device_of_a_frozen_worker_is_not_given_to_another() {
    let bed = Bed::with(json!({"worker_dead_after_seconds": 2, "resources": {"gpus": devices(1)}}));
    let frozen = bed.worker("w1");
    let (runs, gate) = (bed.out("runs"), bed.out("gate"));
    let holds = format!("shell,gpus=1:0:0:1:echo held >> {runs}; while ! test -e {gate}; do sleep 0.05; done");
    bed.add([&holds]);
    wait_until("the first run", SOON, || holds_for(lines_of(&runs).len() == 1, "it has not started"));
    let _second = bed.worker("w2");
    bed.wait_alive("w2");
    frozen.signal(nix::sys::signal::Signal::SIGSTOP);
    bed.add([format!("shell,gpus=1:0:0:5:echo other >> {runs}")]);
    // Its tree may live on until its keepers see the end of the lease: as long as it does, nobody else has the device.
    stays("nobody else has the device while the first tree lives", Duration::from_secs(1), || {
        let lines = lines_of(&runs);
        holds_for(lines == ["held"], format!("{lines:?}"))
    });
    frozen.signal(nix::sys::signal::Signal::SIGCONT);
    bed.file("gate", "");
    bed.wait_counts(SOON * 2, [0, 0, 2, 0]);
}

#[test]
fn example_with_devices_and_labels_runs() {
    let bed = Bed::with(json!({"max_task_per_worker": 8}));
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/example/gpu.tasks")).expect("the example");
    // As large as the example's nodes, whatever this one is.
    let gpus = format!("gpus={}", devices(2).join(","));
    let size = ["--cores", "32", "--memory", "64", "--resource", &gpus, "--resource", "scratch_gb=500"];
    let labels =
        |labels: &'static [&'static str]| size.iter().copied().chain(labels.iter().copied()).collect::<Vec<_>>();
    let _eu = bed.worker_with("eu", json!({}), &labels(&["--label", "ssd", "--label", "region=eu"]));
    let _us = bed.worker_with("us", json!({}), &labels(&["--label", "region=us"]));
    bed.submit(&["-"], file).expect(0);
    bed.wait_counts(SOON, [0, 0, 7, 0]);
}
