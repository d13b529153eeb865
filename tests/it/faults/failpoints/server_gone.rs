//! Every step of a task × what may become of its server.
use std::thread;
use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use super::{Load, Steps, wait_at};
use crate::faults::{bed, watch};
use crate::support::{Mode, Proxy, SOON, holds_for, run_times, wait_until};

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
fn failed_reconnect_repeats_the_recent_reports() {
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
