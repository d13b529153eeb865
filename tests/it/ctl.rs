//! `distcomp-ctl`: requeue, cancel, purge, pause, drain, stop, reclaim; it asks first and never flushes.
use std::fs;
use std::time::Duration;

use rexpect::session::{PtySession, spawn_command};
use serde_json::json;

use crate::support::{
    Bed, SOON, Table, begun, holds_for, lines_of, reason_of, stays, task_id, unique_sleep, wait_until, with_argv,
};

/// Two tasks in each state but the running one, recorded as done by `old`.
fn seeded() -> Bed {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:todo a", "shell:0:0:1:todo b"]);
    for name in ["a", "b"] {
        bed.hset("finished_tasks", format!("shell:0:0:1:fine {name}"), "old: \"x\"");
        bed.hset("failed_tasks", format!("shell:0:0:1:bad {name}"), "old,old,");
        bed.hset("task_fail_reason", format!("shell:0:0:1:bad {name}"), "\"exit 1\"");
    }
    ::redis::cmd("SET").arg("someone-elses").arg("data").exec(&mut bed.redis.con()).expect("SET");
    bed
}

#[test]
fn requeue_moves_failed_tasks_back_and_forgets_their_failures() {
    let bed = seeded();
    bed.ctl(&["requeue", "--state", "failed", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [4, 0, 2, 0]);
    assert_eq!(bed.table("task_fail_reason"), Table::new());
}

#[test]
fn quiet_says_nothing_where_nothing_is_asked() {
    let bed = seeded();
    for command in [["requeue", "--state", "failed"], ["purge", "--state", "failed"]] {
        let with = |flags: &[&str], code| {
            bed.hset("failed_tasks", "shell:0:0:1:bad c", "old,");
            bed.ctl(&[&command[..], flags].concat()).expect(code)
        };
        assert!(with(&["--yes"], 0).stderr.contains("will "), "{command:?}");
        let quiet = with(&["--yes", "-q"], 0);
        assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""), "{command:?}");
        // Where a question is asked, a person must know of what.
        assert!(with(&["-q"], 2).stderr.contains("will "), "{command:?}");
    }
}

#[test]
fn requeue_takes_a_line_an_id_or_what_a_line_includes() {
    let bed = seeded();
    bed.ctl(&["requeue", "shell:0:0:1:bad a", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [3, 0, 2, 1]);
    bed.ctl(&["requeue", &task_id("shell:0:0:1:bad b")[..10], "--yes"]).expect(0);
    assert_eq!(bed.counts(), [4, 0, 2, 0]);
    bed.ctl(&["requeue", "--state", "finished", "--include", "fine a", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [5, 0, 1, 0]);
}

#[test]
fn a_requeued_task_runs_again() {
    let bed = Bed::new();
    let gate = bed.out("gate");
    let line = format!("shell:0:0:1:test -e {gate}");
    bed.add([&line]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 0, 1]);
    bed.file("gate", "");
    bed.ctl(&["requeue", "--state", "failed", "--yes"]).expect(0);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn task_requeued_many_times_while_running_ends_once() {
    let bed = Bed::with(json!({"max_task_per_worker": 3}));
    let gate = bed.out("gate");
    let line = format!("shell:0:0:1:while ! test -e {gate}; do sleep 0.05; done");
    let mut worker = bed.worker("w");
    bed.add([&line]);
    for _ in 0..8 {
        bed.wait_running(&line);
        bed.ctl(&["requeue", &line, "--yes"]).expect(0);
    }
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
}

#[test]
fn an_attempt_that_is_requeued_while_it_runs_leaves_its_record() {
    let bed = Bed::new();
    let gate = bed.out("gate");
    let out = bed.out("attempts");
    let line = format!("shell:0:0:1:echo $DISTCOMP_ATTEMPT >> {out}; while ! test -e {gate}; do sleep 0.05; done");
    let _worker = bed.worker("w");
    bed.add([&line]);
    wait_until("the first attempt", SOON, || holds_for(lines_of(&out) == ["1"], "not yet"));
    bed.ctl(&["requeue", &line, "--yes"]).expect(0);
    wait_until("the second attempt", SOON, || holds_for(lines_of(&out) == ["1", "2"], format!("{:?}", lines_of(&out))));
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    let shown = bed.status(&["show", &line, "--json"]).expect(0).stdout;
    let task: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let attempts: Vec<_> = task["attempts"]
        .as_array()
        .expect("attempts")
        .iter()
        .map(|one| (&one["attempt"], &one["worker"], &one["result"]))
        .collect();
    assert_eq!(attempts, [(&json!(1), &json!("w"), &json!("cancelled")), (&json!(2), &json!("w"), &json!("exit 0"))]);
}

#[test]
fn cancel_kills_a_running_task_and_it_ends_in_failed() {
    let bed = Bed::with(json!({"max_retry_per_task": 4}));
    let mark = unique_sleep();
    let line = format!("shell:0:0:1:(setsid sleep {mark} &); sleep {mark}");
    let mut worker = bed.worker("w");
    bed.add([&line]);
    wait_until("the tree to grow", SOON, || holds_for(begun(&mark).len() >= 2, "not yet"));
    bed.ctl(&["cancel", &line, "--yes"]).expect(0);
    wait_until("the tree to be gone", Duration::from_secs(10), || {
        let left = with_argv(&mark);
        holds_for(left.is_empty(), format!("{left:?}"))
    });
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    assert!(reason_of(&bed, &line).starts_with("cancelled"));
    stays("it is not retried", Duration::from_secs(1), || {
        let seen = bed.counts();
        holds_for(seen == [0, 0, 0, 1], format!("{seen:?}"))
    });
    assert!(worker.is_running());
}

#[test]
fn cancel_takes_waiting_tasks_too() {
    let bed = seeded();
    bed.ctl(&["cancel", "--state", "todo", "--include", "todo a", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [1, 0, 2, 3]);
    assert!(reason_of(&bed, "shell:0:0:1:todo a").starts_with("cancelled"));
}

#[test]
fn purge_removes_everywhere_and_nothing_else() {
    let bed = seeded();
    bed.ctl(&["purge", "--state", "finished", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [2, 0, 0, 2]);
    bed.ctl(&["purge", "--state", "failed", "--yes"]).expect(0);
    bed.ctl(&["purge", "--state", "todo", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [0, 0, 0, 0]);
    assert_eq!(bed.count("task_fail_reason"), 0);
    assert!(bed.keys().iter().any(|key| key == "someone-elses"), "a foreign key is left alone");
}

#[test]
fn purge_removes_result_files() {
    let bed = Bed::with(json!({"max_inline_output_bytes": 1000}));
    bed.add(["shell:0:0:1:seq 2000"]);
    bed.burst("w");
    let files = || fs::read_dir(bed.out("results")).map_or(0, Iterator::count);
    assert_eq!(files(), 1);
    bed.ctl(&["purge", "--state", "finished", "--yes"]).expect(0);
    assert_eq!(files(), 0);
}

#[test]
fn purge_takes_only_what_is_older_than_it_says() {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:echo fresh"]);
    bed.burst("w");
    bed.ctl(&["purge", "--state", "finished", "--older-than", "1h", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
    wait_until("it to be older than a second", SOON, || {
        bed.ctl(&["purge", "--state", "finished", "--older-than", "1s", "--yes"]).expect(0);
        let seen = bed.counts();
        holds_for(seen == [0, 0, 0, 0], format!("{seen:?}"))
    });
}

#[test]
fn a_dry_run_says_how_many_and_changes_nothing() {
    let bed = seeded();
    for verb in ["requeue", "purge"] {
        let output = bed.ctl(&[verb, "--state", "failed", "--dry-run"]).expect(0);
        assert!(output.all().contains('2'), "{output}");
    }
    assert_eq!(bed.counts(), [2, 0, 2, 2]);
    assert_eq!(bed.count("task_fail_reason"), 2);
}

#[test]
fn without_a_terminal_it_refuses_unless_yes() {
    let bed = seeded();
    for args in [&["purge", "--state", "finished"][..], &["requeue", "--state", "failed"][..], &["stop"][..]] {
        bed.ctl(args).expect(2).says(&["--yes"]);
    }
    assert_eq!(bed.counts(), [2, 0, 2, 2]);
}

#[test]
fn on_a_terminal_it_asks_and_takes_no_for_an_answer() {
    let bed = seeded();
    let ask =
        || spawn_command(bed.cli("distcomp-ctl").args(["purge", "--state", "finished"]).into_command(), Some(10_000));
    let mut session = ask().expect("a terminal");
    session.exp_char('?').expect("a question");
    session.send_line("n").expect("an answer");
    session.exp_eof().expect("the end");
    assert_eq!(bed.count("finished_tasks"), 2);
    let mut session = ask().expect("a terminal");
    session.exp_char('?').expect("a question");
    session.send_line("y").expect("an answer");
    session.exp_eof().expect("the end");
    assert_eq!(bed.count("finished_tasks"), 0);
}

#[test]
fn while_paused_nothing_starts_and_resume_goes_on() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    bed.ctl(&["pause", "--yes"]).expect(0);
    bed.add(["shell:0:0:1:echo x"]);
    stays("nothing starts", Duration::from_secs(1), || {
        let seen = bed.counts();
        holds_for(seen == [1, 0, 0, 0], format!("{seen:?}"))
    });
    bed.ctl(&["resume", "--yes"]).expect(0);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
}

#[test]
fn drain_ends_one_worker_without_killing_its_task() {
    let bed = Bed::with(json!({"max_task_per_worker": 1, "drain_timeout_seconds": 0.2}));
    let (mut one, mut two) = (bed.worker("one"), bed.worker("two"));
    bed.wait_alive("one");
    bed.wait_alive("two");
    let gate = bed.out("gate");
    bed.add(["a", "b"].map(|name| format!("shell:0:0:1:until test -e {gate}; do sleep 0.05; done; echo {name}")));
    bed.wait_counts(SOON, [0, 2, 0, 0]);
    bed.ctl(&["drain", "one", "--yes"]).expect(0);
    wait_until("it to hear of it", SOON, || holds_for(one.log().contains("asked to stop"), one.log()));
    // Longer than a drain by signal would wait for them.
    stays("its task goes on", Duration::from_millis(500), || holds_for(bed.counts() == [0, 2, 0, 0], "it does not"));
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    bed.add(["shell:0:0:1:echo c"]);
    bed.wait_counts(SOON, [0, 0, 3, 0]);
    let by = bed.table("finished_tasks").remove("shell:0:0:1:echo c").expect("it");
    assert!(by.starts_with("two: "), "{by}");
    assert!(two.is_running());
    assert_eq!(one.wait_exit(SOON), 0);
}

#[test]
fn stop_ends_all_workers_and_resume_lifts_it() {
    let bed = Bed::new();
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    bed.ctl(&["stop", "--yes"]).expect(0);
    assert_eq!(worker.wait_exit(SOON), 0);
    assert!(bed.table("todo_tasks").contains_key("WORKER_COMMAND_CLOSE"));
    bed.ctl(&["resume", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [0, 0, 0, 0]);
    bed.add(["shell:0:0:1:echo x"]);
    bed.burst("w");
    assert_eq!(bed.count("finished_tasks"), 1);
}

#[test]
fn reclaim_takes_back_the_tasks_of_a_dead_python_worker() {
    let bed = Bed::new();
    bed.hset("worker_status", "python1", "1000000000:1.00:8.00:2.00:16.00");
    bed.hset("in_progress_tasks", "shell:0:0:1:echo lost", "python1");
    bed.ctl(&["reclaim", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn quarantined_lines_are_purged_and_only_they() {
    let bed = Bed::new();
    bed.add(["shell:1000000:0:1:stays"]);
    bed.ctl(&["purge", "--quarantined", "--yes"]).expect(0).prints_line("nothing to purge");
    for at in 0..250_u8 {
        bed.hset("distcomp:quarantine", [b"shell:1:1:1:\xff\x1b[2J".as_slice(), &[at]].concat(), "not UTF-8");
    }
    let seen = bed.ctl(&["purge", "--quarantined", "--dry-run"]).expect(0);
    assert!(seen.stdout.starts_with("would purge 250 quarantined lines, such as:") && !seen.stdout.contains('\u{1b}'));
    assert_eq!(bed.count("distcomp:quarantine"), 250, "a dry run changes nothing");
    bed.ctl(&["purge", "--quarantined", "--state", "todo", "--yes"]).expect(2);
    bed.ctl(&["purge", "--quarantined", "--yes"]).expect(0).prints_line("purged 250 quarantined lines");
    assert_eq!((bed.count("distcomp:quarantine"), bed.counts()), (0, [1, 0, 0, 0]));
}

#[test]
fn a_purge_makes_room_in_a_full_redis_that_has_no_record_of_us() {
    let bed = Bed::new();
    bed.hset_all("failed_tasks", (0..50).map(|at| format!("shell:1:1:1:{at}")));
    bed.hset("distcomp:quarantine", b"\xff", "not UTF-8");
    bed.redis.set("maxmemory", "1");
    bed.ctl(&["requeue", "--state", "failed", "--yes"]).expect(3).says(&["OOM"]);
    bed.ctl(&["purge", "--state", "failed", "--yes"]).expect(0).prints_line("purged 50 tasks; deleted 0 result files");
    bed.ctl(&["purge", "--quarantined", "--yes"]).expect(0).prints_line("purged 1 quarantined line");
    bed.redis.set("maxmemory", "0");
    assert_eq!((bed.counts(), bed.count("distcomp:quarantine")), ([0, 0, 0, 0], 0));
}

/// The terminal of a command, on which `y` was typed when its work had not begun.
fn typed_early(bed: &Bed, args: &[&str], redirect: &str) -> PtySession {
    let shown = bed.cli("distcomp-ctl").args(args.iter().copied()).into_command();
    let gate = bed.out("gate");
    let _ = fs::remove_file(&gate);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("until test -e {gate}; do sleep 0.05; done; exec \"$@\" {redirect}"), "sh"]);
    command.arg(shown.get_program()).args(shown.get_args());
    command.envs(shown.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut session = spawn_command(command, Some(60_000)).expect("a terminal");
    session.send_line("y").expect("a key");
    // The terminal has it; the command that asks has not begun.
    fs::write(&gate, "").expect("the gate");
    session
}

#[test]
fn a_yes_typed_before_the_question_confirms_nothing() {
    let bed = seeded();
    for args in [
        &["purge", "--state", "finished"][..],
        &["requeue", "--state", "failed"],
        &["cancel", "--state", "todo"],
        &["edit", "--state", "todo", "--set", "prio=9"],
        &["pause"],
        &["stop"],
    ] {
        let mut session = typed_early(&bed, args, "");
        session.exp_string("[y/N]").unwrap_or_else(|error| panic!("{args:?} asks: {error}"));
        session.send_line("n").expect("an answer");
        session.exp_string("nothing was changed").unwrap_or_else(|error| panic!("{args:?}: {error}"));
        session.exp_eof().expect("the end");
    }
    assert_eq!(bed.counts(), [2, 0, 2, 2]);
    assert!(!bed.keys().iter().any(|key| key == "distcomp:paused"), "not paused");
}

#[test]
fn a_question_that_nobody_sees_is_not_asked() {
    let bed = seeded();
    let err = bed.out("err");
    let mut session = typed_early(&bed, &["purge", "--state", "finished"], &format!("2>{err}"));
    session.exp_eof().expect("the end");
    assert!(fs::read_to_string(&err).expect("stderr").contains("--yes is required"));
    assert_eq!(bed.count("finished_tasks"), 2);
}

#[test]
fn an_empty_text_selects_nothing() {
    let bed = seeded();
    for args in [
        &["purge", "--include", ""][..],
        &["purge", "--worker", ""],
        &["purge", "--state", "finished", "--include", ""],
        &["cancel", ""],
        &["requeue", ""],
        &["purge", "--older-than", ""],
        &["drain", ""],
        &["reclaim", ""],
    ] {
        bed.ctl(&[args, &["--yes"]].concat()).expect(2);
    }
    for args in [&["tasks", "--state", "todo", "--include", ""][..], &["tasks", "--state", "todo", "--exclude", ""]] {
        bed.status(args).expect(2);
    }
    for view in ["show", "logs", "explain"] {
        bed.status(&[view, ""]).expect(2);
    }
    assert_eq!(bed.counts(), [2, 0, 2, 2]);
}

#[test]
fn requeue_alone_means_what_failed_and_purge_asks_for_more() {
    let bed = seeded();
    bed.ctl(&["requeue", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [4, 0, 2, 0]);
    for verb in ["cancel", "purge"] {
        bed.ctl(&[verb, "--yes"]).expect(2).says(&["--all", "--state", "--file"]);
    }
    assert_eq!(bed.counts(), [4, 0, 2, 0]);
    bed.ctl(&["cancel", "--all", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [0, 0, 2, 4]);
    bed.ctl(&["purge", "--all", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [0, 0, 0, 0]);
}

#[test]
fn a_wrong_selection_is_named_without_a_terminal_too() {
    let bed = seeded();
    bed.ctl(&["cancel", "--state", "finished"]).expect(2).says(&["finished tasks cannot be cancelled"]);
    bed.ctl(&["purge"]).expect(2).says(&["--all"]);
    bed.ctl(&["cancel", "shell:0:0:1:nowhere"]).expect(2).says(&["no task"]);
    bed.ctl(&["drain", "nobody"]).expect(2).says(&["nobody"]);
    bed.ctl(&["purge", "--file", "/no/such/file"]).expect(2).says(&["/no/such/file"]);
    bed.ctl(&["purge", "--state", "finished"]).expect(2).says(&["--yes"]);
    assert_eq!(bed.counts(), [2, 0, 2, 2]);
}

#[test]
fn a_file_selects_its_tasks() {
    let bed = seeded();
    let file =
        bed.file("some", "# mine\nshell:0:0:1:todo a\nshell:0:0:1:bad a\nshell:0:0:1:fine a\nshell:0:0:1:other\n");
    bed.ctl(&["requeue", "--file", &file, "--yes"]).expect(0).says(&["skipped 3 tasks"]);
    assert_eq!(bed.counts(), [3, 0, 2, 1]);
    bed.ctl(&["cancel", "--file", &file, "--include", "todo", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [2, 0, 2, 2]);
    bed.ctl(&["purge", "--file", &file, "--yes"]).expect(0);
    assert_eq!(bed.counts(), [1, 0, 1, 1]);
}
