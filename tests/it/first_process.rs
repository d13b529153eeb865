//! As the first process of a container: orphans of others are waited for, and the children of our own are not lost for it. Needs root or user namespaces.
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, holds_for, reason_of, wait_until};

const BOUND: Duration = Duration::from_secs(60);

/// The children of a process, each with the letter of its state.
fn children(pid: i32) -> Vec<(i32, char)> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    let state = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.trim_start().chars().next()
    };
    found.into_iter().filter_map(|pid| Some((pid, state(pid)?))).collect()
}

#[test]
fn orphans_of_others_do_not_stay_zombies() {
    let bed = Bed::new();
    let through = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let mut worker = bed.worker_through(&through, "w", json!({}), &[]);
    bed.wait_alive("w");
    let (first, _) = children(worker.pid().as_raw())[0];
    // What `kubectl exec` does: a shell in there, which ends before what it has started.
    let script = "for i in 1 2 3 4 5; do (sleep 1 & echo $!); done";
    let enter = ["--user", "--preserve-credentials", "--pid", "--mount", "--target"];
    let output = Command::new("nsenter").args(enter).arg(first.to_string()).args(["sh", "-c", script]).output();
    let output = output.expect("nsenter");
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 5, "{output:?}");
    wait_until("five orphans to be children of the worker", BOUND, || {
        let seen = children(first);
        holds_for(seen.len() >= 6, format!("{seen:?}"))
    });
    let failing = "shell:0:0:1:(sleep 0.2 &) ; exit 7";
    bed.add([failing, "shell:0:0:1:echo well"]);
    bed.wait_counts(BOUND, [0, 0, 1, 1]);
    assert!(reason_of(&bed, failing).starts_with("exit 7"), "{}", reason_of(&bed, failing));
    wait_until("no child but its own", BOUND, || {
        let seen = children(first);
        holds_for(seen.len() == 1 && seen[0].1 != 'Z', format!("{seen:?}"))
    });
    // Another maker of keepers in place of one that was killed, while orphans are waited for.
    let (zygote, _) = children(first)[0];
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(zygote), nix::sys::signal::Signal::SIGKILL).expect("it is there");
    bed.add(["shell:0:0:1:echo again"]);
    bed.wait_counts(BOUND, [0, 0, 2, 1]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first), nix::sys::signal::Signal::SIGTERM).expect("it is there");
    assert_eq!(worker.wait_exit(BOUND), 0, "{}", worker.log());
}
