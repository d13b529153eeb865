//! `distcomp-status`: read only, readable by scripts, and honest about each attempt.
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, task_id, wait_until};

/// Run by a real worker: 3 finished, 2 failed alike, 1 failed otherwise, 2 waiting for a node that does not exist.
fn finished_bed() -> Bed {
    let bed = Bed::with(json!({"max_retry_per_task": 2}));
    bed.add((0..3).map(|at| format!("shell:0:0:1:echo fine {at}")));
    bed.add((0..2).map(|at| format!("shell:0:0:1:echo 'no trace {at}' >&2; exit 3")));
    bed.add(["shell:0:0:1:1:sleep 3621", "shell:1000000:0:1:large a", "shell:1000000:0:1:large b"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [2, 0, 3, 3]);
    bed
}

#[test]
fn the_first_line_is_the_one_scripts_read() {
    let bed = Bed::new();
    let first = |output: &crate::support::Output| output.stdout.lines().next().unwrap_or_default().to_owned();
    assert_eq!(
        first(&bed.status(&[]).expect(0)),
        "0 todo tasks, 0 in_progress tasks, 0 finished tasks, 0 failed tasks"
    );
    bed.hset_all("todo_tasks", (0..20).map(|at| format!("shell:1:1:1:t{at}")));
    bed.hset_all("in_progress_tasks", ["shell:1:1:1:p"]);
    bed.hset_all("finished_tasks", ["shell:1:1:1:f", "shell:1:1:1:g"]);
    bed.hset_all("failed_tasks", ["shell:1:1:1:x", "shell:1:1:1:y", "shell:1:1:1:z"]);
    assert_eq!(
        first(&bed.status(&[]).expect(0)),
        "20 todo tasks, 1 in_progress tasks, 2 finished tasks, 3 failed tasks"
    );
}

#[test]
fn the_stop_command_is_not_counted_as_a_task() {
    let bed = Bed::new();
    bed.hset_all("todo_tasks", ["shell:1:1:1:t", "WORKER_COMMAND_CLOSE"]);
    let output = bed.status(&[]).expect(0);
    assert!(output.stdout.starts_with("1 todo tasks, "), "{output}");
    assert_eq!(bed.status(&["--json"]).expect(0).json()["counts"]["todo"], 1);
}

#[test]
fn json_has_counts_and_workers() {
    let bed = finished_bed();
    let _worker = bed.worker("again");
    bed.wait_alive("again");
    let seen = bed.status(&["--json"]).expect(0).json();
    for (state, count) in [("todo", 2), ("in_progress", 0), ("finished", 3), ("failed", 3)] {
        assert_eq!(seen["counts"][state], count, "{state} in {seen}");
    }
    assert_eq!(seen["workers"].as_array().map(Vec::len), Some(1), "{seen}");
    assert!(seen["workers"].to_string().contains("again"), "{seen}");
}

#[test]
fn workers_are_listed_with_what_they_have() {
    let bed = Bed::new();
    let _worker = bed.worker("node-a");
    bed.wait_alive("node-a");
    let output = bed.status(&["workers"]).expect(0);
    assert!(output.stdout.contains("node-a"), "{output}");
    let rows = bed.status(&["workers", "--json"]).expect(0).json_lines();
    assert!(rows.len() == 1 && rows[0].to_string().contains("node-a"), "{rows:?}");
}

#[test]
fn tasks_are_listed_by_state_and_text() {
    let bed = finished_bed();
    let list = |args: &[&str]| bed.status(args).expect(0).stdout;
    let finished = list(&["tasks", "--state", "finished"]);
    assert!(finished.contains("fine 0") && finished.contains("fine 2") && !finished.contains("no trace"), "{finished}");
    let included = list(&["tasks", "--state", "failed", "--include", "trace 1"]);
    assert!(included.contains("no trace 1") && !included.contains("no trace 0"), "{included}");
    let excluded = list(&["tasks", "--state", "failed", "--exclude", "no trace"]);
    assert!(excluded.contains("sleep 3621") && !excluded.contains("no trace"), "{excluded}");
    let todo = list(&["tasks", "--state", "todo"]);
    assert!(todo.contains("large a") && todo.contains("large b"), "{todo}");
    assert_eq!(bed.status(&["tasks", "--state", "finished", "--limit", "2", "--json"]).expect(0).json_lines().len(), 2);
    assert_eq!(bed.status(&["tasks", "--state", "finished", "--limit", "0", "--json"]).expect(0).json_lines().len(), 3);
}

#[test]
fn show_tells_everything_of_a_failed_task() {
    let bed = finished_bed();
    let line = "shell:0:0:1:echo 'no trace 1' >&2; exit 3";
    for name in [line, &task_id(line), &task_id(line)[..8]] {
        let output = bed.status(&["show", name]).expect(0);
        for text in [task_id(line).as_str(), "no trace 1", "exit 3", "w"] {
            assert!(output.stdout.contains(text), "no {text:?}\n{output}");
        }
    }
    let seen = bed.status(&["show", line, "--json"]).expect(0);
    assert!(seen.stdout.contains("no trace 1"), "{seen}");
    seen.json();
}

#[test]
fn show_tells_the_output_of_a_finished_task() {
    let bed = finished_bed();
    let output = bed.status(&["show", "shell:0:0:1:echo fine 1"]).expect(0);
    assert!(output.stdout.contains("fine 1") && output.stdout.contains("finished"), "{output}");
}

#[test]
fn failures_are_grouped_by_kind_with_a_count_and_a_sample() {
    let bed = finished_bed();
    let output = bed.status(&["failures"]).expect(0);
    let groups: Vec<_> =
        output.stdout.lines().filter(|line| line.contains("exit 3") || line.contains("timed out")).collect();
    assert!(groups.iter().any(|line| line.contains("exit 3") && line.contains('2')), "{output}");
    assert!(groups.iter().any(|line| line.contains("timed out") && line.contains('1')), "{output}");
    assert_eq!(bed.status(&["failures", "--json"]).expect(0).json_lines().len(), 2);
}

#[test]
fn export_streams_every_result_as_json_lines() {
    let bed = finished_bed();
    let rows = bed.status(&["export", "--json"]).expect(0).json_lines();
    for text in ["fine 0", "fine 1", "fine 2", "no trace 0", "timed out after 1 s"] {
        assert!(rows.iter().any(|row| row.to_string().contains(text)), "no {text:?} in {rows:#?}");
    }
    let rows = bed.status(&["export", "--state", "failed", "--json"]).expect(0).json_lines();
    assert_eq!(rows.len(), 3, "{rows:#?}");
}

#[test]
fn export_has_csv_and_the_joblog_of_gnu_parallel() {
    let bed = finished_bed();
    let export = |format: &str| bed.status(&["export", "--format", format]).expect(0).stdout;
    let csv = export("csv");
    assert!(csv.lines().count() > 8, "a head line and a row a task: {csv}");
    let joblog = export("joblog");
    let mut rows = joblog.lines().map(|row| row.split('\t').collect::<Vec<_>>());
    let head = ["Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command"];
    assert_eq!(rows.next().expect("a head line"), head);
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), 6, "finished and failed tasks: {joblog}");
    assert_eq!(rows.iter().filter(|row| row[6] == "3").count(), 2, "{joblog}");
}

#[test]
fn it_only_reads() {
    let bed = finished_bed();
    // Locks that expire by themselves are nobody's writes.
    let dump = || {
        let mut con = bed.redis.con();
        let mut rows = BTreeMap::new();
        for key in bed.keys() {
            if ::redis::cmd("TTL").arg(&key).query::<i64>(&mut con).expect("TTL") == -1 {
                let value = ::redis::cmd("DUMP").arg(&key).query::<Vec<u8>>(&mut con).expect("DUMP");
                rows.insert(key, value);
            }
        }
        rows
    };
    let before = dump();
    for args in [&[][..], &["tasks", "--state", "todo"], &["workers"], &["failures"], &["export"], &["--json"]] {
        bed.status(args).expect(0);
    }
    assert!(dump() == before, "something was written");
}

#[test]
fn control_characters_from_tasks_do_not_reach_the_terminal() {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:printf '\\033]0;owned\\007'; printf '\\033[31mred' >&2; exit 1 # \u{1b}[2J"]);
    bed.hset("todo_tasks", "shell:1000000:0:1:\x1b]0;title\x07", "");
    bed.burst("w");
    for args in [&[][..], &["tasks", "--state", "failed"], &["tasks", "--state", "todo"], &["failures"]] {
        let output = bed.status(args).expect(0);
        assert!(!output.all().contains(['\x1b', '\x07']), "{output}");
    }
}

#[test]
fn times_are_those_of_the_zone_that_the_reader_asks_for() {
    let bed = finished_bed();
    let line = "shell:0:0:1:echo fine 1";
    let attempts = bed.status(&["show", line, "--json"]).expect(0).json();
    let end = attempts["attempts"][0]["end"].as_f64().expect("it ended");
    for zone in ["America/New_York", "Asia/Kathmandu", "UTC", ":Europe/Vienna", "<+07>-7"] {
        let date =
            std::process::Command::new("date").env("TZ", zone).args(["+%F %T %Z", "-d", &format!("@{end}")]).output();
        let date = String::from_utf8(date.expect("date runs").stdout).expect("text");
        let shown = bed.cli("distcomp-status").args(["show", line]).env("TZ", zone).run().expect(0);
        assert!(
            !date.trim().is_empty() && shown.stdout.contains(&format!("ended {},", date.trim())),
            "{zone}, {date}{shown}"
        );
    }
}

#[test]
fn seq_of_a_joblog_is_the_order_of_submission() {
    let bed = Bed::with(json!({"max_task_per_worker": 1, "max_retry_per_task": 2}));
    // Later ones run first.
    let lines: Vec<String> = (1..=6).map(|n| format!("shell:0:0:{n}:test {n} != 3 # {n}")).collect();
    bed.submit(&["-"], lines.join("\n")).expect(0);
    bed.burst("w");
    let joblog = bed.status(&["export", "--format", "joblog"]).expect(0).stdout;
    let mut seen: Vec<(u64, String)> = joblog
        .lines()
        .skip(1)
        .map(|row| row.split('\t').collect::<Vec<_>>())
        .map(|row| (row[0].parse().expect("a number"), row[8].to_owned()))
        .collect();
    seen.sort();
    let expected: Vec<(u64, String)> = (1..=6).map(|n| (n, format!("test {n} != 3 # {n}"))).collect();
    assert_eq!(seen, expected, "{joblog}");
}

#[test]
fn a_bar_is_ascii_where_the_locale_is_not_utf8() {
    let bed = finished_bed();
    for (variables, is_ascii) in [
        (&[("LC_ALL", "C")][..], true),
        (&[("LC_ALL", ""), ("LC_CTYPE", ""), ("LANG", "de_DE")], true),
        (&[("LC_ALL", ""), ("LC_CTYPE", ""), ("LANG", "")], true),
        (&[("LC_ALL", ""), ("LC_CTYPE", "en_US.UTF-8"), ("LANG", "C")], false),
        (&[("LC_ALL", "C.utf8")], false),
    ] {
        for view in [&[][..], &["workers"], &["failures"], &["explain"]] {
            let mut command = bed.cli("distcomp-status").args(view).env("COLUMNS", "60");
            for (name, value) in variables {
                command = command.env(name, value);
            }
            let output = command.run().expect(0);
            assert!(!is_ascii || output.stdout.is_ascii(), "{variables:?}: {output}");
            assert!(is_ascii || !view.is_empty() || output.stdout.contains('█'), "{variables:?}: {output}");
        }
    }
}

#[test]
fn state_prints_one_word_for_each_task_in_order() {
    let bed = finished_bed();
    let _worker = bed.worker("again");
    bed.wait_alive("again");
    let slow = "shell:0:0:1:sleep 3622";
    bed.add([slow, "shell:1000000:0:1:cancelled"]);
    bed.ctl(&["cancel", "--yes", "shell:1000000:0:1:cancelled"]).expect(0);
    bed.wait_running(slow);
    // Out of retries, with a reason that only looks like a cancellation.
    bed.add(["shell:0:0:1:echo cancelled >&2; exit 9"]);
    let failed = "shell:0:0:1:echo cancelled >&2; exit 9";
    wait_until("it fails for good", Duration::from_secs(20), || {
        let counts = bed.counts();
        if bed.table("failed_tasks").contains_key(failed) && counts[..2] == [2, 1] {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    });
    let expected = [
        (slow, "running"),
        ("shell:0:0:1:echo fine 1", "finished"),
        ("shell:1000000:0:1:large a", "waiting"),
        ("shell:0:0:1:echo 'no trace 1' >&2; exit 3", "failed"),
        ("shell:1000000:0:1:cancelled", "cancelled"),
        (failed, "failed"),
        ("shell:0:0:1:unheard of", "none"),
        (slow, "running"),
    ];
    let words = expected.map(|(_, word)| word).join("\n") + "\n";
    let lines: Vec<String> = expected.iter().map(|(line, _)| (*line).to_owned()).collect();
    let ids: Vec<String> = lines.iter().map(|line| task_id(line)).collect();
    let prefixes: Vec<String> = ids.iter().map(|id| id[..8].to_owned()).collect();
    for names in [&lines, &ids, &prefixes] {
        let args: Vec<&str> = ["state"].into_iter().chain(names.iter().map(String::as_str)).collect();
        assert_eq!(bed.status(&args).expect(0).stdout, words, "{names:?}");
    }
    let args: Vec<&str> = ["state", "--json"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    for ((row, id), (line, word)) in bed.status(&args).expect(0).json_lines().iter().zip(&ids).zip(expected) {
        let line = if word == "none" { json!(null) } else { json!(line) };
        assert_eq!(row, &json!({"id": id, "line": line, "state": word}));
    }
    bed.status(&["state"]).expect(2);
}

#[test]
fn a_failed_task_that_will_be_retried_is_waiting() {
    let bed = Bed::with(json!({"max_retry_per_task": 3, "retry_backoff_seconds": 600}));
    let line = "shell:0:0:1:exit 5";
    bed.add([line]);
    let _worker = bed.worker("w");
    wait_until("its first failure", Duration::from_secs(20), || {
        if bed.table("failed_tasks").contains_key(line) { Ok(()) } else { Err(format!("{:?}", bed.counts())) }
    });
    assert_eq!(bed.status(&["state", &task_id(line)]).expect(0).stdout, "waiting\n");
}

#[test]
fn the_states_of_a_thousand_ids_cost_one_pass() {
    let bed = Bed::new();
    let lines: Vec<String> = (0..20_000).map(|at| format!("shell:1000000:0:1:t{at}")).collect();
    bed.hset_all("todo_tasks", &lines);
    let ids: Vec<String> = lines.iter().step_by(20).map(|line| task_id(line)).collect();
    let scans = || {
        let info: String = ::redis::cmd("INFO").arg("commandstats").query(&mut bed.redis.con()).expect("INFO");
        let calls = info.split("cmdstat_hscan:calls=").nth(1).and_then(|rest| rest.split(',').next());
        calls.map_or(0, |calls| calls.parse::<u64>().expect("a number"))
    };
    let args = |ids: &[String]| ["state".to_owned()].into_iter().chain(ids.iter().cloned()).collect::<Vec<_>>();
    let run = |ids: &[String]| {
        let before = scans();
        let output = bed.cli("distcomp-status").args(args(ids)).run().expect(0);
        assert_eq!(output.stdout, "waiting\n".repeat(ids.len()));
        scans() - before
    };
    let run_unknown = || {
        let before = scans();
        assert_eq!(bed.status(&["state", "0123456789abcdef"]).expect(0).stdout, "none\n");
        // It searches twice.
        (scans() - before) / 2
    };
    let (unknown, all) = (run_unknown(), run(&ids));
    assert!(
        unknown > 0 && all <= unknown,
        "{unknown} steps of a scan for an id that no task has, {all} for a thousand ids"
    );
}

#[test]
fn tasks_without_a_state_are_those_of_all_states_once_each() {
    let bed = Bed::with(json!({"max_retry_per_task": 3, "retry_backoff_seconds": 600}));
    let (slow, retried) = ("shell:0:0:1:sleep 3624", "shell:0:0:1:exit 6");
    let (done, waits) = ("shell:0:0:1:echo done", "shell:1000000:0:1:large");
    bed.add([slow, retried, done, waits]);
    let _worker = bed.worker("w");
    bed.wait_counts(Duration::from_secs(20), [2, 1, 1, 1]);
    let rows = bed.status(&["tasks", "--json"]).expect(0).json_lines();
    let seen: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["line"].as_str().unwrap_or(""), row["state"].as_str().unwrap_or(""))).collect();
    assert_eq!(seen, [(slow, "in_progress"), (retried, "failed"), (waits, "todo"), (done, "finished")]);
    assert_eq!(bed.status(&["tasks"]).expect(0).stdout, [slow, retried, waits, done].join("\n") + "\n");
    let cut = bed.status(&["tasks", "--limit", "2"]).expect(0).says(&["showing 2 of 4"]);
    assert_eq!(cut.stdout, [slow, retried].join("\n") + "\n");
    assert_eq!(bed.status(&["tasks", "--worker", "w"]).expect(0).stdout, [slow, retried, done].join("\n") + "\n");
    assert_eq!(bed.status(&["tasks", "--state", "todo"]).expect(0).stdout.lines().count(), 2);
}
