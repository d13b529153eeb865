//! Where a filter of system calls, or an old kernel, withholds what keepers stand on: a way round, or an error at the start that names the call.
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use serde_json::json;

use crate::support::{Bed, Worker, holds_for, wait_until, with_argv};

const BOUND: Duration = Duration::from_secs(60);

/// A worker that gets this error for this call, where its first argument is that one.
fn worker_without(bed: &Bed, call: libc::c_long, first: Option<i32>, errno: Errno, args: &[&str]) -> Worker {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/seccomp.py");
    let first = first.map_or_else(|| "-".to_owned(), |first| first.to_string());
    let (number, errno) = (call.to_string(), (errno as i32).to_string());
    let through = ["/usr/bin/env", "python3", script, &number, &errno, &first];
    bed.worker_through(&through, "w", json!({}), args)
}

#[test]
fn a_worker_runs_tasks_without_memfd_create() {
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        let bed = Bed::new();
        bed.add((0..20).map(|at| format!("shell:0:0:1:echo {at}")));
        // The next task kills its keeper: the result of the one before it is safe.
        bed.add(["shell:0:0:0:kill -9 $PPID"]);
        let mut worker = worker_without(&bed, libc::SYS_memfd_create, None, errno, &["--burst"]);
        assert_eq!(worker.wait_exit(BOUND), 0, "{errno}\n{}", worker.log());
        bed.wait_counts(BOUND, [0, 0, 20, 1]);
    }
}

#[test]
fn a_worker_that_can_start_no_task_names_the_call() {
    const SUBREAPER: i32 = 36;
    let table = [
        (libc::SYS_signalfd4, None, Errno::ENOSYS, "signalfd4"),
        (libc::SYS_signalfd4, None, Errno::EPERM, "signalfd4"),
        (libc::SYS_prctl, Some(SUBREAPER), Errno::EPERM, "PR_SET_CHILD_SUBREAPER"),
        (libc::SYS_pipe2, None, Errno::EPERM, "create a pipe"),
        (libc::SYS_recvmsg, None, Errno::ENOSYS, "recvmsg"),
        (libc::SYS_sendmsg, None, Errno::EPERM, "talk to a keeper"),
    ];
    for (call, first, errno, named) in table {
        let bed = Bed::new();
        bed.add(["shell:0:0:1:echo never"]);
        let mut worker = worker_without(&bed, call, first, errno, &[]);
        assert_eq!(worker.wait_exit(BOUND), 2, "{named} {errno}\n{}", worker.log());
        let log = worker.log();
        assert!(log.contains(named) && log.contains(errno.desc()), "{named} {errno}\n{log}");
        assert_eq!(bed.counts(), [1, 0, 0, 0], "nothing was claimed");
    }
}

#[test]
fn a_tree_is_killed_without_pidfd_open() {
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        let bed = Bed::new();
        let mark = bed.out("stays");
        bed.add([format!("shell:0:0:1:1:trap '' TERM; (setsid sh -c ': {mark}; sleep 600' &); sleep 600")]);
        let _worker = worker_without(&bed, libc::SYS_pidfd_open, None, errno, &[]);
        wait_until("the child that left the group", BOUND, || holds_for(!with_argv(&mark).is_empty(), "none"));
        wait_until("it to be gone", BOUND, || holds_for(with_argv(&mark).is_empty(), "it lives"));
    }
}
