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
    let later = bed.status(&["logs", line]).expect(1);
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
fn of_an_output_beyond_what_is_kept_the_ends_are_shown_and_the_gap_is_named() {
    let bed = Bed::with(json!({"max_inline_output_bytes": 100_000}));
    let line = "shell:0:0:1:seq 200000";
    bed.add([line]);
    let follower = Follower::start(&bed, line);
    let _worker = bed.worker("w");
    let (out, err, code) = follower.finish();
    assert!(out.starts_with("1\n2\n") && out.ends_with("\n200000\n"), "{} bytes\n{err}", out.len());
    assert!(err.contains("bytes are not kept") || out.lines().count() == 200_000, "{err}");
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
    let seen = bed.status(&["logs", line]).expect(1);
    assert_eq!(seen.stdout, "a\\x1b[2Jb\tc\n", "{seen}");
    assert_eq!(bed.status(&["logs", line, "--raw", "--stdout"]).expect(1).stdout, "a\x1b[2Jb\tc\r\n");
    assert_eq!(bed.status(&["logs", line, "--stderr"]).expect(1).stdout, "\u{fffd}");
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
