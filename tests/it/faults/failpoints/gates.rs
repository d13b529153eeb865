//! Every step of the last task of a batch × what can hit its worker or the server: what waits for the batch starts once, and never before all of it has ended.
use std::fs;

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::json;

use super::{Steps, wait_at};
use crate::faults::bed;
use crate::support::{Bed, SOON, holds_for, lines_of, wait_until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// SIGKILL, and the same worker again.
    KilledAndBack,
    /// SIGKILL, and another worker.
    KilledForGood,
    /// SIGSTOP until another worker has all of it, and SIGCONT.
    StoppedPastLease,
    /// The server is killed and comes back with its file.
    ServerRestarted,
}

/// Three tasks, and one that waits for them and says whether it came too early.
fn submit(bed: &Bed, seen: &str, early: &str) {
    let upstream = bed.file(
        "up.tasks",
        (1..=3).map(|at| format!("shell:0:0:1:sleep 0.2; echo {at} >> {seen}\n")).collect::<String>(),
    );
    let after =
        format!("shell:0:0:9:[ $(sort -u {seen} | wc -l) = 3 ] || echo early >> {early}; echo down >> {seen}.down\n");
    let downstream = bed.file("down.tasks", after);
    bed.cli("distcomp-submit").args(["--name", "down", "--after", "up", &downstream]).run().expect(0);
    bed.cli("distcomp-submit").args(["--name", "up", &upstream]).run().expect(0);
}

#[rstest]
fn no_gate_opens_early_whatever_hits_the_last_settlement(
    #[values("claimed", "spawned", "ended", "spooled", "settled", "reported")] step: &str,
    #[values(Fault::KilledAndBack, Fault::KilledForGood, Fault::StoppedPastLease, Fault::ServerRestarted)] fault: Fault,
) {
    let mut bed = bed(json!({"max_task_per_worker": 1, "task_prefetch": 0, "worker_dead_after_seconds": 1}));
    let (seen, early) = (bed.out("seen"), bed.out("early"));
    submit(&bed, &seen, &early);
    let steps = Steps::new(&bed);
    let mut first = steps.worker(&bed, "first", json!({}));
    wait_until("two of three to have ended", SOON, || {
        holds_for(lines_of(&seen).len() >= 2, format!("{:?}", lines_of(&seen)))
    });
    steps.arm(step);
    wait_at(&first, step);
    let mut others = Vec::new();
    match fault {
        Fault::KilledAndBack | Fault::KilledForGood => {
            first.kill9();
            steps.release(step);
            others.push(bed.worker(if fault == Fault::KilledAndBack { "first" } else { "second" }));
        }
        Fault::StoppedPastLease => {
            first.signal(Signal::SIGSTOP);
            others.push(bed.worker("second"));
            bed.wait_counts(SOON, [0, 0, 4, 0]);
            steps.release(step);
            first.signal(Signal::SIGCONT);
        }
        Fault::ServerRestarted => {
            bed.redis.kill9();
            wait_until("the loss", SOON, || holds_for(first.log().contains("lost Redis"), first.log()));
            steps.release(step);
            bed.redis.start_again();
            others.push(bed.worker("second"));
        }
    }
    bed.wait_counts(SOON, [0, 0, 4, 0]);
    assert_eq!(fs::read_to_string(&early).unwrap_or_default(), "", "it started before its gate");
    let down = format!("{seen}.down");
    assert!(!lines_of(down).is_empty());
    let counters = bed.table("distcomp:batch:n");
    for (name, open, failed) in [("up", "0", "0"), ("down", "0", "0")] {
        let of = |suffix: &str| counters.get(&format!("{name}{suffix}")).map_or("0", String::as_str);
        assert_eq!((of(""), of("!")), (open, failed), "{name}: {counters:?}");
    }
    drop(first);
    drop(others);
}
