//! The six hashes, exactly: 174 mixed tasks and what is left of them.
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{Bed, SOON, Table, decode, reason_of, result_of, wait_until};

/// Task lines and the output each must leave.
fn successes() -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    for at in 0..90 {
        wanted.insert(format!("shell:0.1:0.1:{}:echo out {at}", at % 9), format!("out {at}"));
    }
    for at in 0..20 {
        wanted.insert(format!("demo:0:0:3:case {at} a:b"), format!("demo case {at} a:b"));
    }
    for at in 0..10 {
        wanted.insert(format!("python:0:0:4:60:print({at} * {at})"), (at * at).to_string());
    }
    for at in 0..10 {
        wanted.insert(format!("shell:0:0:5:0:printf '\\n \\t{at}\\nline two\\n\\n'"), format!("{at}\nline two"));
    }
    for at in 0..10 {
        wanted.insert(format!("shell:0:0:6:true {at}"), String::new());
    }
    for at in 0..10 {
        let text = format!("\"quoted\" \\ ü ☃ {at}");
        wanted.insert(format!("shell:0:0:7:printf %s '{text}'; echo noise >&2"), text);
    }
    wanted
}

/// Task lines and the reason each must fail with; a time-out, exits with and without words, and signals.
fn failures() -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    for at in 0..10 {
        wanted.insert(
            format!("shell:0:0:5:echo kept {at}; echo 'no such trace {at}' >&2; exit 3"),
            format!("exit 3: no such trace {at}"),
        );
    }
    for at in 0..4 {
        wanted.insert(format!("shell:0:0:5:1:sleep 61.{at}"), "timed out after 1 s".to_owned());
    }
    for at in 0..5 {
        wanted.insert(format!("shell:0:0:5:exit 255 # {at}"), "exit 255".to_owned());
    }
    for at in 0..5 {
        wanted.insert(format!("shell:0:0:5:kill -9 $$ # {at}"), "signal 9 (SIGKILL)".to_owned());
    }
    wanted
}

#[test]
fn hashes_match_python_distcomp_after_174_mixed_tasks() {
    let bed = Bed::with(json!({"max_retry_per_task": 2}));
    let (good, bad) = (successes(), failures());
    assert_eq!(good.len() + bad.len(), 174);
    bed.add(good.keys().chain(bad.keys()));
    bed.burst("w");

    assert_eq!(bed.table("todo_tasks"), Table::new());
    assert_eq!(bed.table("in_progress_tasks"), Table::new());
    let finished = bed.table("finished_tasks");
    let results: BTreeMap<_, _> = finished.keys().map(|line| (line.clone(), result_of(&finished, line))).collect();
    let wanted: BTreeMap<_, _> = good.into_iter().map(|(line, output)| (line, ("w".to_owned(), output))).collect();
    assert_eq!(results, wanted);

    let failed = bed.table("failed_tasks");
    let wanted: Table = bad.keys().map(|line| (line.clone(), "w,w,".to_owned())).collect();
    assert_eq!(failed, wanted);
    let mut reasons = bed.table("task_fail_reason");
    for (line, wanted) in bad {
        let reason = decode(&reasons.remove(&line).unwrap_or_else(|| panic!("no reason for {line}")));
        let reason = reason.trim_end_matches([':', ' ']);
        assert_eq!(reason, wanted, "the reason of {line}");
    }
    assert_eq!(reasons, Table::new(), "no reason for anything else");

    let six =
        ["todo_tasks", "in_progress_tasks", "finished_tasks", "failed_tasks", "task_fail_reason", "worker_status"];
    let strange: Vec<_> =
        bed.keys().into_iter().filter(|key| !six.contains(&key.as_str()) && !key.starts_with("distcomp:")).collect();
    assert!(strange.is_empty(), "keys beside the six and distcomp:*: {strange:?}");
    assert!(bed.keys().iter().any(|key| key == "distcomp:format"));
}

#[test]
fn worker_status_has_five_fields_and_figures_with_two_decimals() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    let status = bed.table("worker_status").remove("w").expect("its status");
    let fields: Vec<_> = status.split(':').collect();
    assert_eq!(fields.len(), 5, "{status}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let beat: u64 = fields[0].parse().unwrap_or_else(|_| panic!("whole seconds first: {status}"));
    assert!(now.abs_diff(beat) < 30, "{status} at {now}");
    for figure in &fields[1..] {
        let (whole, decimals) = figure.split_once('.').unwrap_or_else(|| panic!("two decimals: {status}"));
        assert!(whole.parse::<u64>().is_ok() && decimals.len() == 2 && decimals.parse::<u64>().is_ok(), "{status}");
    }
    let figure = |at: usize| fields[at].parse::<f64>().expect("a number");
    assert!(figure(1) <= figure(2) && figure(3) <= figure(4) && figure(2) > 0.0 && figure(4) > 0.0, "{status}");
}

#[test]
fn the_heartbeat_advances_and_goes_with_a_clean_exit() {
    let bed = Bed::new();
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    let first = bed.table("worker_status").remove("w").expect("its status");
    let first_beat = first.split(':').next().expect("a field").to_owned();
    wait_until("a later heartbeat", SOON, || {
        let seen = bed.table("worker_status").remove("w").unwrap_or_default();
        if seen.is_empty() || seen.starts_with(&first_beat) { Err(seen) } else { Ok(()) }
    });
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
    assert_eq!(bed.table("worker_status"), Table::new());
}

#[test]
fn a_reason_holds_the_tail_of_stderr_within_1024_characters() {
    let bed = Bed::new();
    let line = "shell:0:0:1:seq 10000 19999 >&2; echo 'the end' >&2; exit 7";
    bed.add([line]);
    bed.burst("w");
    let reason = reason_of(&bed, line);
    assert!(reason.starts_with("exit 7: "), "{reason}");
    assert!(reason.trim_end().ends_with("the end"), "{reason}");
    assert!(reason.chars().count() <= 1024, "{} characters", reason.chars().count());
}

#[test]
fn later_success_clears_failure_and_reason() {
    let bed = Bed::with(json!({"max_retry_per_task": 3}));
    let line = "shell:0:0:1:echo words >&2; test $DISTCOMP_ATTEMPT = 2 && echo second";
    bed.add([line]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
    assert_eq!(result_of(&bed.table("finished_tasks"), line).1, "second");
    assert_eq!(bed.count("task_fail_reason"), 0);
}

#[test]
fn a_prefix_stands_before_every_key() {
    let bed = Bed::with(json!({"redis_key_prefix": "{site-a}:"}));
    bed.add(["shell:0:0:1:echo x", "shell:0:0:1:exit 1"]);
    bed.burst("w");
    let keys = bed.keys();
    assert!(!keys.is_empty() && keys.iter().all(|key| key.starts_with("{site-a}:")), "{keys:?}");
    assert_eq!(bed.table("{site-a}:finished_tasks").into_values().collect::<Vec<_>>(), ["w: \"x\""]);
    assert_eq!(bed.count("{site-a}:failed_tasks"), 1);
    let first = "0 todo tasks, 0 in_progress tasks, 1 finished tasks, 1 failed tasks";
    bed.status(&[]).expect(0).prints_line(first);
}

#[test]
fn without_pipeline_batching_the_same_tasks_end_the_same_way() {
    let bed = Bed::with(json!({"redis_pipeline_batching": false, "task_prefetch": 0, "max_retry_per_task": 2}));
    bed.add((0..40).map(|at| format!("shell:0:0:1:echo {at}")));
    bed.add(["shell:0:0:1:exit 9"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 40, 1]);
    assert_eq!(bed.table("failed_tasks").into_values().collect::<Vec<_>>(), ["w,w,"]);
}
