//! Files on a server that does not answer: whoever opens one waits, and the worker goes on beating and running tasks.
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::support::{Bed, SOON, Worker, bin, holds_for, wait_until};

const BOUND: Duration = Duration::from_secs(40);

/// Holds whoever opens a file while it lives.
struct Held(Child);

impl Held {
    fn open_of(file: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/hold_open.py");
        let mut child = Command::new("python3").arg(script).arg(file).stdout(Stdio::piped()).spawn().expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "held");
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Threads of a worker with this name.
fn threads(worker: &Worker, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", worker.pid())).into_iter().flatten().flatten();
    tasks.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)).count()
}

/// Heartbeats go on, tasks run, and one thread at most waits for the files.
#[track_caller]
fn lives_on(bed: &Bed, worker: &mut Worker, round: usize) {
    wait_until("the hang to be seen", BOUND, || {
        let log = worker.log();
        holds_for(log.contains("the file system does not answer"), log)
    });
    let seconds = |bed: &Bed| -> u64 {
        let status = bed.table("worker_status").remove("w").unwrap_or_default();
        status.split(':').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
    };
    let before = seconds(bed);
    bed.add([format!("shell:0:0:1:echo {round}")]);
    bed.wait_counts(SOON, [0, 0, round, 0]);
    wait_until("a heartbeat", SOON, || holds_for(seconds(bed) > before, seconds(bed)));
    assert!(threads(worker, "files") <= 1, "threads pile up");
}

#[test]
fn a_conf_json_that_hangs_stops_no_worker() {
    let bed = Bed::new();
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    let held = Held::open_of(&bed.path().join("worker-w/conf.json"));
    lives_on(&bed, &mut worker, 1);
    for _ in 0..3 {
        worker.signal(Signal::SIGHUP);
    }
    lives_on(&bed, &mut worker, 2);
    let times = worker.log().matches("the file system does not answer").count();
    assert!(times <= 3, "{times} times\n{}", worker.log());
    drop(held);
    wait_until("it to be over", BOUND, || {
        holds_for(worker.log().contains("the file system answers again"), worker.log())
    });
    worker.reconfigure(&json!({"max_task_per_worker": 3}));
    wait_until("the change", BOUND, || holds_for(worker.log().contains("configuration changed"), worker.log()));
}

#[test]
fn a_password_file_that_hangs_stops_no_worker() {
    let bed = Bed::new();
    let secret = bed.file("secret", "");
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    // Opened to be read, a pipe without a writer waits for one.
    fs::remove_file(&secret).expect("a file");
    mkfifo(Path::new(&secret), Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe");
    worker.reconfigure(&json!({"redis_pass_file": secret, "redis_pass": null}));
    lives_on(&bed, &mut worker, 1);
}

#[test]
fn a_log_that_nobody_reads_stops_no_worker() {
    let bed = Bed::new();
    let mut command = Command::new(bin("distcomp-worker"));
    command
        .args(["--name", "w", "--config"])
        .arg(bed.conf_path())
        .current_dir(bed.path())
        .env("XDG_STATE_HOME", bed.path().join("state-home"))
        .env("RUST_LOG", "debug")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut worker = command.spawn().expect("a worker");
    bed.wait_alive("w");
    // Each says two lines at its start and end, with the line itself in one of them; a pipe takes 64 KiB.
    let padding = "x".repeat(2000);
    bed.add((0..200).map(|n| format!("shell:0:0:1:true {n} {padding}")));
    bed.wait_counts(Duration::from_secs(60), [0, 0, 200, 0]);
    let _ = worker.kill();
    let _ = worker.wait();
}
