//! Every step of a task × {SIGKILL, SIGTERM, SIGSTOP} to its worker.
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::json;

use super::{Load, Steps, wait_at};
use crate::faults::{bed, watch};
use crate::support::{SOON, holds_for, lines_of, run_times, stays, wait_until, with_argv};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// SIGKILL, and the same worker again.
    KilledAndBack,
    /// SIGKILL, and another worker.
    KilledForGood,
    /// SIGTERM, while it is held there and afterwards.
    Told,
    /// SIGSTOP for less than the lease, and SIGCONT.
    StoppedShort,
    /// SIGSTOP until another worker has all of it, and SIGCONT.
    StoppedPastLease,
}

/// In how many tasks a copy more may run: those that had run and of which nobody alive knows the outcome.
fn repeats_allowed(step: &str, fault: Fault) -> usize {
    match (step, fault) {
        // Nothing had started, or Redis had heard the outcome.
        ("claimed" | "starting" | "settled" | "reported", _) => 0,
        // The outcome was on disk, for the restart.
        ("spooled", Fault::KilledAndBack) => 0,
        (_, Fault::Told | Fault::StoppedShort) => 0,
        (_, Fault::KilledAndBack | Fault::KilledForGood | Fault::StoppedPastLease) => 1,
    }
}

#[rstest]
fn a_fault_at_a_step_loses_nothing_and_runs_nothing_needlessly(
    #[values("claimed", "starting", "spawned", "ended", "spooled", "settled", "reported")] step: &str,
    #[values(Fault::KilledAndBack, Fault::KilledForGood, Fault::Told, Fault::StoppedShort, Fault::StoppedPastLease)]
    fault: Fault,
) {
    let lease = if fault == Fault::StoppedShort { 30 } else { 1 };
    let bed = bed(json!({"max_task_per_worker": 1, "task_prefetch": 0, "worker_dead_after_seconds": lease}));
    let (steps, load) = (Steps::new(&bed), Load::new(&bed, 3));
    bed.add(&load.lines);
    let checker = watch(&bed, &load.lines);
    steps.arm(step);
    let mut first = steps.worker(&bed, "first", json!({}));
    wait_at(&first, step);
    let before = load.started();
    let mut others = Vec::new();
    match fault {
        Fault::KilledAndBack | Fault::KilledForGood => {
            first.kill9();
            wait_until("its trees to be gone", Duration::from_secs(2), || {
                let left = with_argv(&load.mark);
                holds_for(left.is_empty(), format!("{left:?}"))
            });
            steps.release(step);
            others.push(bed.worker(if fault == Fault::KilledAndBack { "first" } else { "second" }));
        }
        Fault::Told => {
            first.sigterm();
            wait_until("it to have heard", SOON, || holds_for(first.log().contains("draining"), first.log()));
            steps.release(step);
            assert_eq!(first.wait_exit(SOON), 0, "{}", first.log());
            assert_eq!((bed.count("in_progress_tasks"), bed.count("worker_status")), (0, 0), "{}", first.log());
            others.push(bed.worker("second"));
        }
        Fault::StoppedShort => {
            others.push(bed.worker("second"));
            first.signal(Signal::SIGSTOP);
            thread::sleep(Duration::from_millis(1500));
            steps.release(step);
            first.signal(Signal::SIGCONT);
        }
        Fault::StoppedPastLease => {
            first.signal(Signal::SIGSTOP);
            others.push(bed.worker("second"));
            bed.wait_counts(SOON, [0, 0, 3, 0]);
            steps.release(step);
            let results = bed.table("finished_tasks");
            first.signal(Signal::SIGCONT);
            let past = format!("past step {step}");
            wait_until("it to go on", SOON, || holds_for(first.log().contains(&past), first.log()));
            // A task that it had claimed and not started must not start now, and no result of its own may be written.
            stays("the results as they were", Duration::from_secs(1), || {
                holds_for(bed.table("finished_tasks") == results, format!("{:?}", bed.table("finished_tasks")))
            });
            assert!(first.is_running());
        }
    }
    bed.wait_counts(SOON, [0, 0, 3, 0]);
    let times = run_times(&load.runs);
    let repeats: usize = times.values().map(|times| times - 1).sum();
    assert_eq!(times.len(), 3, "each ran");
    assert!(repeats <= repeats_allowed(step, fault), "{repeats} repeats, {before} started before: {times:?}");
    // Only one that cannot be heard may run beside its own copy.
    assert!(lines_of(&load.twice).is_empty() || fault == Fault::StoppedPastLease, "{:?}", lines_of(&load.twice));
    drop(first);
    drop(others);
    assert!(with_argv(&load.mark).is_empty(), "{:?}", with_argv(&load.mark));
    checker.finish();
}

#[test]
fn recovery_that_is_killed_is_repeated_at_the_next_start() {
    let bed = bed(json!({"max_task_per_worker": 4, "worker_dead_after_seconds": 30}));
    let (steps, load) = (Steps::new(&bed), Load::new(&bed, 4));
    bed.add(&load.lines);
    let checker = watch(&bed, &load.lines);
    steps.arm("spooled");
    let mut worker = steps.worker(&bed, "w", json!({}));
    wait_at(&worker, "spooled");
    worker.kill9();
    steps.release("spooled");
    for round in 1..=2 {
        steps.arm("entered");
        let mut again = steps.worker(&bed, "w", json!({}));
        wait_until("it to enter", SOON, || {
            holds_for(again.log().matches("at step entered").count() == round, again.log())
        });
        again.kill9();
        steps.release("entered");
    }
    let _last = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 4, 0]);
    checker.finish();
}
