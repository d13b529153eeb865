//! Every step of a task × {SIGKILL, SIGTERM, SIGSTOP}: the worker is held at the step, so that the fault hits it there and nowhere else. Only with the cargo
//! feature `failpoints`: `cargo nextest run --features failpoints -E 'test(/^faults::failpoints::/)'`, as `tests/slow.sh` does.
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::json;

use super::{bed, watch};
use crate::support::{
    Bed, Mode, Proxy, SOON, Worker, bin, holds_for, lines_of, run_times, stays, unique_sleep, wait_until, with_argv,
};

/// Arms and releases steps.
struct Steps {
    dir: PathBuf,
    variable: String,
}

impl Steps {
    fn new(bed: &Bed) -> Self {
        let dir = PathBuf::from(bed.out("steps"));
        fs::create_dir(&dir).expect("a directory");
        let variable = format!("DISTCOMP_FAILPOINTS={}", dir.display());
        Self { dir, variable }
    }

    fn arm(&self, step: &str) {
        fs::write(self.dir.join(step), "").expect("a file");
    }

    fn release(&self, step: &str) {
        fs::remove_file(self.dir.join(step)).expect("it was armed");
    }

    /// A worker that knows them.
    fn worker(&self, bed: &Bed, name: &str, changes: serde_json::Value) -> Worker {
        bed.worker_through(&["env", &self.variable], name, changes, &[])
    }
}

#[track_caller]
fn wait_at(worker: &Worker, step: &str) {
    wait_until(&format!("step {step}"), SOON, || {
        holds_for(worker.log().contains(&format!("at step {step}")), worker.log())
    });
}

/// Tasks that say that they ran, and say so elsewhere if another copy of them is still there.
struct Load {
    lines: Vec<String>,
    runs: String,
    twice: String,
    mark: crate::support::UniqueSleep,
}

impl Load {
    fn new(bed: &Bed, count: usize) -> Self {
        let (runs, twice, locks, mark) = (bed.out("runs"), bed.out("twice"), bed.out("locks"), unique_sleep());
        fs::create_dir(&locks).expect("a directory");
        let lines = (0..count).map(|at| {
            format!(
                "shell:0:0:1:exec 9>{locks}/{at}; flock -n 9 || echo {at} >> {twice}; echo {at} >> {runs}; \
                 (setsid sleep {mark} &); sleep 0.3; echo $DISTCOMP_WORKER"
            )
        });
        Self { lines: lines.collect(), runs, twice, mark }
    }

    fn started(&self) -> usize {
        lines_of(&self.runs).len()
    }
}

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    /// SIGKILL, and started again with its append-only file.
    Killed,
    /// SIGTERM, as a service manager does, and started again.
    Restarted,
    /// SIGSTOP for longer than the worker's patience of two calls.
    Hung,
    /// Nothing goes either way; what was sent arrives afterwards.
    Cut,
    /// Killed, and all writes since the submission are gone.
    Lost,
}

#[rstest]
fn a_server_that_goes_at_a_step_costs_no_run(
    #[values("claimed", "starting", "spawned", "ended", "spooled", "settled", "reported")] step: &str,
    #[values(Away::Killed, Away::Restarted, Away::Hung, Away::Cut, Away::Lost)] away: Away,
) {
    let mut bed = bed(json!({"max_task_per_worker": 1, "task_prefetch": 0, "worker_dead_after_seconds": 60}));
    let (steps, load) = (Steps::new(&bed), Load::new(&bed, 3));
    let proxy = Proxy::start(&bed.redis.socket());
    bed.add(&load.lines);
    let kept = bed.redis.log_length();
    let checker = watch(&bed, &load.lines);
    steps.arm(step);
    let mut worker = steps.worker(&bed, "w", json!({"redis_url": proxy.url()}));
    wait_at(&worker, step);
    let lost = || holds_for(worker.log().contains("lost Redis"), worker.log());
    match away {
        Away::Killed | Away::Restarted => {
            if away == Away::Killed {
                bed.redis.kill9();
            } else {
                bed.redis.stop();
            }
            wait_until("the loss", SOON, lost);
            steps.release(step);
            bed.redis.start_again();
        }
        Away::Hung => {
            bed.redis.freeze();
            wait_until("the loss", SOON, lost);
            steps.release(step);
            thread::sleep(Duration::from_secs(1));
            bed.redis.thaw();
        }
        Away::Cut => {
            proxy.set(Mode::Silent);
            wait_until("the loss", Duration::from_secs(10), lost);
            steps.release(step);
            thread::sleep(Duration::from_secs(1));
            proxy.set(Mode::Pass);
        }
        Away::Lost => {
            checker.pause();
            bed.redis.kill9();
            bed.redis.cut_tail(bed.redis.log_length() - kept);
            bed.redis.start_again();
            steps.release(step);
            wait_until("it to be back", SOON, || holds_for(worker.log().contains("Redis is back"), worker.log()));
            checker.resume();
        }
    }
    bed.wait_counts(Duration::from_secs(40), [0, 0, 3, 0]);
    let times = run_times(&load.runs);
    assert_eq!((times.len(), times.values().max()), (3, Some(&1)), "each ran once: {times:?}");
    assert!(worker.is_running());
    checker.finish();
}

#[test]
fn this_build_has_what_a_release_must_not_have() {
    let program = fs::read(bin("distcomp-worker")).expect("the program");
    assert!(super::has_fail_points(&program), "else the test of the other build shows nothing");
}

#[test]
fn a_reconnect_that_fails_half_way_still_owes_the_recent_reports() {
    let mut bed = bed(json!({"max_task_per_worker": 4, "worker_dead_after_seconds": 30}));
    let (steps, load) = (Steps::new(&bed), Load::new(&bed, 4));
    let proxy = Proxy::start(&bed.redis.socket());
    bed.add(&load.lines);
    let kept = bed.redis.log_length();
    let worker = steps.worker(&bed, "w", json!({"redis_url": proxy.url()}));
    bed.wait_counts(SOON, [0, 0, 4, 0]);
    steps.arm("attached");
    bed.redis.kill9();
    bed.redis.cut_tail(bed.redis.log_length() - kept);
    bed.redis.start_again();
    assert_eq!(bed.count("finished_tasks"), 0, "the data is lost: else this shows nothing");
    wait_at(&worker, "attached");
    // It knows that the server is another one, and the connection breaks before it has sent anything again.
    proxy.set(Mode::Reset);
    steps.release("attached");
    wait_until("the second attempt", SOON, || holds_for(worker.log().contains("failed to reconnect"), worker.log()));
    proxy.set(Mode::Pass);
    bed.wait_counts(SOON, [0, 0, 4, 0]);
    assert_eq!(run_times(&load.runs).values().max(), Some(&1), "sent again, not run again");
}

#[test]
fn a_start_whose_heartbeat_was_lost_is_told_again() {
    let bed = bed(json!({"worker_dead_after_seconds": 60, "max_task_per_worker": 1, "task_prefetch": 0}));
    let steps = Steps::new(&bed);
    let proxy = Proxy::start(&bed.redis.socket());
    let mark = unique_sleep();
    let line = format!("shell:0:0:1:sleep {mark}");
    let worker = steps.worker(&bed, "w", json!({"redis_url": proxy.url(), "health_report_interval": 1}));
    bed.wait_alive("w");
    steps.arm("beating");
    wait_at(&worker, "beating");
    // It starts while a heartbeat is held that does not name it; the next one does, and does not arrive.
    bed.add([&line]);
    super::wait_there(&mark, 1);
    steps.release("beating");
    wait_until("it to go on", SOON, || holds_for(worker.log().contains("past step beating"), worker.log()));
    steps.arm("beating");
    wait_until("the next heartbeat", SOON, || {
        holds_for(worker.log().matches("at step beating").count() >= 2, worker.log())
    });
    proxy.set(Mode::Reset);
    steps.release("beating");
    wait_until("the loss", SOON, || holds_for(worker.log().contains("lost Redis"), worker.log()));
    let started =
        || bed.table("distcomp:claims:w").get(&line).and_then(|claim| claim.split('|').nth(2).map(str::to_owned));
    assert_ne!(started().as_deref(), Some("1"), "nobody has told yet: else this shows nothing");
    proxy.set(Mode::Pass);
    wait_until("the start to be told", SOON, || {
        holds_for(started().as_deref() == Some("1"), format!("{:?}", started()))
    });
}

#[test]
fn one_that_has_attached_and_not_yet_beaten_is_not_dead() {
    let bed = bed(json!({"worker_dead_after_seconds": 4}));
    let steps = Steps::new(&bed);
    let judge = bed.worker("judge");
    bed.wait_alive("judge");
    // The judge has watched for a whole lease by then, and believes what it sees.
    thread::sleep(Duration::from_secs(5));
    steps.arm("beating");
    let fresh = steps.worker(&bed, "fresh", json!({}));
    wait_at(&fresh, "beating");
    let attached = Instant::now();
    stays("it is not declared dead", Duration::from_millis(2500), || {
        holds_for(!judge.log().contains("took over"), judge.log())
    });
    if attached.elapsed() > Duration::from_secs(4) {
        eprintln!("this machine was too busy: nothing is shown");
        return;
    }
    steps.release("beating");
    bed.add(["shell:0:0:1:echo fine"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(!fresh.log().contains("lost Redis"), "{}", fresh.log());
}

#[test]
fn one_that_comes_back_while_it_is_taken_over_loses_only_what_was_taken() {
    // Judged dead; before its first line moves it is back and beats: then it is alive, whatever was judged.
    let bed = bed(json!({"worker_dead_after_seconds": 2, "max_task_per_worker": 2}));
    let (steps, mark, gate) = (Steps::new(&bed), unique_sleep(), bed.out("gate"));
    let line = format!("shell:0:0:1:until test -e {gate}; do sleep 0.1; done; : {mark}");
    bed.add([&line]);
    let sleeper = bed.worker("sleeper");
    super::wait_there(&mark, 1);
    let checker = watch(&bed, std::slice::from_ref(&line));
    steps.arm("reclaiming");
    let judge = steps.worker(&bed, "judge", json!({}));
    bed.wait_alive("judge");
    sleeper.signal(Signal::SIGSTOP);
    wait_at(&judge, "reclaiming");
    sleeper.signal(Signal::SIGCONT);
    let beat = || bed.table("worker_status").get("sleeper").and_then(|row| row.split(':').next().map(str::to_owned));
    let old = beat();
    wait_until("it to beat", SOON, || holds_for(beat() != old, format!("{old:?}")));
    steps.release("reclaiming");
    stays("it keeps its task", Duration::from_secs(2), || {
        let rows = bed.table("in_progress_tasks");
        holds_for(rows.get(&line).map(String::as_str) == Some("sleeper"), format!("{rows:?}"))
    });
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(!sleeper.log().contains("no longer ours"), "{}", sleeper.log());
    checker.finish();
}

#[test]
fn a_judge_that_dies_half_way_leaves_the_rest_to_the_next() {
    for step in ["reclaiming", "reclaimed"] {
        let bed = bed(json!({"max_task_per_worker": 4}));
        let (steps, load) = (Steps::new(&bed), Load::new(&bed, 4));
        bed.add(&load.lines);
        let mut dead = steps.worker(&bed, "dead", json!({}));
        steps.arm("ended");
        wait_at(&dead, "ended");
        let checker = watch(&bed, &load.lines);
        steps.arm(step);
        let mut judge = steps.worker(&bed, "judge", json!({"max_task_per_worker": 1}));
        bed.wait_alive("judge");
        dead.kill9();
        wait_at(&judge, step);
        judge.kill9();
        let _next = bed.worker("next");
        bed.wait_counts(SOON, [0, 0, 4, 0]);
        wait_until("both to be buried", SOON, || {
            let owners = bed.table("distcomp:owner");
            holds_for(owners.len() == 1, format!("{owners:?}"))
        });
        checker.finish();
    }
}

#[test]
fn killed_while_it_takes_up_its_past_it_takes_it_up_the_next_time() {
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
