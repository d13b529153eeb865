//! How a task runs: its output, its environment, its standard input, and what it leaves behind.
use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Bed, Redis, SOON, ServerOptions, read, reason_of, result_of, task_id, unique_sleep, wait_until, with_argv,
};

/// Runs one line on worker `w` and returns its output.
#[track_caller]
fn output_of(bed: &Bed, line: &str) -> String {
    bed.add([line]);
    bed.burst("w");
    result_of(&bed.table("finished_tasks"), line).1
}

#[test]
fn output_that_is_not_utf8_does_not_fail_a_task() {
    let bed = Bed::new();
    assert_eq!(output_of(&bed, r"shell:0:0:1:printf 'a\377b\000c'"), "a\u{fffd}b\0c");
}

#[test]
fn five_megabytes_of_output_are_a_file_named_in_the_record() {
    let bed = Bed::new();
    let line = "shell:0:0:1:echo BEGIN; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo END";
    let output = output_of(&bed, line);
    assert!(output.starts_with("BEGIN") && output.ends_with("END"), "head and tail are kept");
    assert!(output.len() <= 1024 * 1024 + 4096, "{} bytes in Redis", output.len());
    let mut files = Vec::new();
    for entry in fs::read_dir(bed.out("results")).expect("result_dir") {
        files.push(entry.expect("an entry").path());
    }
    assert_eq!(files.len(), 1, "{files:?}");
    let path = &files[0];
    assert_eq!(fs::metadata(path).expect("the file").len(), 5_000_000 + 6 + 5);
    let id = task_id(line);
    assert!(path.display().to_string().contains(&id), "{} has no {id}", path.display());
    assert!(output.contains(&format!(":{}", path.display())), "HOST:PATH is between head and tail");
}

#[test]
fn output_up_to_the_limit_stays_in_redis_and_no_file_is_written() {
    let bed = Bed::with(json!({"max_inline_output_bytes": 2000}));
    assert_eq!(output_of(&bed, "shell:0:0:1:head -c 2000 /dev/zero | tr '\\0' y"), "y".repeat(2000));
    let files = fs::read_dir(bed.out("results")).map_or(0, Iterator::count);
    assert_eq!(files, 0);
    let long = output_of(&bed, "shell:0:0:1:head -c 6000 /dev/zero | tr '\\0' z");
    assert!(long.contains(&bed.out("results")), "{long}");
}

#[test]
fn a_task_is_told_who_and_where_it_is() {
    let bed = Bed::new();
    let line =
        "shell:0.5:0.25:1:echo $DISTCOMP_TASK_ID $DISTCOMP_ATTEMPT $DISTCOMP_WORKER $DISTCOMP_CPUS $DISTCOMP_MEM_GB";
    let output = output_of(&bed, line);
    let words: Vec<_> = output.split(' ').collect();
    assert_eq!(words[..3], [task_id(line).as_str(), "1", "w"], "{output}");
    let figures: Vec<f64> = words[3..].iter().map(|word| word.parse().expect("a number")).collect();
    assert_eq!(figures, [0.25, 0.5], "{output}");
}

#[test]
fn attempts_count_from_one() {
    let bed = Bed::with(json!({"max_retry_per_task": 3}));
    let out = bed.out("attempts");
    bed.add([format!("shell:0:0:1:echo $DISTCOMP_ATTEMPT >> {out}; exit 1")]);
    bed.burst("w");
    assert_eq!(read(&out), "1\n2\n3\n");
}

#[test]
fn no_secret_of_ours_is_in_a_tasks_environment() {
    let redis = Redis::start(ServerOptions { tcp: true, password: Some("s3cret-of-ours"), ..Default::default() });
    let port = redis.port();
    let mut bed = Bed::on(
        redis,
        json!({"redis_url": null, "redis_port": port, "redis_host": "127.0.0.1", "redis_pass": "s3cret-of-ours"}),
    );
    assert!(!output_of(&bed, "shell:0:0:1:env").contains("s3cret"));
    bed.configure(json!({"redis_pass": null}));
    let url = format!("redis://:s3cret-of-ours@127.0.0.1:{port}");
    let line = "shell:0:0:1:env # by url";
    bed.cli("distcomp-submit").args(["-"]).env("DISTCOMP_REDIS_URL", &url).stdin(line).run().expect(0);
    bed.cli("distcomp-worker").args(["--name", "w", "--burst"]).env("DISTCOMP_REDIS_URL", &url).run().expect(0);
    let output = result_of(&bed.table("finished_tasks"), line).1;
    assert!(output.contains("PATH=") && !output.contains("s3cret") && !output.contains("DISTCOMP_REDIS"), "{output}");
}

#[test]
fn standard_input_is_dev_null_and_the_directory_is_the_workers() {
    let bed = Bed::new();
    let output = output_of(&bed, "shell:0:0:1:cat; readlink /proc/self/fd/0; pwd");
    assert_eq!(output, format!("/dev/null\n{}", bed.out("cwd")));
}

#[test]
fn a_task_starts_with_default_signals_and_no_open_files_of_ours() {
    let bed = Bed::new();
    let output = output_of(&bed, "shell:0:0:1:grep -E 'SigBlk|SigIgn' /proc/self/status; ls /proc/self/fd");
    let field = |name: &str| {
        let line = output.lines().find(|line| line.starts_with(name)).expect("the field");
        u64::from_str_radix(line.split_whitespace().nth(1).expect("a value"), 16).expect("hexadecimal")
    };
    assert_eq!(field("SigBlk:"), 0, "{output}");
    assert_eq!(field("SigIgn:"), 0, "{output}");
    let files: Vec<_> = output.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert_eq!(files, ["0", "1", "2", "3"], "3 is the directory that ls reads");
}

#[test]
fn a_task_ignores_no_signal_that_its_worker_was_told_to() {
    let bed = Bed::new();
    let line = "shell:0:0:1:grep -E 'Sig(Ign|Blk):' /proc/self/status";
    bed.add([line]);
    // Past the C library, which keeps two of them to itself. A structure of zeros but for SIG_IGN, and all of them blocked.
    let ignoring = "import ctypes, os, platform, sys
call = ctypes.CDLL(None).syscall
action, mask = {'x86_64': (13, 14), 'aarch64': (134, 135)}[platform.machine()]
ignore, every = (ctypes.c_uint64 * 4)(1), (ctypes.c_uint64 * 1)(2**64 - 1)
for number in range(1, 65): call(action, number, ignore, None, 8)
call(mask, 2, every, None, 8)
os.execv(sys.argv[1], sys.argv[1:])";
    let mut worker = bed.worker_through(&["python3", "-c", ignoring], "w", json!({}), &[]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    let output = result_of(&bed.table("finished_tasks"), line).1;
    assert_eq!(output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000");
    // It cannot be told to end.
    worker.kill9_with_keepers();
}

#[test]
fn a_child_left_behind_does_not_hold_the_slot_and_is_killed() {
    let bed = Bed::with(json!({"max_task_per_worker": 1}));
    let (one, two) = (unique_sleep(), unique_sleep());
    let line = format!("shell:0:0:1:sleep {one} & (setsid sleep {two} &); echo done");
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    bed.add([line.as_str(), "shell:0:0:0:echo next"]);
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    assert_eq!(result_of(&bed.table("finished_tasks"), &line).1, "done");
    wait_until("what it left behind to be killed", Duration::from_secs(2), || {
        let mut left = with_argv(&one);
        left.extend(with_argv(&two));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn python_and_demo_tasks_run_without_a_shell() {
    let bed = Bed::new();
    assert_eq!(output_of(&bed, "python:0:0:1:import os; print('a:b', os.getppid() > 0, '$HOME')"), "a:b True $HOME");
    assert_eq!(
        output_of(&bed, "demo:0:0:1:cp host:a b; echo $HOME > /nowhere"),
        "demo cp host:a b; echo $HOME > /nowhere"
    );
}

#[test]
fn fifth_field_of_digits_is_a_timeout() {
    let bed = Bed::new();
    assert_eq!(output_of(&bed, "demo:0:0:1:8080:x"), "demo x");
    assert_eq!(output_of(&bed, "demo:0:0:1:8080x:y"), "demo 8080x:y");
}

#[test]
fn python_errors_are_failures_with_their_last_words() {
    let bed = Bed::new();
    let line = "python:0:0:1:raise ValueError('bad trace')";
    bed.add([line]);
    bed.burst("w");
    let reason = reason_of(&bed, line);
    assert!(reason.starts_with("exit 1: ") && reason.contains("ValueError: bad trace"), "{reason}");
}

#[test]
fn another_shell_may_be_configured() {
    let bed = Bed::with(json!({"task_shell": "/bin/bash"}));
    assert_eq!(output_of(&bed, "shell:0:0:1:[[ abc == a* ]] && echo bash"), "bash");
}

#[test]
fn running_tasks_never_exceed_the_configured_number() {
    let bed = Bed::with(json!({"max_task_per_worker": 3, "task_prefetch": 0}));
    let _worker = bed.worker("w");
    let gate = bed.out("gate");
    bed.add((0..6).map(|at| format!("shell:0:0:1:until test -e {gate}; do sleep 0.05; done; sleep 0.{}", 70 + at)));
    let mut most = 0;
    wait_until("three to run", SOON, || {
        most = bed.count("in_progress_tasks");
        if most >= 3 { Ok(()) } else { Err(most) }
    });
    bed.file("gate", "");
    wait_until("all six to finish", SOON, || {
        most = most.max(bed.count("in_progress_tasks"));
        let seen = bed.counts();
        if seen == [0, 0, 6, 0] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(most, 3);
}
