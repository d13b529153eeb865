//! A drain and the stop command last, also where a supervisor starts every worker again.
use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Bed, SOON, Worker, holds_for, lines_of, stays, wait_until};

/// Through a shell that starts it again whenever it exits, and notes each start.
fn looped(bed: &Bed, invocation: &str) -> Worker {
    let starts = bed.out("starts");
    let script = format!(
        "trap 'kill $child; wait; exit' TERM; while :; do echo start >> {starts}; {invocation} \"$@\" & child=$!; wait; sleep 0.2; done"
    );
    bed.worker_through(&["sh", "-c", &script, "sh"], "w", json!({}), &[])
}

/// The loop ends, and the worker that it has started.
fn end(mut worker: Worker) {
    worker.sigterm();
    worker.wait_exit(SOON);
}

fn starts(bed: &Bed) -> usize {
    lines_of(bed.out("starts")).len()
}

fn state(bed: &Bed) -> String {
    let workers = bed.status(&["workers", "--json"]).expect(0).json_lines();
    workers.iter().find(|one| one["name"] == "w").map_or_else(String::new, |one| one["state"].to_string())
}

#[track_caller]
fn wait_state(bed: &Bed, wanted: &str) {
    wait_until(wanted, SOON, || holds_for(state(bed) == format!("\"{wanted}\""), state(bed)));
}

#[track_caller]
fn takes_nothing(bed: &Bed) {
    let before = bed.counts();
    stays("nothing is taken", Duration::from_secs(2), || {
        holds_for(bed.counts() == before, format!("{:?}", bed.counts()))
    });
}

#[test]
fn supervised_worker_waits_idle_while_it_is_drained() {
    let bed = Bed::new();
    let worker = looped(&bed, "INVOCATION_ID=1");
    bed.wait_alive("w");
    bed.ctl(&["drain", "w", "--yes"]).expect(0);
    wait_state(&bed, "drained");
    bed.add(["shell:0:0:1:true"]);
    takes_nothing(&bed);
    assert_eq!(starts(&bed), 1, "it was not started again");
    let explained = bed.status(&["explain"]).expect(0).stdout;
    assert!(explained.contains("resume --worker w"), "{explained}");
    bed.ctl(&["resume", "--worker", "w", "--yes"]).expect(0);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(starts(&bed), 1);
    wait_state(&bed, "live");
    end(worker);
}

#[test]
fn drain_outlives_the_worker_and_its_restarts() {
    let bed = Bed::new();
    let out = bed.out("ran");
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    bed.ctl(&["drain", "w", "--yes"]).expect(0);
    assert_eq!(worker.wait_exit(SOON), 0, "one that was started by hand goes");
    assert_eq!(state(&bed), "\"drained\"", "also while none of that name runs");
    bed.add([format!("shell:0:0:1:echo ran >> {out}")]);
    let worker = looped(&bed, "");
    wait_until("starts", SOON, || holds_for(starts(&bed) >= 3, format!("{}", starts(&bed))));
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
    let resumed = bed.ctl(&["resume", "--worker", "w", "--worker", "other", "--yes"]).expect(0).stdout;
    assert!(resumed.contains("resumed w; neither drained nor suspect: other"), "{resumed}");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    end(worker);
}

#[test]
fn drained_worker_that_is_killed_is_drained_when_it_is_back() {
    let bed = Bed::with(json!({"worker_dead_after_seconds": 1}));
    let worker = looped(&bed, "INVOCATION_ID=1");
    let _other = bed.worker("other");
    bed.wait_alive("w");
    bed.wait_alive("other");
    bed.ctl(&["drain", "w", "other", "--yes"]).expect(0);
    wait_state(&bed, "drained");
    let owner = bed.table("distcomp:workers").remove("w").expect("its registration");
    let registration: serde_json::Value = serde_json::from_str(&owner).expect("JSON");
    let pid = registration["pid"].as_i64().expect("a process id");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL)
        .expect("killed");
    wait_until("another start", SOON, || holds_for(starts(&bed) >= 2, "not yet"));
    bed.add(["shell:0:0:1:true"]);
    wait_state(&bed, "drained");
    takes_nothing(&bed);
    end(worker);
}

#[test]
fn supervised_worker_waits_idle_while_the_queue_is_stopped() {
    let bed = Bed::new();
    let gate = bed.out("gate");
    let worker = looped(&bed, "NOTIFY_SOCKET=/nowhere");
    bed.wait_alive("w");
    let line = format!("shell:0:0:1:while ! test -e {gate}; do sleep 0.05; done");
    bed.add([&line]);
    bed.wait_running(&line);
    bed.ctl(&["stop", "--yes"]).expect(0);
    bed.file("gate", "");
    wait_until("its end", SOON, || holds_for(bed.counts()[2] == 1, format!("{:?}", bed.counts())));
    bed.add(["shell:0:0:1:true"]);
    takes_nothing(&bed);
    assert_eq!(starts(&bed), 1, "it was not started again");
    bed.ctl(&["resume", "--yes"]).expect(0);
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    assert_eq!(starts(&bed), 1);
    end(worker);
}

#[test]
fn units_limit_how_often_a_worker_is_started() {
    for unit in ["distcomp-worker.service", "distcomp-worker-hardened.service"] {
        let text =
            fs::read_to_string(format!("{}/example/systemd/{unit}", env!("CARGO_MANIFEST_DIR"))).expect("the unit");
        assert!(text.contains("\nStartLimitBurst=") && !text.contains("StartLimitIntervalSec=0\n"), "{unit}");
    }
}
