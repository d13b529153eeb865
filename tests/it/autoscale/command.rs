//! Workers by commands of the user, with and without a list.
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{WHILE, add_tasks, end, record};
use crate::support::{Bed, Cli, bin, holds_for, read, wait_until};

/// Starts the worker in the background, and notes its process.
const START: &str = "echo $DISTCOMP_WORKER_NAME >>started; eval \"set -- $DISTCOMP_WORKER_FLAGS\"; \
     setsid \"$DISTCOMP_WORKER_PROGRAM\" --name \"$DISTCOMP_WORKER_NAME\" \"$@\" >\"$DISTCOMP_WORKER_NAME.log\" 2>&1 </dev/null & echo $! >\"$DISTCOMP_WORKER_NAME.pid\"";
const STOP: &str = "kill $(cat \"$DISTCOMP_WORKER_NAME.pid\")";
const LIST: &str = "for of in \"$DISTCOMP_WORKER_PREFIX\"*.pid; do [ -e \"$of\" ] || continue; \
     kill -0 $(cat \"$of\") 2>/dev/null && echo \"${of%.pid} running\" || echo \"${of%.pid} ended\"; done";

/// Ends what was started, however the test ends.
struct Started<'a>(&'a Bed);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.0.path()).expect("the directory").flatten() {
            if entry.path().extension().is_some_and(|end| end == "pid") {
                let pid = std::fs::read_to_string(entry.path()).unwrap_or_default();
                if let Ok(pid) = pid.trim().parse() {
                    // It may have ended.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
    }
}

fn scaler(bed: &Bed, flags: &[&str]) -> Cli {
    let flags = [&["autoscale", "command", "--name", "mine", "--start", START, "--stop", STOP], flags].concat();
    let common = ["--interval", "1s", "--idle-timeout", "2s", "--cpus", "1", "--mem", "0.1"];
    bed.cli("distcomp-ctl").args(flags).args(common).limit(WHILE * 3)
}

#[test]
fn commands_start_workers_with_a_list_and_without() {
    assert!(std::path::Path::new(bin("distcomp-worker")).exists());
    for list in [&["--list", LIST][..], &[]] {
        let bed = Bed::new();
        let _started = Started(&bed);
        let scaler = scaler(&bed, &[list, &["--max-workers", "2"]].concat()).start();
        add_tasks(&bed, 8, "sleep 0.3");
        wait_until("all tasks to finish", WHILE, || {
            holds_for(bed.count("finished_tasks") == 8, format!("{:?}", bed.counts()))
        });
        wait_until("all workers to end", WHILE, || {
            holds_for(bed.count("distcomp:workers") == 0 && record(&bed, "mine")["workers"] == 0, record(&bed, "mine"))
        });
        let started = read(bed.path().join("started")).lines().count();
        assert!((1..=3).contains(&started), "{started} were started for eight tasks");
        assert_eq!(record(&bed, "mine")["failures"], 0);
        end(scaler, 0);
    }
}

#[test]
fn stop_command_ends_workers_at_the_end() {
    let bed = Bed::new();
    let _started = Started(&bed);
    let go = bed.out("go");
    let scaler = scaler(&bed, &["--cancel-on-exit"]).start();
    bed.add([format!("shell:0:1:0:while [ ! -e {go} ]; do sleep 0.1; done")]);
    wait_until("it to run", WHILE, || holds_for(bed.count("in_progress_tasks") == 1, format!("{:?}", bed.counts())));
    wait_until("it to be known", WHILE, || holds_for(record(&bed, "mine")["workers"] == 1, record(&bed, "mine")));
    let said = end(scaler, 0);
    assert!(said.contains("cancelled: --cancel-on-exit"), "{said}");
    std::fs::write(&go, "").expect("a file");
    wait_until("the worker to drain", WHILE, || {
        holds_for(bed.count("distcomp:workers") == 0 && bed.count("finished_tasks") == 1, format!("{:?}", bed.counts()))
    });
}

#[test]
fn command_that_fails_is_told_in_its_words() {
    let bed = Bed::new();
    add_tasks(&bed, 1, "true");
    let flags = [
        "autoscale",
        "command",
        "--start",
        "echo no quota >&2; exit 4",
        "--stop",
        "true",
        "--interval",
        "1s",
        "--cpus",
        "1",
        "--mem",
        "1",
    ];
    let scaler = bed.cli("distcomp-ctl").args(flags).limit(WHILE).start();
    wait_until("a refusal", WHILE, || {
        holds_for(record(&bed, "command")["failures"].as_u64() > Some(0), record(&bed, "command"))
    });
    let said = end(scaler, 0);
    assert!(said.contains("command refused a start: --start ended with exit code 4: no quota"), "{said}");
}
