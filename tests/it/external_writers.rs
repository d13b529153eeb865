//! A Python manager or a person with `redis-cli` writes to the hashes behind our back: nothing breaks or starves.
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Bed, Dashboard, SOON, Table, decode, holds_for, result_of, run_times, stays, unique_sleep, wait_until,
};

#[test]
fn three_hundred_added_and_a_hundred_removed_behind_our_back() {
    let bed = Bed::new();
    let out = bed.out("runs");
    let line = |at: usize| format!("shell:0:0:{}:echo {at} >> {out}", at % 5);
    bed.add((0..200).map(line));
    bed.hset_all("todo_tasks", (200..500).map(line));
    for at in (0..200).step_by(2) {
        assert!(bed.hdel("todo_tasks", line(at)));
    }
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 400, 0]);
    let wanted: BTreeMap<_, _> =
        (0..500).filter(|at| *at >= 200 || at % 2 == 1).map(|at: usize| (at.to_string(), 1)).collect();
    assert_eq!(run_times(&out), wanted, "each that is left runs once, each that was removed never");
}

#[test]
fn foreign_writes_while_a_worker_runs_are_seen() {
    let bed = Bed::with(json!({"max_task_per_worker": 4}));
    let out = bed.out("runs");
    let line = |at: usize| format!("shell:0:0:1:sleep 0.01; echo {at} >> {out}");
    let _worker = bed.worker("w");
    bed.add((0..200).map(line));
    bed.hset_all("todo_tasks", (200..500).map(line));
    let removed = (100..200).filter(|at| bed.hdel("todo_tasks", line(*at))).count();
    bed.wait_counts(Duration::from_secs(60), [0, 0, 500 - removed, 0]);
    assert!(run_times(&out).values().all(|times| *times == 1));
}

#[test]
fn one_foreign_task_is_found_by_an_idle_worker() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    bed.hset("todo_tasks", "shell:0:0:1:echo hello", "");
    bed.wait_counts(Duration::from_secs(15), [0, 0, 1, 0]);
}

#[test]
fn simultaneous_add_and_remove_do_not_hide_each_other() {
    let bed = Bed::new();
    let (removed, added) = ("shell:0:0:1:echo removed", "shell:0:0:1:echo added");
    bed.add([removed]);
    let mut pipe = ::redis::pipe();
    pipe.atomic().cmd("HDEL").arg("todo_tasks").arg(removed).ignore();
    pipe.cmd("HSET").arg("todo_tasks").arg(added).arg("").ignore();
    pipe.exec(&mut bed.redis.con()).expect("the exchange");
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(bed.table("finished_tasks").contains_key(added));
}

#[test]
fn lines_nobody_can_parse_fail_with_a_reason_and_stop_no_worker() {
    let bed = Bed::with(json!({"max_retry_per_task": 3}));
    let garbage = [
        "",
        "garbage",
        ":",
        "::::",
        "shell:1:1",
        "a:b:c:d:e",
        "shell:-1:1:1:true",
        "shell:1:1:70000:true",
        "shell:1:1:99999999999999999999:true",
        "ruby:1:1:1:puts 1",
        "shell:1:1:1:",
        "WORKER_COMMAND_OPEN",
        "shell:1:1:1:echo a\0b",
        "\x1b]0;title\x07",
    ];
    let mut worker = bed.worker("w");
    bed.hset_all("todo_tasks", garbage);
    bed.hset("todo_tasks", format!("shell:0:0:1:{}", "x".repeat(200_000)), "");
    bed.hset_all("todo_tasks", (0..50).map(|at| format!("shell:0:0:1:echo {at}")));
    bed.wait_counts(Duration::from_secs(30), [0, 0, 50, garbage.len() + 1]);
    let (failed, reasons) = (bed.table("failed_tasks"), bed.table("task_fail_reason"));
    for line in garbage {
        assert!(failed.contains_key(line), "{line:?} is not in failed_tasks");
        let reason = reasons.get(line).unwrap_or_else(|| panic!("no reason for {line:?}"));
        assert!(!decode(reason).is_empty());
    }
    assert!(worker.is_running(), "{}", worker.log());
}

#[test]
fn lines_that_are_not_utf8_are_quarantined_and_shown() {
    let bed = Bed::new();
    let mut worker = bed.worker("w");
    bed.hset("todo_tasks", b"shell:0:0:1:echo \xff\xfe", "");
    bed.hset("todo_tasks", "shell:0:0:1:echo good", "");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    wait_until("the line in distcomp:quarantine", SOON, || {
        let seen = bed.count("distcomp:quarantine");
        if seen == 1 { Ok(()) } else { Err(seen) }
    });
    assert_eq!(bed.count("task_fail_reason"), 0);
    assert!(worker.is_running());
    let output = bed.status(&[]).expect(0);
    assert!(output.stdout.contains("1 ") && output.stdout.contains("UTF-8"), "{output}");
}

#[test]
fn the_stop_command_ends_every_worker_after_what_it_runs() {
    let bed = Bed::with(json!({"max_task_per_worker": 1, "task_prefetch": 0}));
    let gate = bed.out("gate");
    bed.add(["a", "b"].map(|name| format!("shell:0:0:9:until test -e {gate}; do sleep 0.05; done; echo {name}")));
    let (mut one, mut two) = (bed.worker("one"), bed.worker("two"));
    bed.wait_counts(SOON, [0, 2, 0, 0]);
    bed.add((0..5).map(|at| format!("shell:0:0:1:echo {at}")));
    bed.hset("todo_tasks", "WORKER_COMMAND_CLOSE", "");
    bed.file("gate", "");
    assert_eq!((one.wait_exit(SOON), two.wait_exit(SOON)), (0, 0));
    assert_eq!(bed.counts(), [6, 0, 2, 0], "five tasks wait, and the command stays for other workers");
    bed.status(&[]).expect(0).prints_line("5 todo tasks, 0 in_progress tasks, 2 finished tasks, 0 failed tasks");
}

#[test]
fn the_index_may_be_deleted_at_any_time() {
    let bed = Bed::with(json!({"max_task_per_worker": 4}));
    let out = bed.out("runs");
    let _worker = bed.worker("w");
    bed.add((0..600).map(|at| format!("shell:0:0:{}:sleep 0.005; echo {at} >> {out}", at % 7)));
    for done in [50, 200, 400] {
        wait_until("some tasks to be done", SOON, || {
            let seen = bed.count("finished_tasks");
            if seen >= done { Ok(()) } else { Err(seen) }
        });
        for key in bed.keys().into_iter().filter(|key| key.starts_with("distcomp:ready:")) {
            ::redis::cmd("DEL").arg(key).exec(&mut bed.redis.con()).expect("DEL");
        }
    }
    bed.wait_counts(Duration::from_secs(60), [0, 0, 600, 0]);
    let runs = run_times(&out);
    assert!(runs.len() == 600 && runs.values().all(|times| *times == 1), "each ran once");
}

#[test]
fn running_task_put_back_in_todo_by_others_ends_in_one_place() {
    let bed = Bed::new();
    let line = "shell:0:0:1:sleep 1; echo done";
    let _worker = bed.worker("w");
    bed.add([line]);
    bed.wait_running(line);
    // As the Python manager's moveInProgressTaskToTodo does it.
    bed.hdel("in_progress_tasks", line);
    bed.hset("todo_tasks", line, "");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
}

#[test]
fn a_waiting_task_that_is_finished_already_is_not_run_again() {
    let bed = Bed::new();
    let out = bed.out("runs");
    let line = format!("shell:0:0:1:echo ran >> {out}");
    bed.hset("finished_tasks", &line, "other: \"\"");
    bed.hset("todo_tasks", &line, "");
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
    assert!(run_times(&out).is_empty());
}

#[test]
fn a_removed_task_is_not_brought_back() {
    let bed = Bed::with(json!({"max_task_per_worker": 1, "task_prefetch": 0}));
    let gate = bed.out("gate");
    let first = format!("shell:0:0:9:until test -e {gate}; do sleep 0.05; done");
    bed.add([first.as_str(), "shell:0:0:1:removed"]);
    let _worker = bed.worker("w");
    bed.wait_running(&first);
    assert!(bed.hdel("todo_tasks", "shell:0:0:1:removed"));
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    stays("the removed task is nowhere", Duration::from_secs(1), || {
        let seen = bed.counts();
        if seen == [0, 0, 1, 0] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(bed.table("failed_tasks"), Table::new());
}

/// Hashes that anybody who may write results, or a Python worker with an odd host name, can put bytes into.
const HASHES: [&str; 26] = [
    "worker_status",
    "in_progress_tasks",
    "finished_tasks",
    "failed_tasks",
    "task_fail_reason",
    "distcomp:owner",
    "distcomp:workers",
    "distcomp:load",
    "distcomp:capacity",
    "distcomp:died",
    "distcomp:drain",
    "distcomp:lost",
    "distcomp:apart",
    "distcomp:apart:by",
    "distcomp:attempts",
    "distcomp:evidence",
    "distcomp:grown",
    "distcomp:learnt",
    "distcomp:tally",
    "distcomp:rate",
    "distcomp:failures:groups",
    "distcomp:failures:samples",
    "distcomp:failures:kinds",
    "distcomp:failures:retrying",
    "distcomp:signatures",
    "distcomp:quarantine",
];

#[test]
fn bytes_that_are_no_text_anywhere_blind_no_view() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    bed.add(["shell:0:0:1:exit 3", "shell:0:0:1:echo fine"]);
    bed.burst("w");
    let known: std::collections::BTreeSet<String> = bed.keys().into_iter().collect();
    let named = ["distcomp:tally", "distcomp:failures:groups", "distcomp:owner"].map(|key| known.contains(key));
    assert!(named.contains(&true), "the names above are those of this build: {known:?}");
    for key in HASHES {
        bed.hset(key, b"w\xff\xfe", b"1:\xff");
        bed.hset(key, "odd", b"\xc3(:1.0");
    }
    let site = Dashboard::start(&bed);
    for args in [
        &[][..],
        &["--json"],
        &["workers"],
        &["learnt"],
        &["explain"],
        &["failures"],
        &["failures", "--all"],
        &["export"],
    ] {
        bed.status(args).expect(0);
    }
    let overview = bed.status(&["--json"]).expect(0).json();
    assert!(overview["totals"]["finished"] == 1 && overview["failures"].to_string().contains("exit 3"), "{overview}");
    wait_until("a fresh page", SOON, || {
        let page = site.get("/metrics", &[]).body;
        holds_for(page.contains("\ndistcomp_redis_up 1.0\n"), page)
    });
}

#[test]
fn task_of_a_dead_worker_returns_despite_a_broken_heartbeat() {
    let bed = Bed::with(json!({"health_report_interval": 0.2, "worker_dead_after_seconds": 1}));
    bed.hset("worker_status", b"knoten-\xfc", b"1:\xff:8.00:1.00:16.00");
    bed.hset("distcomp:owner", b"\xff", b"\xff:1");
    let (mark, gate) = (unique_sleep(), bed.out("gate"));
    let line = format!("shell:0:0:9:test -e {gate} || sleep {mark}; echo here");
    bed.add([&line]);
    let mut dead = bed.worker("dead");
    bed.wait_running(&line);
    let _alive = bed.worker("alive");
    bed.wait_alive("alive");
    bed.file("gate", "");
    dead.kill9();
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(result_of(&bed.table("finished_tasks"), &line), ("alive".to_owned(), "here".to_owned()));
}

#[test]
fn a_task_that_failed_on_names_that_are_no_text_runs() {
    let bed = Bed::new();
    for n in 0..3 {
        let line = format!("shell:0:0:1:echo {n}");
        bed.hset("failed_tasks", &line, [&b"w\xff,"[..], b"\xfe:,", b"\xff\xff"][n]);
        bed.hset("todo_tasks", &line, "");
    }
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 3, 0]);
    bed.status(&["explain"]).expect(0);
}
