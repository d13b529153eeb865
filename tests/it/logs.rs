//! `distcomp-status logs`: what a task prints, live and afterwards, and at no cost when nobody looks.
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, Redis, SOON, ServerOptions, holds_for, stays, task_id, wait_until};

/// A follower whose output is read while it runs.
struct Follower {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Follower {
    fn start(bed: &Bed, line: &str) -> Self {
        let mut command = bed.cli("distcomp-status").args(["logs", line, "--follow"]).into_command();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        line
    }

    /// The rest of stdout, stderr, and the exit code.
    fn finish(mut self) -> (String, String, Option<i32>) {
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).expect("text");
        self.child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
        (out, err, self.child.wait().expect("its status").code())
    }
}

/// Ends by itself when the file is there.
fn until(file: &str) -> String {
    format!("while [ ! -e {file} ]; do sleep 0.05; done")
}

#[test]
fn what_a_task_prints_is_seen_while_it_runs() {
    let bed = Bed::new();
    let go = bed.out("go");
    // What is seen of stdout comes last: the other is there by then.
    let line = format!("shell:0:0:1:echo aside >&2; echo begun; {}; echo done", until(&go));
    bed.add([&line]);
    let _worker = bed.worker("w");
    let mut follower = Follower::start(&bed, &line);
    assert_eq!(follower.line(), "begun\n");
    assert_eq!(bed.counts(), [0, 1, 0, 0], "it still runs");
    // Without --follow: what there is, and no waiting.
    let now = bed.status(&["logs", &task_id(&line)]).expect(0);
    assert_eq!(now.stdout, "begun\n", "{now}");
    assert!(now.stderr.contains("aside"), "{now}");
    assert_eq!(bed.status(&["logs", &line, "--stderr"]).expect(0).stdout, "aside\n");
    fs::write(&go, "").expect("a file");
    let (out, err, code) = follower.finish();
    assert_eq!((out.as_str(), code), ("done\n", Some(0)), "{err}");
    assert!(err.contains("aside") && err.contains("finished: attempt 1 on w, exit 0"), "{err}");
}

#[test]
fn a_follower_waits_for_a_task_and_tells_of_its_failure() {
    let bed = Bed::new();
    let line = "shell:0:0:1:echo before; echo why >&2; exit 3";
    bed.add([line]);
    let follower = Follower::start(&bed, line);
    let _worker = bed.worker("w");
    let (out, err, code) = follower.finish();
    assert_eq!((out.as_str(), code), ("before\n", Some(1)), "{err}");
    assert!(err.contains("why") && err.contains("out of retries: attempt 1 on w, exit 3"), "{err}");
    // Afterwards the same from the evidence.
    let later = bed.status(&["logs", line]).expect(0);
    assert!(later.stdout == "before\n" && later.stderr.contains("why"), "{later}");
}

#[test]
fn two_followers_each_hear_all_of_a_long_output() {
    let bed = Bed::with(json!({"max_inline_output_bytes": 10_000_000}));
    let go = bed.out("go");
    let line = format!("shell:0:0:1:seq 100000; {}; seq 100001 120000", until(&go));
    bed.add([&line]);
    let _worker = bed.worker("w");
    bed.wait_running(&line);
    let mut followers = [Follower::start(&bed, &line), Follower::start(&bed, &line)];
    for follower in &mut followers {
        for number in 1..=100_000 {
            assert_eq!(follower.line(), format!("{number}\n"));
        }
    }
    fs::write(&go, "").expect("a file");
    let rest: String = (100_001..=120_000).map(|number| format!("{number}\n")).collect();
    for follower in followers {
        let (out, err, code) = follower.finish();
        assert!(out == rest, "{} bytes, {} wanted\n{err}", out.len(), rest.len());
        assert_eq!(code, Some(0));
    }
}

#[test]
fn long_output_shows_both_ends_and_names_the_gap() {
    let bed = Bed::with(json!({"max_inline_output_bytes": 100_000}));
    let line = "shell:0:0:1:seq 200000";
    bed.add([line]);
    let follower = Follower::start(&bed, line);
    let _worker = bed.worker("w");
    let (out, err, code) = follower.finish();
    assert!(out.starts_with("1\n2\n") && out.ends_with("\n200000\n"), "{} bytes\n{err}", out.len());
    assert!(err.contains("not kept") || out.lines().count() == 200_000, "{err}");
    assert_eq!(code, Some(0));
    // Afterwards the whole is in its file, which is on this host.
    let whole: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    let later = bed.status(&["logs", line]).expect(0);
    assert!(later.stdout == whole, "{} bytes, {} wanted", later.stdout.len(), whole.len());
}

#[test]
fn nothing_is_published_once_nobody_listens() {
    let bed = Bed::new();
    let line = "shell:0:0:1:while :; do echo noise; sleep 0.02; done # 3623";
    bed.add([line]);
    let _worker = bed.worker("w");
    bed.wait_running(line);
    let published = || -> u64 {
        let info: String = ::redis::cmd("INFO").arg("commandstats").query(&mut bed.redis.con()).expect("INFO");
        let calls =
            info.lines().find_map(|line| line.strip_prefix("cmdstat_publish:calls=")?.split(',').next()?.parse().ok());
        calls.unwrap_or(0)
    };
    let before = published();
    stays("no message while nobody follows", Duration::from_secs(1), || holds_for(published() == before, "published"));
    let mut follower = Follower::start(&bed, line);
    assert_eq!(follower.line(), "noise\n");
    follower.child.kill().expect("it dies");
    follower.child.wait().expect("its status");
    // The first message that nobody hears is the last.
    wait_until("silence", SOON, || {
        let then = published();
        std::thread::sleep(Duration::from_millis(700));
        holds_for(published() == then, "it goes on")
    });
    let keys = bed.keys();
    assert!(!keys.iter().any(|key| key.contains("output")), "nothing is stored: {keys:?}");
}

#[test]
fn a_follower_outlives_a_restart_of_redis() {
    let mut bed = Bed::on(Redis::start(ServerOptions { durable: true, ..ServerOptions::default() }), json!({}));
    let go = bed.out("go");
    let line = format!("shell:0:0:1:echo begun; {}; echo done", until(&go));
    bed.add([&line]);
    let _worker = bed.worker("w");
    let mut follower = Follower::start(&bed, &line);
    assert_eq!(follower.line(), "begun\n");
    bed.redis.kill9();
    bed.redis.start_again();
    fs::write(&go, "").expect("a file");
    let (out, err, code) = follower.finish();
    assert_eq!((out.as_str(), code), ("done\n", Some(0)), "{err}");
}

#[test]
fn output_cannot_drive_the_terminal_and_raw_is_for_pipes() {
    let bed = Bed::new();
    let line = "shell:0:0:1:printf 'a\\033[2Jb\\tc\\r\\n'; printf '\\377' >&2; exit 1";
    bed.add([line]);
    bed.burst("w");
    let seen = bed.status(&["logs", line]).expect(0);
    assert_eq!(seen.stdout, "a\\x1b[2Jb\tc\n", "{seen}");
    assert_eq!(bed.status(&["logs", line, "--raw", "--stdout"]).expect(0).stdout, "a\x1b[2Jb\tc\r\n");
    assert_eq!(bed.status(&["logs", line, "--stderr"]).expect(0).stdout, "\u{fffd}");
}

#[test]
fn one_that_waits_says_so() {
    let bed = Bed::new();
    bed.add(["shell:1000000:0:1:never"]);
    let seen = bed.status(&["logs", "shell:1000000:0:1:never"]).expect(0);
    assert!(seen.stdout.is_empty() && seen.stderr.contains("it waits"), "{seen}");
}

#[test]
fn the_gone_last_words_are_made_up_for_from_the_record() {
    let bed = Bed::new();
    let line = "shell:0:0:1:echo fine";
    bed.add([line]);
    bed.burst("w");
    for args in [&["logs", line][..], &["logs", line, "--follow"]] {
        let seen = bed.status(args).expect(0);
        assert!(seen.stdout == "fine\n" && seen.stderr.contains("finished"), "{seen}");
    }
}

#[test]
fn as_json_each_line_is_an_object_live_and_afterwards() {
    let bed = Bed::new();
    let go = bed.out("go");
    let line =
        format!("shell:0:0:1:printf 'a \\033[2J\\tb\\r\\nc'; {}; echo d; printf 'e\\377' >&2; exit 3", until(&go));
    bed.add([&line]);
    let mut follower = bed.cli("distcomp-status").args(["logs", &line, "--follow", "--json"]).into_command();
    let mut child = follower.stdout(Stdio::piped()).spawn().expect("a follower");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    let _worker = bed.worker_with("w", json!({"max_retry_per_task": 1}), &[]);
    let object = |stream: &str, text: &str| json!({"stream": stream, "text": text});
    let parsed = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    assert_eq!(lines.next().map(parsed), Some(object("stdout", "a \u{1b}[2J\tb\r\n")), "while it runs");
    fs::write(&go, "").expect("a file");
    let mut rest: Vec<_> = lines.map(parsed).collect();
    rest.sort_by_key(ToString::to_string);
    assert_eq!(rest, [object("stderr", "e\u{fffd}"), object("stdout", "cd\n")]);
    assert_eq!(child.wait().expect("its status").code(), Some(1), "it waited, and the task failed");
    let later = bed.status(&["logs", &line, "--json"]).expect(0);
    assert!(!later.stdout.contains(['\u{1b}', '\r', '\t']), "{later}");
    let all = [object("stdout", "a \u{1b}[2J\tb\r\n"), object("stdout", "cd\n"), object("stderr", "e\u{fffd}")];
    assert_eq!(later.json_lines(), all);
    bed.status(&["logs", &line, "--json", "--raw"]).expect(2);
}

#[test]
fn a_record_that_names_a_pipe_holds_nobody_up() {
    let bed = Bed::new();
    let line = "shell:0:0:1:never ran";
    let pipe = bed.out(&format!("{}.1.w.out", task_id(line)));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let host = std::process::Command::new("uname").arg("-n").output().expect("uname").stdout;
    let host = String::from_utf8(host).expect("a name");
    let told = serde_json::to_string(&format!("head\n... 9 bytes in {}:{pipe} ...\ntail", host.trim())).expect("JSON");
    bed.hset("finished_tasks", line, format!("w: {told}"));
    bed.status(&["logs", line]).expect(0);
}

#[test]
fn follower_continues_with_next_attempt_after_worker_death() {
    let bed = Bed::with(json!({"health_report_interval": 0.2, "worker_dead_after_seconds": 1}));
    let go = bed.out("go");
    let line = format!("shell:0:0:1:echo attempt $DISTCOMP_ATTEMPT on $DISTCOMP_WORKER; {}; exit 3", until(&go));
    bed.add([&line]);
    let mut dead = bed.worker_with("dead", json!({"max_retry_per_task": 1}), &[]);
    let mut follower = Follower::start(&bed, &line);
    assert_eq!(follower.line(), "attempt 1 on dead\n");
    let _next = bed.worker_with("next", json!({"max_retry_per_task": 1}), &[]);
    bed.wait_alive("next");
    dead.kill9();
    assert_eq!(follower.line(), "attempt 2 on next\n");
    fs::write(&go, "").expect("a file");
    let (out, err, code) = follower.finish();
    assert_eq!((out.as_str(), code), ("", Some(1)), "{err}");
    assert!(err.contains("on next:") && err.contains("out of retries: attempt 2 on next, exit 3"), "{err}");
}

#[test]
fn a_follower_tells_of_a_failure_that_is_tried_again_at_once() {
    let bed = Bed::with(json!({"max_retry_per_task": 3}));
    let (seen, go) = (bed.out("seen"), bed.out("go"));
    let first = format!("test $DISTCOMP_ATTEMPT -gt 1 || {{ echo begun; {}; exit 3; }}", until(&seen));
    let line = format!("shell:0:0:1:{first}; {}", until(&go));
    bed.add([&line]);
    let mut follower = Follower::start(&bed, &line);
    let _workers = [bed.worker("a"), bed.worker("b")];
    assert_eq!(follower.line(), "begun\n");
    fs::write(&seen, "").expect("a file");
    let (_, err, code) = follower.finish();
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("attempt 1 on") && err.contains("exit 3"), "{err}");
    fs::write(&go, "").expect("a file");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
}
