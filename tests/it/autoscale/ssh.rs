//! Workers by ssh: one on each host of the file where none lives, and never more. A stand-in for `ssh` runs the session on this machine.
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::{WHILE, add_tasks, end, record};
use crate::support::{Bed, holds_for, wait_until};

#[test]
fn hosts_get_a_worker_each_and_drained_ones_none() {
    let bed = Bed::with(json!({"max_task_per_worker": 1}));
    // It notes where it was to go, and what the session reads runs here.
    let ssh = bed.file("ssh", format!("#!/bin/sh\necho \"$@\" >>{}\nexec sh\n", bed.out("sessions")));
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("chmod");
    let hosts = bed.file("hosts", "node1\nann@node2:2222  # the other\nnode3\n");
    // An operator drained it before it was switched off.
    bed.hset("distcomp:drain", "node3", "1700000000");
    let dir = bed.path().display().to_string();
    let program = std::path::Path::new(crate::support::bin("distcomp-worker"));
    std::os::unix::fs::symlink(program, bed.path().join("distcomp-worker")).expect("a link");
    add_tasks(&bed, 12, "sleep 0.3");
    let flags = ["autoscale", "ssh", "--hosts", &hosts, "--ssh", &ssh, "--dir", &dir, "--interval", "1s"];
    let shape = ["--idle-timeout", "2s", "--cpus", "1", "--mem", "0.1", "--backlog", "5", "--slots", "1"];
    let scaler = bed.cli("distcomp-ctl").args(flags).args(shape).limit(WHILE * 3).start();
    let mut seen = std::collections::BTreeSet::new();
    wait_until("all tasks to finish, and all workers to leave", WHILE, || {
        seen.extend(bed.table("distcomp:workers").into_keys());
        let is_over = bed.count("finished_tasks") == 12 && bed.count("distcomp:workers") == 0;
        holds_for(is_over && record(&bed, "ssh")["workers"] == 0, format!("{:?} {}", bed.counts(), record(&bed, "ssh")))
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["node1", "node2"], "node3 is drained");
    let sessions = crate::support::read(bed.out("sessions"));
    assert!(sessions.contains("-p 2222 ann@node2 sh") && !sessions.contains("node3"), "{sessions}");
    assert_eq!(record(&bed, "ssh")["failures"], 0);
    end(scaler, 0);
}
