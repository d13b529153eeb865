//! Limits across the fleet and on one node, by real means: workers, processes, pictures of the hashes.
mod faults;
mod flags;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Bed, Checker, SOON, Worker, holds_for, stays, wait_until};

fn limit(bed: &Bed, name: &str, to: &str) {
    bed.ctl(&["limit", name, to, "--yes"]).expect(0);
}

/// A worker whose host has this name.
fn worker_on(bed: &Bed, host: &str, name: &str, changes: serde_json::Value) -> Worker {
    let rename = format!("hostname {host} && exec \"$@\"");
    bed.worker_through(&["unshare", "--uts", "sh", "-c", &rename, "sh"], name, changes, &[])
}

/// Lines of this limit that each sleep for so long.
fn sleepers(limit: &str, seconds: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|at| format!("shell,limit={limit}:0:0:1:sleep {seconds} # {at}")).collect()
}

/// The lines that count against a limit now.
fn counted(bed: &Bed, name: &str) -> BTreeSet<String> {
    ::redis::cmd("SMEMBERS").arg(format!("distcomp:limits:in:{name}")).query(&mut bed.redis.con()).expect("SMEMBERS")
}

/// How many are in progress at this moment, by worker.
fn picture(bed: &Bed) -> BTreeMap<String, usize> {
    let mut by_worker = BTreeMap::new();
    for worker in bed.table("in_progress_tasks").into_values() {
        *by_worker.entry(worker).or_default() += 1;
    }
    by_worker
}

/// Takes pictures until this holds of the most that were ever in progress at once, or all have finished; answers how many pictures it took.
#[track_caller]
fn look_until(bed: &Bed, what: &str, mut is_over: impl FnMut(usize) -> bool) -> usize {
    let mut looks = 0;
    wait_until(what, Duration::from_secs(60), || {
        looks += 1;
        let now = picture(bed).values().sum();
        holds_for(is_over(now), format!("{now} in progress"))
    });
    looks
}

#[test]
fn limit_holds_in_every_picture_and_all_finish() {
    let bed = Bed::new();
    limit(&bed, "disk", "3");
    let _workers = ["a", "b", "c"].map(|name| bed.worker(name));
    ["a", "b", "c"].iter().for_each(|name| bed.wait_alive(name));
    let lines = sleepers("disk", "0.1", 0..200);
    bed.add(&lines);
    let (start, checker) = (Instant::now(), Checker::start(bed.redis.url(), &lines));
    let mut most = 0;
    look_until(&bed, "all to finish", |now| {
        assert!(now <= 3, "{now} of 3 in progress");
        most = most.max(now);
        bed.count("finished_tasks") == 200
    });
    // Three at once need 6.7 s.
    println!("200 tasks of 0.1 s, three at once: {:?}", start.elapsed());
    assert_eq!(most, 3, "as many as may");
    assert!(start.elapsed() < Duration::from_secs(30), "a unit that comes free is used at once: {:?}", start.elapsed());
    checker.finish();
    assert_eq!(counted(&bed, "disk"), BTreeSet::new());
    assert!(!bed.keys().contains(&"distcomp:limits:at".to_owned()), "nothing is left");
}

#[test]
fn limit_that_is_changed_holds_within_a_second() {
    let bed = Bed::new();
    limit(&bed, "disk", "3");
    let _workers = ["a", "b", "c"].map(|name| bed.worker(name));
    bed.add(sleepers("disk", "0.2", 0..400));
    look_until(&bed, "three in progress", |now| now == 3);
    limit(&bed, "disk", "6");
    let looks = look_until(&bed, "six in progress", |now| now == 6);
    println!("six after {looks} looks of 20 ms");
    limit(&bed, "disk", "1");
    let looks = look_until(&bed, "one in progress", |now| now <= 1);
    println!("one after {looks} looks of 20 ms");
    stays("one of one in progress", Duration::from_secs(2), || {
        let now: usize = picture(&bed).values().sum();
        holds_for(now <= 1, now)
    });
    limit(&bed, "disk", "0");
    look_until(&bed, "none in progress", |now| now == 0);
    limit(&bed, "disk", "none");
    look_until(&bed, "all slots in use", |now| now == 24);
}

#[test]
fn workers_of_one_host_count_together() {
    let bed = Bed::new();
    limit(&bed, "disk", "2/1");
    let _workers = [("h1", "a"), ("h1", "b"), ("h2", "c")].map(|(host, name)| worker_on(&bed, host, name, json!({})));
    ["a", "b", "c"].iter().for_each(|name| bed.wait_alive(name));
    bed.add(sleepers("disk", "0.1", 0..40));
    let mut most = 0;
    look_until(&bed, "all to finish", |_| {
        let now = picture(&bed);
        let on = |names: &[&str]| names.iter().filter_map(|name| now.get(*name)).sum::<usize>();
        assert!(on(&["a", "b"]) <= 1 && on(&["c"]) <= 1, "{now:?}");
        most = most.max(now.len());
        bed.count("finished_tasks") == 40
    });
    assert_eq!(most, 2, "one on each host");
}

#[test]
fn cancelled_task_holds_its_unit_until_it_is_dead() {
    let bed = Bed::with(json!({"task_kill_grace_seconds": 3}));
    limit(&bed, "disk", "1");
    let pid = bed.out("pid");
    let stubborn = format!("shell,limit=disk:0:0:5:trap '' TERM; echo $$ > {pid}; while :; do sleep 0.1; done");
    let next = format!("shell,limit=disk:0:0:1:! kill -0 $(cat {pid})");
    bed.add([&stubborn, &next]);
    let _workers = ["a", "b"].map(|name| bed.worker(name));
    wait_until("the stubborn one", SOON, || holds_for(std::path::Path::new(&pid).exists(), "no pid"));
    bed.ctl(&["cancel", &stubborn, "--yes"]).expect(0);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(counted(&bed, "disk"), BTreeSet::from([stubborn]), "it is not dead yet");
    assert_eq!(bed.counts(), [1, 1, 0, 0]);
    // The next one fails if the stubborn one lives.
    bed.wait_counts(SOON, [0, 0, 1, 1]);
    assert_eq!(counted(&bed, "disk"), BTreeSet::new());
}

#[test]
fn full_limit_holds_nothing_else_back() {
    let bed = Bed::new();
    limit(&bed, "disk", "1");
    bed.add(sleepers("disk", "2", 0..20));
    bed.add((0..40).map(|at| format!("shell:0:0:0:echo {at}")));
    let _worker = bed.worker("a");
    wait_until("the others to finish", SOON, || {
        holds_for(bed.count("finished_tasks") >= 40, format!("{:?}", bed.counts()))
    });
    assert!(bed.counts()[0] >= 10, "those of the limit wait: {:?}", bed.counts());
}
