//! The same where something is drawn, followed or asked: on a terminal, along a stream, in pages.
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rexpect::session::{PtySession, spawn_command};
use serde_json::Value;

use super::{EVIL, FORGED, evil, haunted, is_clean, is_unsafe};
use crate::support::{Bed, Cli, Dashboard, SOON, holds_for, request, task_id, wait_until};

/// One of the commands on a terminal of its own.
fn on_terminal(cli: Cli) -> PtySession {
    let shown = cli.into_command();
    let mut command = Command::new("sh");
    command.args(["-c", "stty rows 40 cols 200 -echo; exec \"$0\" \"$@\""]).arg(shown.get_program());
    command.args(shown.get_args()).envs(shown.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    spawn_command(command, Some(30_000)).expect("a terminal")
}

/// A screen is drawn with escapes; none of these is what strangers wrote, nor does a line of theirs stand at the beginning of one.
#[track_caller]
fn is_drawn_clean(what: &str, bytes_as_chars: &str) {
    // Each byte of the terminal comes as a character of its own.
    let bytes: Vec<u8> = bytes_as_chars.chars().filter_map(|c| u8::try_from(c).ok()).collect();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let drives = |c: char| is_unsafe(c) && !matches!(c, '\u{1b}' | '\r');
    let bad = text.chars().find(|c| drives(*c));
    assert!(bad.is_none(), "{what} draws {bad:?}:\n{text:?}");
    for theirs in ["\u{1b}]0;", "\u{1b}c", "\nFORGED", "\ndistcomp-worker: FORGED"] {
        assert!(!text.contains(theirs), "{what} draws {theirs:?}:\n{text:?}");
    }
    // That the text is there to be found at all, as an escape.
    assert!(text.contains("owned"), "{what} does not show what strangers wrote:\n{text:?}");
}

#[test]
fn the_live_view_draws_nothing_that_strangers_wrote() {
    let (bed, _) = haunted();
    for keys in ["1", "2", "3", "4", "3\r", "4\r"] {
        let mut session = on_terminal(bed.cli("distcomp-status").args(["watch", "--interval", "0.2"]));
        let begun = session.exp_string("owned").expect("what strangers wrote");
        session.send(keys).and_then(|_| session.flush()).expect("keys");
        // What a page shows of it comes with the next picture at the latest.
        let seen = session.exp_string("owned");
        session.send("q").and_then(|_| session.flush()).expect("a key");
        let rest = session.exp_eof().expect("its end");
        let all = format!("{begun}owned{}{rest}", seen.map(|text| text + "owned").unwrap_or_default());
        is_drawn_clean(&format!("watch, {keys:?}"), &all);
    }
}

#[test]
fn questions_before_a_change_show_only_safe_text() {
    let (bed, lines) = haunted();
    let worker = evil("w");
    let changes: [&[&str]; 6] = [
        &["cancel", &lines[0]],
        &["requeue", "--state", "failed"],
        &["purge", "--state", "finished"],
        &["drain", &worker],
        &["reclaim", &worker],
        &["drain", "--all"],
    ];
    for change in changes {
        let mut session = on_terminal(bed.cli("distcomp-ctl").args(change));
        let asked = session.exp_string("?");
        session.send("n\n").and_then(|_| session.flush()).expect("an answer");
        let rest = session.exp_eof().expect("its end");
        let all = asked.map(|text| text + "?").unwrap_or_default() + &rest;
        let bytes: Vec<u8> = all.chars().filter_map(|c| u8::try_from(c).ok()).collect();
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        // Styles of our own are all that a terminal is told here.
        let text = anstream_free(&text);
        is_clean(&format!("{change:?}"), &text);
    }
    let paused = bed.status(&["explain"]).expect(0);
    assert!(paused.stdout.contains("somebody\\x1b]0;owned"), "who paused is shown, as an escape: {paused}");
}

/// Without the colours that we paint with (`ESC [ digits m`); anything else of the kind stays, to be found.
fn anstream_free(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        let (before, tail) = (&rest[..at], &rest[at + 2..]);
        out.push_str(before);
        let end = tail.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(tail.len());
        if tail[end..].starts_with('m') {
            rest = &tail[end + 1..];
        } else {
            out.push_str("\u{1b}[");
            rest = tail;
        }
    }
    out + rest
}

#[test]
fn waiting_submitter_draws_no_text_of_its_tasks() {
    let bed = Bed::new();
    let print = "printf '\\033]0;owned\\007\\033c\\342\\200\\256\\nFORGED\\n' >&2; exit 3";
    let lines = [format!("shell:0:0:1:{print} # \u{1b}]0;owned\u{7}\u{202e}"), format!("shell:0:0:1:{print} # plain")];
    let file = bed.file("tasks", lines.join("\n"));
    let _worker = bed.worker("w");
    let mut session = on_terminal(bed.cli("distcomp-submit").args(["--wait", &file]));
    let all = session.exp_eof().expect("its end");
    is_drawn_clean("submit --wait", &all);
    let mut session = on_terminal(bed.cli("distcomp-worker").args(["--local", &file, "--fresh"]));
    let all = session.exp_eof().expect("its end");
    is_drawn_clean("worker --local", &all);
}

#[test]
fn what_a_task_prints_is_followed_without_its_escapes() {
    let bed = Bed::new();
    let go = bed.out("go");
    let print = "printf '\\033]0;owned\\007\\033[2J\\342\\200\\256\\302\\233\\177\\r\\n'";
    let line = format!("shell:0:0:1:{print}; {print} >&2; while [ ! -e {go} ]; do sleep 0.05; done; exit 3");
    bed.add([&line]);
    let _worker = bed.worker("w");
    bed.wait_running(&line);
    for terminal in [false, true] {
        let cli = bed.cli("distcomp-status").args(["logs", &line, "--follow"]);
        if terminal {
            let mut session = on_terminal(cli);
            let seen = session.exp_string("owned").expect("its output");
            std::fs::write(&go, "").expect("a file");
            is_drawn_clean("logs --follow", &(seen + "owned" + &session.exp_eof().expect("its end")));
        } else {
            let started = cli.start();
            let now = bed.status(&["logs", &line]).expect(0);
            is_clean("logs", &now.stdout);
            is_clean("logs", &now.stderr);
            kill(Pid::from_raw(i32::try_from(started.pid()).expect("a pid")), Signal::SIGINT).expect("a signal");
            let followed = started.finish();
            is_clean("logs --follow", &followed.stdout);
            is_clean("logs --follow", &followed.stderr);
        }
    }
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    let later = bed.status(&["logs", &line]).expect(0);
    is_clean("logs", &later.stdout);
    is_clean("logs", &later.stderr);
}

#[test]
fn the_event_log_is_lines_of_json_whatever_was_written_into_it() {
    let (bed, lines) = haunted();
    bed.ctl(&["cancel", &lines[0], "--yes"]).expect(0);
    bed.ctl(&["requeue", &lines[3], "--yes"]).expect(0);
    let mut con = bed.redis.con();
    let tab = |parts: &[&str]| parts.join("\t");
    let (line, worker) = (evil("shell:0:0:1:x"), evil("w"));
    for entry in [
        tab(&["W", "attached", &worker]),
        tab(&["Q", "paused", &evil("somebody")]),
        tab(&["A", "submitted", "2", &line, &line]),
        tab(&["S", &worker]) + "\nF\t" + &line,
        evil("nothing known"),
        String::new(),
    ] {
        redis::cmd("XADD").arg("distcomp:events").arg("*").arg("e").arg(entry).exec(&mut con).expect("XADD");
    }
    redis::cmd("XADD").arg("distcomp:events").arg("*").arg("x").arg(b"\xff\xfe").exec(&mut con).expect("XADD");
    let output = bed.status(&["events", "--limit", "0"]).expect(0);
    is_clean("events", &output.stdout);
    is_clean("events", &output.stderr);
    assert!(output.stdout.contains("owned"), "{output}");
    for line in output.stdout.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|event| event["event"].is_string()), "{line:?}");
    }
}

#[test]
fn pages_and_metrics_show_only_safe_text() {
    let (bed, lines) = haunted();
    let markup = "\"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}";
    bed.hset("todo_tasks", format!("shell:0:0:1:echo {markup}"), "");
    let site = Dashboard::start(&bed);
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let asked = encode(&format!("{markup}{EVIL}{FORGED}"));
    let mut paths: Vec<String> =
        ["/", "/workers", "/failures", "/metrics", "/api/v1/history"].map(str::to_owned).into();
    for state in ["todo", "in_progress", "finished", "failed"] {
        paths.push(format!("/tasks?state={state}"));
        paths.push(format!("/tasks?state={state}&include={asked}"));
        paths.push(format!("/tasks?state={state}&include=owned&exclude={asked}"));
        paths.push(format!("/tasks?state={state}&worker={}", encode(&evil("w"))));
    }
    paths.extend(lines.iter().map(|line| format!("/task/{}", task_id(line))));
    paths.push(format!("/task/{asked}"));
    paths.push(format!("/{asked}"));
    paths.push(format!("/tasks?state={asked}"));
    for path in &paths {
        let answer = site.get(path, &[]);
        assert!(answer.status < 500, "{path}: {answer:?}");
        // A filter that was asked for stands in its field as it was asked for, or it would be another one the next time.
        let fields = answer.body.split("value=\"").map(|part| part.split_once('"').map_or(part, |(_, rest)| rest));
        let bad = fields
            .skip(1)
            .chain(answer.body.split("value=\"").next())
            .find_map(|text| text.chars().find(|c| is_unsafe(*c)));
        assert!(bad.is_none(), "{path} holds {bad:?}:\n{:?}", answer.body);
        for theirs in ["<script>alert", "<img src=x"] {
            assert!(!answer.body.contains(theirs), "{path} holds {theirs}:\n{}", answer.body);
        }
        assert!(!answer.head.contains("owned") && !answer.head.contains("FORGED"), "{path}: {}", answer.head);
    }
    assert!(site.get("/tasks?state=todo", &[]).body.contains("&#60;script&#62;"), "it is there to be found");
    // Every line of the figures is of the form that Prometheus reads.
    let figures = site.get("/metrics", &[]).body;
    assert!(figures.contains("owned"), "a name of a worker is a label: {figures}");
    for line in figures.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok(), "{line:?}");
        let is_whole = series.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || series.ends_with('}');
        assert!(is_whole && ["distcomp_", "process_"].iter().any(|from| series.starts_with(from)), "{line:?}");
    }
    // A request line that cannot be read is no reason to repeat it.
    let odd = request(&site.at, "GET", "/%00%1b", &[("Host", &site.at)], b"", SOON);
    assert!(odd.status == 404 || odd.status == 400, "{odd:?}");
    assert!(!odd.body.contains('\u{1b}'), "{odd:?}");
    wait_until("serve to have said nothing of it", SOON, || {
        let said = site.said();
        holds_for(!said.contains(is_unsafe), said)
    });
}

/// The checks above can fail.
#[test]
fn what_is_looked_for_is_found() {
    assert_eq!(anstream_free("a\u{1b}[1mb\u{1b}[0;31mc\u{1b}[2Jd"), "abc\u{1b}[2Jd");
    for drawn in ["owned\u{1b}]0;x", "owned\u{7f}", "owned \u{1b}c", "owned\nFORGED", "nothing"] {
        assert!(std::panic::catch_unwind(|| is_drawn_clean("it", drawn)).is_err(), "{drawn:?}");
    }
    is_drawn_clean("it", "\u{1b}[2Jowned\r\n");
}
