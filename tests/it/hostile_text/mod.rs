//! Text from strangers: whatever stands in task lines, names, outputs, reasons, hosts and pauses, no command and no log hands a terminal anything that
//! drives it, forges a line, or turns the reading order. Each test writes past all our code, as somebody with a Redis client can.
mod live;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Bed, Output, SOON, bin, holds_for, task_id, wait_until};

/// Everything at once: a title, a clear screen, C1 as one character, DEL, a bell, backspaces, overrides and isolates of direction, separators, a return.
const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{7f}\u{8}\u{8}\u{202e}gpj.exe\u{2066}x\u{2069}\u{200f}\u{85}\u{2028}\u{2029}\r\u{1b}c";
/// In the middle of it, so that a careless printer would start a line with it.
const FORGED: &str = "\ndistcomp-worker: FORGED LINE";

fn evil(what: &str) -> String {
    format!("{what}{EVIL}{FORGED}")
}

/// What no terminal may be sent. Line ends are judged apart: they end lines of ours.
fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[track_caller]
fn is_clean(what: &str, text: &str) {
    if let Some(bad) = text.chars().find(|c| is_unsafe(*c)) {
        panic!("{what} prints {bad:?}:\n{text:?}");
    }
    let forged = text.lines().find(|line| line.starts_with("distcomp-worker: FORGED") || line.starts_with("FORGED"));
    assert!(forged.is_none(), "{what} prints a line that somebody else wrote:\n{text}");
}

#[track_caller]
fn all_clean(output: &Output) {
    is_clean("stdout", &output.stdout);
    is_clean("stderr", &output.stderr);
}

/// A queue in which everything that can be hostile is.
fn haunted() -> (Bed, Vec<String>) {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:true"]);
    let lines: Vec<String> = ["a", "b", "c", "d"].map(|name| evil(&format!("shell:0:0:1:echo {name} # "))).into();
    let worker = evil("w");
    let json = |text: &str| Value::String(text.to_owned()).to_string();
    bed.hset("todo_tasks", &lines[0], "");
    bed.hset("todo_tasks", evil("not a task"), "");
    bed.hset("in_progress_tasks", &lines[1], &worker);
    bed.hset("finished_tasks", &lines[2], format!("plain: {}", json(&evil("out"))));
    bed.hset("finished_tasks", evil("shell:0:0:1:y # "), format!("{worker}: {}", json(&evil("out"))));
    bed.hset("finished_tasks", evil("shell:0:0:1:raw # "), evil("no json at all"));
    bed.hset("failed_tasks", &lines[3], format!("{worker},{worker},"));
    bed.hset("task_fail_reason", &lines[3], json(&evil("exit 3: ")));
    bed.hset("failed_tasks", evil("shell:0:0:1:x # "), &worker);
    bed.hset("task_fail_reason", evil("shell:0:0:1:x # "), evil("not json"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now").as_secs();
    for name in [&worker, "plain"] {
        bed.hset("worker_status", name, format!("{now}:1.00:2.00:3.00:4.00"));
        bed.hset("distcomp:owner", name, "i:1");
        let process = json!({"instance": "i", "host": evil("h"), "boot_id": evil("b"), "pid": 1, "start_ticks": 1, "version": evil("v"), "since": 1});
        bed.hset("distcomp:workers", name, process.to_string());
        let load = json!({"running": 9, "slots": 1, "held": 0, "waiting": evil("for"), "reserved": evil("r"), "fenced": 0, "reconnects": 0});
        bed.hset("distcomp:load", name, load.to_string());
    }
    let record = |worker: &str| {
        json!({"a": 1, "w": worker, "s": 1, "e": 2, "r": {"exit": 3}, "o": evil("o"), "x": evil("x"), "t": evil("t")})
            .to_string()
    };
    for line in &lines {
        bed.hset("distcomp:evidence", task_id(line), record("plain"));
    }
    bed.hset("distcomp:failures:groups", evil("kind"), "7");
    bed.hset("distcomp:failures:samples", evil("kind"), evil("sample"));
    bed.hset("distcomp:failures:kinds", &lines[3], evil("kind"));
    bed.hset("distcomp:ready:reserved", "1:1:", format!("{worker}|99999999999999"));
    bed.hset("distcomp:ready:blocked", "1:1:", format!("1|{}", evil("line")));
    bed.hset("distcomp:quarantine", b"\xff\x1b[2J", evil("why"));
    redis::cmd("SET").arg("distcomp:paused").arg(evil("somebody")).exec(&mut bed.redis.con()).expect("SET");
    (bed, lines)
}

#[test]
fn no_view_of_the_queue_hands_a_terminal_what_strangers_wrote() {
    let (bed, lines) = haunted();
    let evil_line = lines[3].clone();
    let mut views: Vec<Vec<&str>> = vec![
        vec![],
        vec!["workers"],
        vec!["failures"],
        vec!["failures", "--all"],
        vec!["explain"],
        vec!["export", "--format", "joblog"],
        vec!["export"],
    ];
    for state in ["todo", "in_progress", "finished", "failed"] {
        views.push(vec!["tasks", "--state", state]);
    }
    for line in &lines {
        views.push(vec!["show", line]);
        views.push(vec!["explain", line]);
    }
    for view in &views {
        for json in [false, true] {
            if json && view.contains(&"export") {
                continue;
            }
            let args: Vec<&str> = view.iter().copied().chain(json.then_some("--json")).collect();
            let output = bed.status(&args).expect(0);
            all_clean(&output);
            assert!(!output.stdout.is_empty(), "{output}");
        }
    }
    // What was written is all there, as an escape or in JSON.
    assert!(bed.status(&["show", &evil_line]).expect(0).stdout.contains("\\x1b]0;owned"));
    assert_eq!(bed.status(&["show", &evil_line, "--json"]).expect(0).json()["line"], json!(evil_line));
    // An error that quotes what was typed, and one that lists what is there.
    let output = bed.status(&["show", &evil("nothing like it")]).expect(2);
    all_clean(&output);
}

#[test]
fn no_operators_command_hands_a_terminal_what_strangers_wrote() {
    let (bed, lines) = haunted();
    let worker = evil("w");
    let commands: [&[&str]; 15] = [
        &["requeue", "--state", "failed", "--dry-run"],
        &["cancel", "--state", "todo", "--dry-run"],
        &["purge", "--state", "finished", "--dry-run"],
        &["drain", "--all", "--dry-run"],
        &["drain", &worker, "--yes"],
        &["drain", "nobody", "--yes"],
        &["reclaim", "--dry-run"],
        &["reclaim", &worker, "--yes"],
        &["requeue", &lines[1], "--yes"],
        &["requeue", "--state", "failed", "--worker", &worker, "--yes"],
        &["cancel", &lines[0], "--yes", "--json"],
        &["stop", "--yes"],
        &["resume", "--yes"],
        &["reclaim", "plain", "--force", "--yes"],
        &["purge", "--state", "finished", "--yes"],
    ];
    for args in commands {
        let output = bed.ctl(args);
        all_clean(&output);
        assert!(output.is(0) || output.is(2), "{output}");
        assert!(!output.all().trim().is_empty(), "{output}");
    }
}

#[test]
fn raw_is_for_pipes_and_brings_every_byte() {
    let (bed, lines) = haunted();
    let lines_raw = bed.status(&["tasks", "--state", "in_progress", "--raw"]).expect(0);
    assert_eq!(lines_raw.stdout, format!("{}\n", lines[1]));
    let output = bed.status(&["show", &lines[2], "--raw"]).expect(0);
    assert_eq!(output.stdout, evil("out"));
    assert!(output.stdout.contains(is_unsafe), "what the other tests look for is there to be found");
    // On a terminal it is refused before anything is asked of Redis.
    for args in [&["show", "abcd", "--raw"][..], &["tasks", "--state", "todo", "--raw"]] {
        let mut command = bed.cli("distcomp-status").args(args).into_command();
        command.env("TERM", "xterm");
        let mut session = rexpect::session::spawn_command(command, Some(20_000)).expect("a terminal");
        let said = session.exp_eof().expect("its end");
        assert!(said.contains("--raw is for a pipe"), "{said}");
    }
}

#[test]
fn csv_and_job_log_keep_to_their_form() {
    let (bed, _) = haunted();
    bed.hset("finished_tasks", "shell:0:0:1:sum", "n1: \"=HYPERLINK(\\\"http://evil\\\")\"");
    bed.hset("finished_tasks", "shell:0:0:1:number", "n1: \"-5.25\"");
    let csv = bed.status(&["export", "--format", "csv"]).expect(0).stdout;
    let mut reader = csv::ReaderBuilder::new().from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("fourteen columns")).collect();
    let output_of = |line: &str| {
        let row = rows.iter().find(|row| &row[13] == line).unwrap_or_else(|| panic!("no row of {line}:\n{csv}"));
        row[12].to_owned()
    };
    assert_eq!(output_of("shell:0:0:1:sum"), "'=HYPERLINK(\"http://evil\")", "no spreadsheet computes it");
    assert_eq!(output_of("shell:0:0:1:number"), "-5.25");
    let log = bed.status(&["export", "--format", "joblog"]).expect(0).stdout;
    assert!(log.lines().count() > 1 && log.lines().all(|line| line.split('\t').count() == 9), "{log}");
}

#[test]
fn worker_logs_one_line_per_event_for_any_task_text() {
    for format in ["text", "json"] {
        let bed = Bed::new();
        let mut lines: Vec<String> = vec![
            evil("shell:0:0:1:exit 3 # "),
            evil("shell:0:0:1:nope # "),
            evil("bad:0:0:1:"),
            "shell:0:0:1:printf '\\033[2J\\nFORGED\\n' >&2; printf '\\033]0;x\\007'; exit 4".to_owned(),
            "shell:0:0:1:sleep 600".to_owned(),
        ];
        lines.sort();
        bed.hset_all("todo_tasks", &lines);
        let worker = bed.worker_through(&["env", "RUST_LOG=trace"], "w", json!({}), &["--log-format", format]);
        wait_until("the others to fail", SOON, || {
            holds_for(bed.counts() == [0, 1, 0, 4], format!("{:?}", bed.counts()))
        });
        bed.ctl(&["cancel", "--state", "in_progress", "--yes"]).expect(0);
        worker.signal(Signal::SIGTERM);
        let mut worker = worker;
        assert_eq!(worker.wait_exit(Duration::from_secs(30)), 0);
        let log = worker.log();
        is_clean("the log", &log);
        for line in log.lines() {
            let is_event = match format {
                "json" => serde_json::from_str::<Value>(line).is_ok_and(|event| event["level"].is_string()),
                _ => line.starts_with("20") && line.contains('Z'),
            };
            assert!(is_event, "no event of ours: {line:?}");
        }
    }
}

#[test]
fn the_submitter_quotes_bad_lines_and_file_names_safely() {
    let bed = Bed::new();
    let text = format!("{}\nshell:0:0:1:ok\n", EVIL.replace(['\r', '\u{2028}', '\u{85}'], ""));
    all_clean(&bed.submit(&["-"], &text).expect(2));
    let name = bed.file("tasks\u{1b}[2J\u{202e}", "shell:x:0:1:a\n");
    all_clean(&bed.submit(&[&name], "").expect(2));
    all_clean(&bed.submit(&[&format!("{name}-not-there")], "").expect(2));
    let conf = bed.file("conf\u{1b}[2J.json", format!("{{\"redis_hots\": 1, \"task_shell\": {}}}", json!(EVIL)));
    for name in ["distcomp-worker", "distcomp-submit", "distcomp-status", "distcomp-ctl"] {
        let args: &[&str] = match name {
            "distcomp-worker" => &["--check"],
            "distcomp-submit" => &["-"],
            "distcomp-ctl" => &["pause", "--yes"],
            _ => &[],
        };
        let output = crate::support::Cli::new(bin(name)).args(["--config", &conf]).args(args).dir(bed.path()).run();
        all_clean(&output);
        output.expect(2);
    }
}
