//! The failure matrix by real means: real signals, a real Redis, a network of our own. Each test ends with the invariants.
mod cgroup;
mod clock;
mod controls;
mod disk;
mod edits;
#[cfg(feature = "failpoints")]
mod failpoints;
mod keepers;
mod limits;
mod network;
mod oom;
mod orphans;
mod output;
mod poison;
mod redis_away;
mod redis_full;
mod storm;
mod submitting;
mod worker_frozen;
mod worker_killed;
mod worker_told;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, Checker, Redis, ServerOptions, Worker, begun, holds_for, run_times, wait_until, with_argv};

/// A server that keeps its data when it is killed, and workers that are declared dead after a second.
fn bed(changes: Value) -> Bed {
    let mut conf = json!({"worker_dead_after_seconds": 1, "max_lost_per_task": 100, "retry_backoff_seconds": 0});
    conf.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    Bed::on(Redis::start(ServerOptions { durable: true, ..Default::default() }), conf)
}

/// A lease, in seconds, where nobody is to die by it: a busy machine may keep a worker from one heartbeat for a second or two. No worker believes the
/// silence of another sooner than with a shorter one, since it wants three seconds of watching in any case.
const PATIENT: u32 = 3;

/// Lines that each append their number to `out`, and the lines themselves.
fn counted(out: &str, numbers: std::ops::Range<usize>, before: &str) -> Vec<String> {
    numbers.map(|at| format!("shell:0:0:1:{before} echo {at} >> {out}")).collect()
}

fn watch(bed: &Bed, lines: &[String]) -> Checker {
    Checker::start(bed.redis.url(), lines)
}

/// Starts these and waits until each beats: tasks that are to run on all of them at once are added afterwards.
#[track_caller]
fn workers<const N: usize>(bed: &Bed, names: [&str; N]) -> [Worker; N] {
    let workers = names.map(|name| bed.worker(name));
    names.into_iter().for_each(|name| bed.wait_alive(name));
    workers
}

/// All finished, all seen to run; answers how many runs were more than one.
#[track_caller]
fn all_ran(bed: &Bed, out: &str, count: usize, timeout: Duration) -> usize {
    bed.wait_counts(timeout, [0, 0, count, 0]);
    let times = run_times(out);
    assert_eq!(times.len(), count, "each ran at least once");
    times.values().map(|times| times - 1).sum()
}

#[track_caller]
fn wait_there(mark: &str, count: usize) {
    wait_until(&format!("{count} processes of {mark}"), Duration::from_secs(20), || {
        let seen = begun(mark);
        holds_for(seen.len() >= count, format!("{seen:?}"))
    });
}

#[track_caller]
fn wait_gone(mark: &str, timeout: Duration) {
    wait_until(&format!("nothing of {mark}"), timeout, || {
        let left = with_argv(mark);
        holds_for(left.is_empty(), format!("{left:?}"))
    });
}

/// A random number generator that says the same each time: what a seed is for.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// From 0 to `below`, without it.
    pub(crate) fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % below.max(1) as u64).expect("less than below")
    }
}

/// Whether a program was built with the feature that tests hold workers by.
fn has_fail_points(program: &[u8]) -> bool {
    ["DISTCOMP_FAILPOINTS", "past step "]
        .iter()
        .any(|trace| program.windows(trace.len()).any(|window| window == trace.as_bytes()))
}
