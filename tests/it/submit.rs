//! `distcomp-submit`: what goes in, what is skipped, and what it says.
use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Bed, SOON, holds_for, read, stays, wait_until};

/// Ten tasks, of which three are queued, two run, one is finished and one is out of retries.
fn seeded() -> (Bed, String) {
    let bed = Bed::new();
    let line = |at: usize| format!("shell:1:1:1:echo {at}");
    bed.hset_all("todo_tasks", [line(0), line(1), line(2)]);
    bed.hset("failed_tasks", line(2), "other,");
    bed.hset("in_progress_tasks", line(3), "other");
    bed.hset("in_progress_tasks", line(4), "other");
    bed.hset("finished_tasks", line(5), "other: \"5\"");
    bed.hset("failed_tasks", line(6), "other,other,");
    bed.hset("task_fail_reason", line(6), "\"exit 1\"");
    let text: String = (0..10).map(|at| line(at) + "\n").collect();
    (bed, text)
}

#[test]
fn it_says_what_it_did() {
    let (bed, text) = seeded();
    let file = bed.file("task", &text);
    let done = "added 3 tasks; skipped 3 already queued, 2 running, 1 finished, 1 failed";
    bed.submit(&[&file], "").expect(0).prints_line(done);
    assert_eq!(bed.counts(), [6, 2, 1, 2]);
}

#[test]
fn the_same_file_twice_adds_nothing() {
    let bed = Bed::new();
    let file = bed.file("task", (0..120).map(|at| format!("shell:1:1:1:echo {at}\n")).collect::<String>());
    let none = "skipped 0 already queued, 0 running, 0 finished, 0 failed";
    bed.submit(&[&file], "").expect(0).prints_line(&format!("added 120 tasks; {none}"));
    bed.submit(&[&file], "")
        .expect(0)
        .prints_line("added 0 tasks; skipped 120 already queued, 0 running, 0 finished, 0 failed");
    assert_eq!(bed.count("todo_tasks"), 120);
}

#[test]
fn a_line_that_occurs_twice_is_one_task() {
    let bed = Bed::new();
    bed.submit(&["-"], "shell:1:1:1:a\nshell:1:1:1:a\nshell:1:1:1:a # 2\n").expect(0);
    assert_eq!(bed.count("todo_tasks"), 2);
}

#[test]
fn rerun_requeues_ended_tasks_and_leaves_running_ones() {
    let (bed, text) = seeded();
    let file = bed.file("task", &text);
    bed.submit(&["--rerun", &file], "").expect(0);
    assert_eq!(bed.counts(), [8, 2, 0, 1], "the one failure left is the queued task's");
    assert_eq!(bed.table("in_progress_tasks").into_values().collect::<Vec<_>>(), ["other", "other"]);
    assert_eq!(bed.count("task_fail_reason"), 0);
}

#[test]
fn rerun_runs_a_finished_task_once_more() {
    let bed = Bed::new();
    let out = bed.out("runs");
    let line = format!("shell:0:0:1:echo ran >> {out}");
    bed.add([&line]);
    bed.burst("w");
    bed.add([&line]);
    bed.burst("w");
    assert_eq!(read(&out), "ran\n", "a finished task is not run again by itself");
    bed.submit(&["--rerun", "-"], &line).expect(0);
    bed.burst("w");
    assert_eq!(read(&out), "ran\nran\n");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn json_is_one_object_and_nothing_else() {
    let (bed, text) = seeded();
    let output = bed.submit(&["--json", "-"], &text).expect(0);
    assert_eq!(output.json()["added"], 3, "{output}");
}

#[test]
fn wait_ends_with_0_when_all_went_well() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    bed.submit(&["--wait", "-"], "shell:0:0:1:sleep 0.3\nshell:0:0:1:true\n").expect(0);
    assert_eq!(bed.counts(), [0, 0, 2, 0]);
}

#[test]
fn wait_ends_with_1_when_a_task_failed() {
    let bed = Bed::with(json!({"max_retry_per_task": 2}));
    let _worker = bed.worker("w");
    bed.submit(&["--wait", "-"], "shell:0:0:1:exit 3\nshell:0:0:1:true\n").expect(1);
    assert_eq!(bed.counts(), [0, 0, 1, 1]);
}

#[test]
fn wait_follows_the_tasks_that_were_there_already() {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:sleep 1"]);
    let _worker = bed.worker("w");
    bed.submit(&["--wait", "-"], "shell:0:0:1:sleep 1\n").expect(0);
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn an_interrupted_wait_ends_with_130_or_143_and_the_tasks_stay() {
    let bed = Bed::new();
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let line = format!("shell:0:0:1:echo {code}");
        let started = bed.cli("distcomp-submit").args(["--wait", "-"]).stdin(&line).start();
        wait_until("the task in the queue", SOON, || {
            if bed.table("todo_tasks").contains_key(&line) { Ok(()) } else { Err(format!("{:?}", bed.counts())) }
        });
        // Nothing that can be seen from outside tells that the wait has begun.
        std::thread::sleep(Duration::from_millis(300));
        started.signal(signal);
        let output = started.finish();
        assert!(output.took < SOON, "{output}");
        output.expect(code);
    }
    assert_eq!(bed.count("todo_tasks"), 2);
}

/// Ends with its test, whatever becomes of that.
struct Waiting(std::process::Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn wait_without_a_terminal_says_once_why_nothing_runs() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    bed.ctl(&["pause", "--yes"]).expect(0);
    let (file, log) = (bed.file("tasks", "shell:0:0:1:true\n"), bed.path().join("said"));
    let mut command = bed.cli("distcomp-submit").args(["--wait", &file]).into_command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("a file"));
    let mut waiting = Waiting(command.spawn().expect("it starts"));
    wait_until("the reason", SOON, || {
        let said = read(&log);
        holds_for(said.contains("paused by") && said.contains("distcomp-ctl resume"), said)
    });
    // Long enough for a second look at the same reason.
    stays("one line of it", Duration::from_secs(5), || {
        let said = read(&log);
        holds_for(said.matches("nothing runs").count() == 1, said)
    });
    bed.ctl(&["resume", "--yes"]).expect(0);
    wait_until("the end of the wait", SOON, || {
        let ended = waiting.0.try_wait().expect("its status");
        holds_for(ended.is_some_and(|status| status.success()), format!("{ended:?}: {}", read(&log)))
    });
    assert!(read(&log).contains("1 task finished, 0 failed"), "{}", read(&log));
}

#[test]
fn a_file_that_is_not_there_is_told_before_redis_is_asked() {
    let nowhere = Bed::new();
    let run = nowhere.cli("distcomp-submit").args(["--redis-url", "redis://127.0.0.1:1", "/no/such/tasks"]).run();
    run.expect(2).says(&["/no/such/tasks"]);
}

#[test]
fn twenty_thousand_lines_go_in_within_seconds() {
    let bed = Bed::new();
    let text: String = (0..20_000).map(|at| format!("shell:1:1:{}:./sim --seed {at}\n", at % 7)).collect();
    let output = bed.submit(&["-"], &text).expect(0);
    assert!(output.took < Duration::from_secs(20), "{output}");
    assert_eq!(bed.count("todo_tasks"), 20_000);
}

#[test]
fn bashisms_are_warned_of_and_submitted() {
    let bed = Bed::new();
    let output = bed.submit(&["-"], "shell:0:0:1:[[ a == a ]] && echo yes\n").expect(0);
    assert!(output.stderr.contains("bash") || output.stderr.contains("task_shell"), "{output}");
    assert_eq!(bed.count("todo_tasks"), 1);
}

#[test]
fn a_wait_whose_tasks_vanish_ends_with_1_and_says_so() {
    type Vanish = fn(&Bed);
    let ways: [(&str, Vanish); 3] = [
        ("purge", |bed| drop(bed.ctl(&["purge", "--all", "--yes"]).expect(0))),
        ("FLUSHALL", |bed| ::redis::cmd("FLUSHALL").exec(&mut bed.redis.con()).expect("FLUSHALL")),
        ("HDEL", |bed| {
            ::redis::cmd("HDEL").arg("todo_tasks").arg("shell:0:0:1:true").exec(&mut bed.redis.con()).expect("HDEL");
        }),
    ];
    for (name, vanish) in ways {
        let bed = Bed::new();
        let started = bed.cli("distcomp-submit").args(["--wait", "-"]).stdin("shell:0:0:1:true\n").start();
        bed.wait_counts(SOON, [1, 0, 0, 0]);
        vanish(&bed);
        let output = started.finish();
        assert!(output.stderr.contains("1 disappeared"), "{name}: {output}");
        output.expect(1);
    }
}

#[test]
fn a_wait_for_cancelled_tasks_ends_with_1() {
    let bed = Bed::new();
    let started = bed.cli("distcomp-submit").args(["--wait", "-"]).stdin("shell:0:0:1:true\n").start();
    bed.wait_counts(SOON, [1, 0, 0, 0]);
    bed.ctl(&["cancel", "--all", "--yes"]).expect(0);
    started.finish().expect(1).says(&["cancelled"]);
}

#[test]
fn a_file_that_is_no_task_file_is_named_as_what_it_is() {
    let bed = Bed::new();
    let utf16: Vec<u8> = "\u{feff}shell:0:0:1:a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let program = fs::read("/bin/sh").expect("a program");
    for (bytes, words) in [
        (&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], ["gzip", "zcat"]),
        (b"\x28\xb5\x2f\xfd\x04\0", ["zstd", "zstdcat"]),
        (&utf16, ["UTF-16", "iconv"]),
        (&utf16[2..], ["UTF-16", "iconv"]),
        (&program, ["a program", "one task a line"]),
    ] {
        let file = bed.file("odd", bytes);
        let output = bed.submit(&[&file], "").expect(2);
        assert!(words.iter().all(|word| output.stderr.contains(word)), "{words:?}: {output}");
        assert_eq!(output.stderr.lines().count(), 1, "{output}");
    }
    bed.submit(&[&bed.path().display().to_string()], "").expect(2).says(&["is a directory"]);
    assert_eq!(bed.counts(), [0; 4]);
}

#[test]
fn a_file_of_carriage_returns_alone_has_lines() {
    let bed = Bed::new();
    let file = bed.file("mac", "# old\rshell:0:0:1:one\rshell:0:0:1:two\r");
    bed.submit(&[&file], "")
        .expect(0)
        .prints_line("added 2 tasks; skipped 0 already queued, 0 running, 0 finished, 0 failed");
    assert_eq!(bed.table("todo_tasks").into_keys().collect::<Vec<_>>(), ["shell:0:0:1:one", "shell:0:0:1:two"]);
    bed.submit(&["-"], "shell:0:0:1:three\r")
        .expect(0)
        .prints_line("added 1 task; skipped 0 already queued, 0 running, 0 finished, 0 failed");
}

#[test]
fn a_bashism_that_sh_takes_silently_is_warned_of() {
    let bed = Bed::new();
    let file =
        bed.file("tasks", "shell:0:0:1:cat out.{a,b}\nshell:0:0:1:awk '{print $1,$2}' f\nshell:0:0:1:echo -e x\n");
    let output = bed.submit(&["--dry-run", &file], "").expect(0);
    assert!(output.stderr.contains(":1: warning: {a,b}") && output.stderr.contains(":3: warning: echo -e"), "{output}");
    assert!(!output.stderr.contains(":2:"), "{output}");
}
