//! Limits while workers die, freeze, and others take their records away.
use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{counted, limit, picture, sleepers};
use crate::support::{Bed, Checker, Redis, SOON, ServerOptions, holds_for, stays, wait_until};

/// A durable server, and workers that are declared dead after a second.
fn bed() -> Bed {
    let conf = json!({"worker_dead_after_seconds": 1, "max_lost_per_task": 100, "retry_backoff_seconds": 0});
    Bed::on(Redis::start(ServerOptions { durable: true, ..Default::default() }), conf)
}

/// Waits until so many count, and no more are in progress meanwhile.
#[track_caller]
fn wait_counted(bed: &Bed, name: &str, wanted: usize) {
    wait_until(&format!("{wanted} to count against {name}"), SOON, || {
        let seen = counted(bed, name);
        holds_for(seen.len() == wanted, format!("{seen:?}"))
    });
}

#[test]
fn dead_worker_gives_its_units_back() {
    let bed = bed();
    limit(&bed, "disk", "2");
    let lines = sleepers("disk", "0.3", 0..12);
    let mut first = bed.worker("a");
    bed.wait_alive("a");
    bed.add(&lines);
    let checker = Checker::start(bed.redis.url(), &lines);
    wait_counted(&bed, "disk", 2);
    first.kill9_with_keepers();
    assert_eq!(counted(&bed, "disk").len(), 2, "they count until the worker is known to be dead");
    let _second = bed.worker("b");
    bed.wait_counts(SOON, [0, 0, 12, 0]);
    checker.finish();
    assert_eq!(counted(&bed, "disk"), BTreeSet::new());
}

#[test]
fn frozen_worker_comes_back_to_a_full_limit() {
    let bed = bed();
    limit(&bed, "disk", "2");
    let lines = sleepers("disk", "4", 0..4);
    let first = bed.worker("a");
    bed.wait_alive("a");
    bed.add(&lines);
    let checker = Checker::start(bed.redis.url(), &lines);
    wait_counted(&bed, "disk", 2);
    first.signal(Signal::SIGSTOP);
    let _second = bed.worker("b");
    wait_until("the other worker to have both", SOON, || {
        let now = picture(&bed);
        holds_for(now.get("b") == Some(&2), format!("{now:?}"))
    });
    first.signal(Signal::SIGCONT);
    bed.wait_counts(Duration::from_secs(40), [0, 0, 4, 0]);
    checker.finish();
    wait_counted(&bed, "disk", 0);
}

#[test]
fn lost_writes_are_counted_again() {
    let mut bed = bed();
    bed.configure(json!({"worker_dead_after_seconds": 30}));
    limit(&bed, "disk", "2");
    let lines = sleepers("disk", "3", 0..6);
    bed.add(&lines);
    let kept = bed.redis.log_length();
    let _workers = ["a", "b"].map(|name| bed.worker(name));
    wait_counted(&bed, "disk", 2);
    bed.redis.kill9();
    bed.redis.cut_tail(bed.redis.log_length() - kept);
    let checker = Checker::start(bed.redis.url(), &lines);
    bed.redis.start_again();
    wait_counted(&bed, "disk", 2);
    bed.wait_counts(Duration::from_secs(40), [0, 0, 6, 0]);
    checker.finish();
    wait_counted(&bed, "disk", 0);
}

#[test]
fn what_others_delete_is_counted_again() {
    let bed = bed();
    limit(&bed, "disk", "3");
    let _workers = ["a", "b"].map(|name| bed.worker(name));
    ["a", "b"].iter().for_each(|name| bed.wait_alive(name));
    bed.add(sleepers("disk", "60", 0..9));
    wait_counted(&bed, "disk", 3);
    let running = counted(&bed, "disk");
    let one = running.first().expect("three").clone();
    let del = |key: &str| {
        ::redis::cmd("DEL").arg(key).exec(&mut bed.redis.con()).expect("DEL");
        ::redis::cmd("PUBLISH").arg("distcomp:wake").arg("todo").exec(&mut bed.redis.con()).expect("PUBLISH");
    };
    for key in ["distcomp:limits:in:disk", "distcomp:limits:at"] {
        del(key);
        wait_until("it to be there again", SOON, || {
            let (set, at) = (counted(&bed, "disk"), bed.table("distcomp:limits:at"));
            holds_for(set == running && at.len() == 3, format!("{set:?} {at:?}"))
        });
        assert_eq!(bed.count("in_progress_tasks"), 3, "{key}");
    }
    ::redis::cmd("SREM").arg("distcomp:limits:in:disk").arg(&one).exec(&mut bed.redis.con()).expect("SREM");
    wait_until("it to count again", SOON, || holds_for(counted(&bed, "disk").contains(&one), "it does not"));
    // What others add to it takes no unit away for long.
    let foreign = ["nobody", "shell,limit=disk:0:0:1:nobody"];
    ::redis::cmd("SADD").arg("distcomp:limits:in:disk").arg(&foreign).exec(&mut bed.redis.con()).expect("SADD");
    bed.hset("distcomp:limits:at", foreign[1], "h\ta");
    wait_until("what is nowhere to be gone", Duration::from_secs(60), || {
        let (set, at) = (counted(&bed, "disk"), bed.table("distcomp:limits:at"));
        let is_gone = foreign.iter().all(|line| !set.contains(*line) && !at.contains_key(*line));
        holds_for(is_gone && running.is_subset(&set), format!("{set:?} {at:?}"))
    });
}

#[test]
fn line_taken_out_of_progress_counts_until_it_is_dead() {
    let bed = Bed::with(json!({"task_kill_grace_seconds": 2}));
    limit(&bed, "disk", "1");
    let pid = bed.out("pid");
    let stubborn = format!("shell,limit=disk:0:0:5:trap '' TERM; echo $$ > {pid}; while :; do sleep 0.1; done");
    bed.add([&stubborn]);
    let _workers = ["a", "b"].map(|name| bed.worker(name));
    wait_until("the stubborn one", SOON, || holds_for(std::path::Path::new(&pid).exists(), "no pid"));
    let next = format!("shell,limit=disk:0:0:1:! kill -0 $(cat {pid})");
    bed.add([&next]);
    bed.hdel("in_progress_tasks", &stubborn);
    stays("nothing to start beside it", Duration::from_secs(2), || {
        holds_for(bed.count("in_progress_tasks") == 0, format!("{:?}", bed.counts()))
    });
    // The next one fails if the stubborn one lives.
    bed.wait_counts(Duration::from_secs(60), [0, 0, 1, 0]);
}
