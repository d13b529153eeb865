//! Cancelled is a state of its own, although such tasks stand in `failed_tasks`; `--kind` selects by the group that tells them.
use serde_json::{Value, json};

use crate::support::{Bed, Dashboard, SOON, Started, Table, unique_sleep, with_argv};

const BAD: &str = "shell:0:0:1:exit 3";
const OTHER: &str = "shell:0:0:1:exit 4";
const SLOW: &str = "shell:0:0:1:1:sleep 60";
const GONE: &str = "shell:1000000:0:1:gone a";
const AWAY: &str = "shell:1000000:0:1:gone b";
const FINE: &str = "shell:0:0:1:true";

/// Three failures of three kinds, two cancelled tasks, one that has finished and one that waits.
fn seeded() -> Bed {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    bed.add([BAD, OTHER, SLOW, FINE]);
    bed.burst("w");
    bed.add([GONE, AWAY, "shell:1000000:0:1:waits"]);
    bed.ctl(&["cancel", "--include", "gone", "--yes"]).expect(0).prints(&["cancelled 2 tasks"]);
    assert_eq!(bed.counts(), [1, 0, 1, 5]);
    bed
}

/// The lines that a view lists, sorted.
fn listed(bed: &Bed, args: &[&str]) -> Vec<String> {
    let output = bed.status(&[args, &["--json"]].concat()).expect(0);
    let mut lines: Vec<String> =
        output.json_lines().iter().map(|task| task["line"].as_str().expect("a line").to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn overview_counts_cancelled_tasks_apart() {
    let bed = seeded();
    let shown = bed.status(&[]).expect(0);
    assert_eq!(
        shown.stdout.lines().next(),
        Some("1 todo tasks, 0 in_progress tasks, 1 finished tasks, 5 failed tasks"),
        "scripts read the length of the hash"
    );
    for text in ["of the failed, 2 were cancelled", "failed 3", "cancelled 2"] {
        assert!(shown.stdout.contains(text), "{text}: {shown}");
    }
    let json = bed.status(&["--json"]).expect(0).json();
    assert_eq!((&json["counts"]["failed"], &json["counts"]["cancelled"]), (&json!(5), &json!(2)));
    let kinds: Vec<&Value> = json["failures"].as_array().expect("groups").iter().map(|group| &group["kind"]).collect();
    assert!(!kinds.contains(&&json!("cancelled")) && kinds.len() == 3, "{kinds:?}");
}

#[test]
fn each_view_tells_cancelled_tasks_from_failures() {
    let bed = seeded();
    assert_eq!(listed(&bed, &["tasks", "--state", "cancelled"]), [GONE, AWAY]);
    assert_eq!(listed(&bed, &["tasks", "--state", "failed"]), [SLOW, BAD, OTHER]);
    assert_eq!(listed(&bed, &["tasks", "--limit", "0"]).len(), 7, "each once");
    assert_eq!(listed(&bed, &["export", "--state", "cancelled"]), [GONE, AWAY]);
    assert_eq!(listed(&bed, &["export"]).len(), 7, "each once");
    let shown = bed.status(&["show", GONE, "--json"]).expect(0).json();
    assert_eq!((&shown["states"], &shown["kind"]), (&json!(["cancelled"]), &json!("cancelled")));
    bed.status(&["show", GONE]).expect(0).prints(&["state     cancelled"]);
    bed.status(&["explain", GONE]).expect(0).prints(&["cancelled by distcomp-ctl", "distcomp-ctl requeue"]);
    bed.status(&["state", GONE, BAD]).expect(0).prints_line("cancelled").prints_line("failed");
    bed.status(&["logs", GONE]).expect(0).says(&["cancelled"]);
    let csv = bed.status(&["export", "--format", "csv"]).expect(0).stdout;
    assert_eq!(csv.lines().filter(|row| row.contains(",cancelled,")).count(), 2, "{csv}");
    let failures = bed.status(&["failures"]).expect(0);
    assert!(failures.stdout.contains("2 tasks were cancelled, which is no failure"), "{failures}");
    assert!(!failures.stdout.contains("gone"), "{failures}");
    let kinds = bed.status(&["failures", "--json"]).expect(0).json_lines();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    let all = bed.status(&["failures", "--all", "--json"]).expect(0).json_lines();
    assert_eq!(all.len(), 3, "{all:?}");
}

#[test]
fn pages_and_metrics_tell_cancelled_tasks_from_failures() {
    let bed = seeded();
    let dashboard = Dashboard::start(&bed);
    let page = |path: &str| dashboard.get(path, &[]).body;
    let cancelled = page("/tasks?state=cancelled");
    assert!(
        cancelled.contains("gone a") && cancelled.contains("gone b") && !cancelled.contains("exit 3"),
        "{cancelled}"
    );
    assert!(cancelled.contains(r#"data-text="cancelled">2<"#), "{cancelled}");
    let failed = page("/tasks?state=failed");
    assert!(failed.contains("exit 3") && !failed.contains("gone"), "{failed}");
    let overview = page("/");
    assert!(overview.contains("; 2 cancelled") && !overview.contains("of the failed"), "{overview}");
    let failures = page("/failures");
    assert!(failures.contains("exit 3") && failures.contains("/tasks?state=cancelled"), "{failures}");
    let metrics = page("/metrics");
    for line in ["{state=\"failed\"} 3", "{state=\"cancelled\"} 2"] {
        assert!(metrics.contains(&format!("distcomp_queue_tasks{line}")), "{metrics}");
    }
}

#[test]
fn requeue_leaves_cancelled_tasks_out_and_says_so() {
    let bed = seeded();
    let output =
        bed.ctl(&["requeue", "--yes"]).expect(0).says(&["left out 2 cancelled tasks"]).prints(&["requeued 3 tasks"]);
    assert!(output.all().contains("--state cancelled"), "{output}");
    assert_eq!(bed.counts(), [4, 0, 1, 2]);
    bed.ctl(&["requeue", "--state", "failed", "--yes"]).expect(0).prints(&["nothing to requeue"]);
    bed.ctl(&["requeue", "--include", "gone a", "--yes"]).expect(0).says(&["left out 1 cancelled task"]);
    let file = bed.file("some", format!("{GONE}\n{BAD}\n"));
    bed.ctl(&["requeue", "--file", &file, "--yes"]).expect(0).says(&["left out 1 cancelled task", "skipped 1 task of"]);
    assert_eq!(bed.counts(), [4, 0, 1, 2]);
    bed.ctl(&["requeue", "--state", "cancelled", "--include", "gone a", "--yes"])
        .expect(0)
        .prints(&["requeued 1 task"]);
    bed.ctl(&["requeue", AWAY, "--yes"]).expect(0);
    assert_eq!(bed.counts(), [6, 0, 1, 0]);
    assert_eq!((bed.table("task_fail_reason"), bed.table("distcomp:failures:kinds")), (Table::new(), Table::new()));
}

/// Between the selection and the answer to the question, somebody else cancels one of the tasks.
#[test]
fn task_cancelled_before_the_answer_is_not_requeued() {
    let bed = seeded();
    let mut asked = rexpect::session::spawn_command(
        bed.cli("distcomp-ctl").args(["requeue", "--kind", "exit 3"]).into_command(),
        Some(20_000),
    )
    .expect("a terminal");
    asked.exp_string("Continue? [y/N]").expect("the question");
    bed.ctl(&["requeue", BAD, "--yes"]).expect(0);
    bed.ctl(&["cancel", BAD, "--yes"]).expect(0);
    asked.send_line("y").expect("the answer");
    asked.exp_string("requeued 0 tasks").expect("what was done");
    asked.exp_eof().expect("the end");
    assert_eq!(listed(&bed, &["tasks", "--state", "cancelled"]), [BAD, GONE, AWAY]);
}

#[test]
fn kind_selects_in_every_command_that_selects() {
    let bed = seeded();
    for (kind, line) in [("exit 3", BAD), ("Exit 4", OTHER), ("timed out", SLOW), ("timeout", SLOW)] {
        assert_eq!(listed(&bed, &["tasks", "--kind", kind]), [line], "{kind}");
        assert_eq!(listed(&bed, &["export", "--kind", kind]), [line], "{kind}");
        assert_eq!(listed(&bed, &["failures", "--all", "--kind", kind]), [line], "{kind}");
    }
    assert_eq!(listed(&bed, &["tasks", "--kind", "cancelled"]), [GONE, AWAY]);
    assert_eq!(bed.status(&["failures", "--json", "--kind", "exit 3"]).expect(0).json_lines().len(), 1);
    assert_eq!(listed(&bed, &["tasks", "--kind", "exit 3", "--exclude", "exit"]), [""; 0]);
    bed.ctl(&["requeue", "--kind", "exit 3", "--dry-run"]).expect(0).prints(&["would requeue 1 failed task (exit 3)"]);
    bed.ctl(&["requeue", "--kind", "timeout", "--yes"]).expect(0).prints(&["requeued 1 task"]);
    assert_eq!(bed.counts(), [2, 0, 1, 4]);
    bed.ctl(&["purge", "--kind", "exit 4", "--yes"]).expect(0).prints(&["purged 1 task"]);
    bed.ctl(&["purge", "--kind", "cancelled", "--yes"]).expect(0).prints(&["purged 2 tasks"]);
    assert_eq!(listed(&bed, &["tasks", "--state", "failed"]), [BAD]);
    // One that workers give, and that no task has.
    bed.ctl(&["requeue", "--kind", "oom", "--yes"]).expect(0).prints(&["nothing to requeue"]);
}

#[test]
fn unknown_kind_is_refused_with_those_there_are() {
    let bed = seeded();
    let said =
        ["no failure is of the kind \"exit33\"; there are: exit 3 (1), exit 4 (1)", "cancelled (2)", "timed out (1)"];
    bed.ctl(&["requeue", "--kind", "exit33"]).expect(2).says(&said);
    bed.status(&["tasks", "--kind", "exit33"]).expect(2).says(&said);
    for args in [&["--state", "failed", "--kind", "cancelled"][..], &["--state", "cancelled", "--kind", "exit 3"]] {
        bed.ctl(&[&["requeue"][..], args].concat()).expect(2).says(&["cannot be used with --state"]);
        bed.status(&[&["tasks"][..], args].concat()).expect(2).says(&["cannot be used with --state"]);
    }
    bed.ctl(&["cancel", "--kind", "cancelled", "--yes"]).expect(2).says(&["cancelled already"]);
    bed.ctl(&["purge", "--all", "--kind", "exit 3", "--yes"]).expect(2);
    bed.ctl(&["requeue", "--kind", "", "--yes"]).expect(2);
    bed.ctl(&["purge", "--include", "", "--yes"]).expect(2).says(&["every line", "--all"]);
    assert_eq!(bed.counts(), [1, 0, 1, 5]);
}

/// What Python workers failed has no recorded kind: it goes by how the reason begins, as in `failures`.
#[test]
fn kind_selects_failures_of_python_workers_too() {
    let bed = seeded();
    for (name, reason) in [("a", "\"exit code 1: no such file\""), ("b", "\"killed\""), ("c", "\"exit 3: x\"")] {
        bed.hset("failed_tasks", format!("shell:0:0:1:old {name}"), "old,");
        bed.hset("task_fail_reason", format!("shell:0:0:1:old {name}"), reason);
    }
    bed.hset("failed_tasks", "shell:0:0:1:old d", "old,");
    assert_eq!(listed(&bed, &["tasks", "--kind", "Exit code 1"]), ["shell:0:0:1:old a"]);
    assert_eq!(listed(&bed, &["tasks", "--kind", "exit 3"]), [BAD, "shell:0:0:1:old c"]);
    assert_eq!(listed(&bed, &["tasks", "--kind", "unknown"]), ["shell:0:0:1:old d"]);
    bed.ctl(&["requeue", "--kind", "exit code 2"]).expect(2).says(&["exit code 1 (1)", "exit 3 (2)"]);
    bed.ctl(&["requeue", "--kind", "killed", "--yes"]).expect(0).prints(&["requeued 1 task"]);
    assert_eq!(bed.table("todo_tasks").len(), 2);
}

#[test]
fn cancel_by_kind_takes_retries_and_no_others() {
    let mut bed = Bed::with(json!({"max_retry_per_task": 1}));
    bed.add([BAD]);
    bed.burst("w");
    let retry = "shell:0:0:1:exit 3 # again";
    bed.configure(json!({"max_retry_per_task": 5, "retry_backoff_seconds": 600}));
    bed.add([retry]);
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [1, 0, 0, 2]);
    bed.ctl(&["cancel", "--kind", "exit 3", "--yes"]).expect(0).prints(&["cancelled 1 task"]);
    assert_eq!(listed(&bed, &["tasks", "--state", "cancelled"]), [retry]);
    assert_eq!(listed(&bed, &["tasks", "--state", "failed"]), [BAD]);
}

#[test]
fn batches_count_cancelled_tasks_apart() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let step = |name: &str, command: &str| {
        bed.cli("distcomp-submit").args(["-n", name, "--", command, ":::", "1", "2"]).run().expect(0);
    };
    step("s1/bad", "false # {}");
    step("s1/gone", "true # {}");
    step("s2", "true # {} of s2");
    bed.ctl(&["cancel", "--batch", "s1/gone", "--yes"]).expect(0);
    bed.ctl(&["cancel", "--include", "1 of s2", "--yes"]).expect(0);
    bed.burst("w");
    let of = |name: &str| {
        let batch = bed.status(&["batch", name, "--json"]).expect(0).json();
        ["tasks", "finished", "failed", "cancelled"].map(|what| batch[what].as_u64().expect("a number"))
    };
    assert_eq!(of("s1"), [4, 0, 2, 2]);
    assert_eq!((of("s1/bad"), of("s1/gone"), of("s2")), ([2, 0, 2, 0], [2, 0, 0, 2], [2, 1, 0, 1]));
    bed.status(&["batches"]).expect(0).prints(&["cancelled"]);
    let waited = bed.status(&["wait", "s2"]).expect(1);
    assert!(waited.stdout.contains("s2: 1 of 2 cancelled"), "{}", waited.stdout);
    bed.ctl(&["requeue", "--batch", "s2", "--state", "cancelled", "--yes"]).expect(0);
    bed.burst("w");
    assert_eq!(of("s2"), [2, 2, 0, 0]);
}

#[test]
fn wait_counts_cancelled_tasks_apart() {
    let bed = Bed::new();
    let started: Started =
        bed.cli("distcomp-submit").args(["--wait", "--json", "-"]).stdin("shell:0:0:1:true\n").start();
    bed.wait_counts(SOON, [1, 0, 0, 0]);
    bed.ctl(&["cancel", "--all", "--yes"]).expect(0);
    let answer = started.finish().expect(1).json();
    assert_eq!(answer["outcome"], json!({"finished": 0, "failed": 0, "gone": 0, "cancelled": 1, "blocked": 0}));
    assert_eq!(answer["failures"], json!([]));
}

#[test]
fn running_task_is_cancelled_when_its_process_is_gone() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    let sleep = unique_sleep();
    let line = format!("shell:0:0:1:exec sleep {sleep}");
    bed.add([&line]);
    bed.wait_running(&line);
    bed.ctl(&["cancel", &line, "--yes"]).expect(0);
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    assert!(with_argv(&sleep).is_empty(), "its process is gone first");
    let shown = bed.status(&["show", &line, "--json"]).expect(0).json();
    assert_eq!(shown["states"], json!(["cancelled"]));
    let why = bed.status(&["explain", &line]).expect(0);
    assert!(why.stdout.contains("it was cancelled at "), "{why}");
    let log = bed.status(&["export", "--format", "joblog"]).expect(0).stdout;
    assert_eq!(log.lines().count(), 2, "it has run: {log}");
}
