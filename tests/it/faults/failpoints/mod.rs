//! A worker that is held at a step, so that a fault hits it there and nowhere else. Only with the cargo feature `failpoints`:
//! `cargo nextest run --features failpoints -E 'test(/^faults::failpoints::/)'`, as `tests/run.sh` does.
mod gates;
mod heartbeats;
mod layouts;
mod server_gone;
mod worker_gone;

use std::fs;
use std::path::PathBuf;

use crate::support::{Bed, SOON, UniqueSleep, Worker, bin, holds_for, lines_of, unique_sleep, wait_until};

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
    mark: UniqueSleep,
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

#[test]
fn this_build_has_what_a_release_must_not_have() {
    let program = fs::read(bin("distcomp-worker")).expect("the program");
    assert!(super::has_fail_points(&program), "else the test of the other build shows nothing");
}
