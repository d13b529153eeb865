//! Batches and order as `distcomp-submit` and `distcomp run` make them: names, steps, barriers, commands for the end, and what is refused.
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Bed, Cli, SOON, bin, holds_for, lines_of, read, wait_until};

const NONE: &str = "skipped 0 already queued, 0 running, 0 finished, 0 failed";

/// A number that the counters of batches have for a name.
fn counted(bed: &Bed, name: &str) -> Option<i64> {
    let numbers = bed.table("distcomp:batch:n");
    numbers.get(name).map(|number| number.parse().expect("a number"))
}

/// That nothing at all went in.
#[track_caller]
fn assert_empty(bed: &Bed) {
    assert_eq!(bed.counts(), [0, 0, 0, 0]);
    for key in ["distcomp:waiting", "distcomp:member", "distcomp:batches", "distcomp:batch:n", "distcomp:batch:submits"]
    {
        assert_eq!(bed.count(key), 0, "{key}");
    }
}

#[test]
fn what_comes_after_waits_for_a_batch_submitted_later() {
    let bed = Bed::new();
    let out = bed.out("order");
    let late = format!("echo b >>{out}");
    let said = "nothing is known of a: 1 task stays blocked until it has been submitted and has finished";
    bed.submit(&["-n", "b", "--after", "a", "--", &late], "")
        .expect(0)
        .says(&["warning: ", said])
        .prints(&["added 1 task to b, blocked: nothing is known of a; skipped"]);
    let _worker = bed.worker("w");
    let early = format!("sleep 0.1; echo a >>{out}; :");
    bed.submit(&["-n", "a", "--", &early, ":::", "1", "2", "3", "4"], "")
        .expect(0)
        .prints_line(&format!("added 4 tasks to a; {NONE}"));
    wait_until("all five to end", SOON, || holds_for(lines_of(&out).len() == 5, read(&out)));
    assert_eq!(lines_of(&out), ["a", "a", "a", "a", "b"]);
}

#[test]
fn a_near_name_is_asked_for() {
    let bed = Bed::new();
    bed.submit(&["-n", "prep", "--", "true"], "").expect(0);
    let said = "nothing is known of prpe (did you mean prep?): 2 tasks stay blocked until it has been submitted and has finished";
    bed.submit(&["-n", "x", "--after", "prpe", "--", "echo", ":::", "1", "2"], "").expect(0).says(&[said]);
    let prepared = bed.submit(&["-n", "y", "--after", "prep", "--", "true", "# y"], "").expect(0);
    assert!(!prepared.stderr.contains("nothing is known"), "{prepared}");
    prepared.prints_line(&format!("added 1 task to y, blocked: prep has 1 open; {NONE}"));
}

#[test]
fn barriers_hold_for_every_edge_on_several_workers() {
    let bed = Bed::new();
    let out = bed.out("order");
    let many: String = (0..60).map(|at| format!("echo {at} >>{out}\n")).collect();
    let text = format!(
        "#DC --name d --commands --cpus 0\necho first >>{out}\n#DC --barrier\n{many}#DC --barrier\necho last >>{out}\n"
    );
    let file = bed.file("fan", &text);
    let said = "added 62 tasks to d, 61 of them blocked: d/step1 has 1 open, d/step2 has 60 open; skipped";
    bed.submit(&[&file], "").expect(0).prints(&[said]);
    let _workers = ["w1", "w2", "w3"].map(|name| bed.worker(name));
    wait_until("all to end", SOON, || holds_for(bed.count("finished_tasks") == 62, read(&out)));
    let order = lines_of(&out);
    assert_eq!((order.len(), order[0].as_str(), order[61].as_str()), (62, "first", "last"));
}

#[test]
fn wait_ends_when_what_it_waits_for_has_failed() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let _worker = bed.worker("w");
    let flag = bed.out("flag");
    let fails = format!("test -e {flag}");
    bed.submit(&["-n", "a", "--wait", "--", &fails], "").expect(1);
    bed.submit(&["-n", "b", "--after", "a", "--", "echo b"], "")
        .expect(0)
        .prints_line(&format!("added 1 task to b, blocked: a has 1 failed; {NONE}"));
    let begun = Instant::now();
    let waited = bed.submit(&["-n", "c", "--after", "b", "--wait", "--", "echo", ":::", "1", "2"], "").expect(1);
    assert!(begun.elapsed() < SOON, "{waited}");
    let waited = waited.says(&[
        "2 tasks cannot go on: waits for a: 1 failed; distcomp-ctl requeue --batch a tries again",
        "0 tasks finished, 0 failed, 2 blocked",
    ]);
    assert!(!waited.stderr.contains("panicked"), "{waited}");
    fs::write(&flag, "").expect("a file");
    bed.ctl(&["requeue", "--state", "failed", "--yes"]).expect(0);
    wait_until("all to go on", SOON, || holds_for(bed.count("finished_tasks") == 4, format!("{:?}", bed.counts())));
}

#[test]
fn circles_and_parts_that_wait_for_the_whole_are_refused() {
    let bed = Bed::new();
    let text = "#DC --name s --commands\n#DC --name align --after report\na\n\n\n#DC --name x\nq\n\n#DC --name report --after align\nb\n";
    let file = bed.file("circle", text);
    for more in [&[][..], &["--skip-invalid"], &["--dry-run"]] {
        let said = format!("{file}:9: a circle: align after report after align");
        bed.submit(&[&[file.as_str()], more].concat(), "").expect(2).says(&[&said]);
    }
    let lines = "#DC --name a\nshell,after=b:0:0:0:x\n#DC --name b\nshell,after=a/b,afterany=a/c:0:0:0:y\n";
    bed.submit(&["-"], lines).expect(2).says(&["-:4: a circle: b after b"]);
    bed.submit(&["-n", "s1/x", "--after", "s1", "--", "true"], "")
        .expect(2)
        .says(&["s1/x is a part of s1 and cannot wait for it"]);
    assert_empty(&bed);
    bed.submit(&["-n", "a", "--after", "b", "--", "true"], "").expect(0);
    bed.submit(&["-n", "c", "--after", "a", "--", "true", "# c"], "").expect(0);
    let before = bed.table("distcomp:batch:n");
    bed.submit(&["-n", "b", "--after", "c", "--", "true", "# b"], "")
        .expect(2)
        .says(&["a circle: b after c after a after b"]);
    bed.submit(&["-n", "b", "--after", "a", "--", "true", "# b"], "").expect(2).says(&["a circle: b after a after b"]);
    assert_eq!(bed.table("distcomp:batch:n"), before, "nothing went in");
    // By steps it may be none.
    bed.submit(&["-n", "b/x", "--after", "a/y", "--", "true", "# b"], "")
        .expect(0)
        .says(&["warning: perhaps a circle"]);
}

#[test]
fn circle_is_found_whichever_of_many_names_closes_it() {
    let bed = Bed::new();
    bed.submit(&["-n", "y", "--after", "z", "--", "true"], "").expect(0);
    let both = ["-n", "{}", "--after", "y", "--", "true # {}", ":::", "x", "z"];
    let said = "a circle: z after y after z; y is in the queue already";
    bed.submit(&both, "").expect(2).says(&[said]);
    assert_eq!(bed.table("distcomp:waiting").len(), 1, "nothing went in");
    bed.submit(&["-"], "#DC --name w --after v --commands\ntrue # w\n").expect(0);
    let file = "#DC --name z --commands --after w\ntrue # z\n";
    bed.submit(&["-"], file).expect(0);
    bed.submit(&["-n", "v", "--after", "y", "--", "true # v"], "")
        .expect(2)
        .says(&["a circle: v after y after z after w after v"]);
}

#[test]
fn flags_of_a_batch_need_a_name_and_good_values() {
    let bed = Bed::new();
    for (args, said) in [
        (&["--max-fails", "5"][..], "--max-fails is of a batch: give it a name with --name"),
        (&["--kill-on-invalid-dep"], "--kill-on-invalid-dep is of a batch: give it a name with --name"),
        (&["--open"], "--open is of a batch: give it a name with --name"),
        (&["--on-end", "true"], "--on-end is of a batch: give it a name with --name"),
        (&["--tag", "t"], "--tag is of a batch: give it a name with --name"),
        (&["-n", "s 1"], "--name is \"s 1\"; valid: a name like s1 or s1/prep of A-Z a-z 0-9 . _ -"),
        (&["-n", "s", "--max-fails", "0%"], "--max-fails is \"0%\"; valid: a number, or a percentage above 0"),
        (&["--after", "a:b"], "--after is \"a:b\"; valid: a name like s1 or s1/prep"),
        (&["--begin", "soon"], "--begin is \"soon\"; valid: a time of day like 22:00"),
    ] {
        bed.submit(&[args, &["--", "true"]].concat(), "").expect(2).says(&[said]);
        bed.submit(&[args, &["-"]].concat(), "shell:0:0:0:true\n").expect(2).says(&[said]);
    }
    let file = bed.file("f", "#DC --commands\na\n\n\n\n\n#DC --barrier\nb\n");
    bed.submit(&[&file], "").expect(2).says(&[&format!("{file}:7: --barrier: the batch needs a name: --name NAME")]);
    let late = bed.file("late", "#DC --commands --name s\na\n#DC --name b --max-fails 5\nb\n");
    let said = "late:3: --max-fails is of the whole batch: give it before the first task and step";
    bed.submit(&[&late], "").expect(2).says(&[said]);
    assert_empty(&bed);
}

#[test]
fn names_and_order_come_from_the_values_of_each_task() {
    let bed = Bed::new();
    let pairs = ["-n", "b/{#}", "--after", "a/{#}", "--tag", "of={1}", "--", "echo", "b", ":::", "x", "y"];
    let output = bed.submit(&[&["--json"], &pairs[..]].concat(), "").expect(0).json();
    assert_eq!((&output["batch"], &output["blocked"], &output["added"]), (&json!("b"), &json!(2), &json!(2)));
    let members = bed.table("distcomp:member");
    assert_eq!(members["shell,after=a/2:0:1:0:echo b y"], "o b/2 of=y");
    let parsable = bed.submit(&["-n", "a/{#}", "--parsable", "--", "echo", "a", ":::", "x", "y"], "").expect(0);
    assert_eq!(parsable.stdout, "a\n");
    assert_eq!((counted(&bed, "a"), counted(&bed, "a/2"), counted(&bed, "b")), (Some(2), Some(1), Some(2)));
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 4, 0]);
    assert_eq!((counted(&bed, "a"), counted(&bed, "b/2")), (Some(0), Some(0)));
}

#[test]
fn commands_for_the_end_run_once_and_only_where_they_fit() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let out = bed.out("ends");
    let hook = |what: &str| format!("echo {what} $DISTCOMP_UPSTREAM >>{out}");
    let (good, bad, any) = (hook("good"), hook("bad"), hook("any"));
    let hooks = ["--on-success", &good, "--on-failure", &bad, "--on-end", &any];
    let submit =
        |name: &str, command: &str| bed.submit(&[&["-n", name], &hooks[..], &["--", command]].concat(), "").expect(0);
    submit("fine", "true").prints_line(&format!("added 1 task to fine; {NONE}"));
    assert_eq!(bed.count("distcomp:waiting"), 3, "three tasks wait for the end");
    submit("fine", "true");
    bed.burst("w");
    let mut ends = lines_of(&out);
    ends.sort();
    assert_eq!(ends, ["any finished", "good finished"]);
    submit("fine", "true");
    bed.burst("w");
    assert_eq!(lines_of(&out).len(), 2, "nothing was new");
    submit("ill", "false");
    bed.burst("w");
    let mut ends = lines_of(&out).split_off(2);
    ends.sort();
    assert_eq!(ends, ["any failed", "bad failed"]);
}

#[test]
fn steps_without_tasks_are_known_and_done() {
    let bed = Bed::new();
    let file = bed.file("f", "#DC --name s --commands\n#DC --name none\n#DC --name work --after none\necho work\n");
    bed.submit(&[&file], "").expect(0).prints_line(&format!("added 1 task to s; {NONE}"));
    assert_eq!(counted(&bed, "s/none"), Some(0));
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn a_submission_that_is_killed_leaves_its_gate_closed() {
    let bed = Bed::new();
    let text: String = (0..200_000).map(|at| format!("true {at}\n")).collect();
    let file = bed.file("many", text);
    bed.submit(&["-n", "late", "--after", "s", "--", "echo late"], "").expect(0);
    let submission = bed.cli("distcomp-submit").args(["-n", "s", "--commands", &file]).start();
    wait_until("the first lines", SOON, || {
        let count = bed.try_count("todo_tasks");
        holds_for(count.is_some_and(|count| count > 0), format!("{count:?}"))
    });
    submission.signal(Signal::SIGKILL);
    submission.finish();
    assert_eq!(counted(&bed, "s+"), Some(1), "it is under way");
    bed.submit(&["-n", "s", "--commands", &file], "").expect(0).prints(&["added ", " tasks to s; skipped "]);
    assert_eq!(counted(&bed, "s"), Some(200_000));
    assert_eq!(counted(&bed, "s+"), Some(1), "the first may go on yet");
}

#[test]
fn an_open_batch_holds_up_what_waits_for_it() {
    let bed = Bed::new();
    bed.submit(&["-n", "s", "--open", "--", "true"], "").expect(0);
    bed.submit(&["-n", "t", "--after", "s", "--", "echo t"], "").expect(0);
    bed.burst("w");
    assert_eq!(bed.counts()[2], 1, "more may come");
    assert_eq!(counted(&bed, "s+"), Some(1));
}

#[test]
fn dry_run_shows_the_batches_and_changes_nothing() {
    let bed = Bed::new();
    let file = bed.file("f", "#DC --name s --commands\na\n#DC --name b --after s2\nx\ny\n");
    bed.submit(&["--dry-run", &file], "").expect(0).prints(&[
        "shell:0:1:0:a\nshell,after=s2:0:1:0:x\nshell,after=s2:0:1:0:y\n",
        "in s: 1 task\nin s/b: 2 tasks\n",
    ]);
    let steps = bed.submit(&["--dry-run", "--json", &file], "").expect(0).json();
    assert_eq!(steps["steps"], json!([{"name": "s", "tasks": 1}, {"name": "s/b", "tasks": 2}]));
    assert_empty(&bed);
}

#[test]
fn begin_holds_tasks_back_until_its_minute() {
    let bed = Bed::new();
    bed.submit(&["--begin", "@60", "--", "echo past"], "").expect(0);
    bed.submit(&["--begin", "+2h", "--", "echo later"], "").expect(0).prints(&["added 1 task, blocked: not before 2"]);
    let worker = bed.worker("w");
    bed.wait_counts(SOON, [1, 0, 1, 0]);
    let waiting = bed.table("distcomp:waiting");
    let is_later = |line: &String| line.starts_with("shell,begin=") && line.ends_with(":0:1:0:echo later");
    assert!(waiting.len() == 1 && waiting.keys().all(is_later), "{waiting:?}");
    drop(worker);
}

/// `distcomp run` in a directory of its own.
fn run(bed: &Bed, args: &[&str]) -> crate::support::Output {
    here(bed, "run", args)
}

/// A command in that directory.
fn here(bed: &Bed, command: &str, args: &[&str]) -> crate::support::Output {
    in_dir(bed, command, args).run()
}

fn in_dir(bed: &Bed, command: &str, args: &[&str]) -> Cli {
    let cli = Cli::new(bin("distcomp")).args([command]).args(args).dir(bed.path());
    cli.env("XDG_STATE_HOME", bed.path().join("state").display().to_string())
        .env("HOME", bed.path())
        .limit(Duration::from_secs(60))
}

#[test]
fn a_run_on_one_machine_keeps_the_order_and_ends() {
    let bed = Bed::new();
    let dir = tempfile::Builder::new().prefix("dc-run-").tempdir_in("/tmp").expect("a directory");
    let out = dir.path().join("order").display().to_string();
    let text = format!(
        "#DC --name s --commands --on-end 'echo end $DISTCOMP_UPSTREAM >>{out}'\n#DC --name c --after b\necho c >>{out}\n#DC --name b --after a\necho b >>{out}\n#DC --name a\nsleep 0.2; echo a >>{out}\n"
    );
    let file = bed.file("flow", text);
    run(&bed, &[&file]).expect(0).prints(&["4 tasks finished, 0 failed"]);
    assert_eq!(lines_of(&out), ["a", "b", "c", "end finished"]);
    let failed = run(&bed, &["-n", "bad", "--", "false"]).expect(1);
    assert!(failed.stdout.contains("1 failed"), "{failed}");
    run(&bed, &["-n", "next", "--after", "bad", "--", "echo", ":::", "1", "2"])
        .expect(1)
        .says(&["2 tasks did not run, blocked: bad has 1 failed"]);
}

#[test]
fn a_run_says_why_tasks_of_its_own_did_not_run() {
    let bed = Bed::new();
    run(&bed, &["-n", "bad", "--", "false"]).expect(1);
    // What an earlier command left to wait for a time is set aside, and no reason to wait.
    here(&bed, "submit", &["--local", "-n", "late", "--begin", "+1h", "--", "echo late"]).expect(0);
    run(&bed, &["-n", "third", "--after", "bad", "--", "echo third"])
        .expect(1)
        .says(&["1 task did not run, blocked: bad has 1 failed"]);
    let stopped = run(&bed, &["-n", "m", "--max-fails", "1", "-j", "1", "--array", "1-9", "--", "exit 1"]).expect(1);
    assert!(stopped.stdout.contains("0 tasks finished, 9 failed"), "{stopped}");
    assert!(stopped.stdout.contains("2 failed, --max-fails 1"), "{stopped}");
}

#[test]
fn a_stopped_run_does_not_wait_for_what_it_has_set_aside() {
    let bed = Bed::new();
    here(&bed, "submit", &["--local", "-n", "m", "--", "echo of another command"]).expect(0);
    let stopped = run(&bed, &["-n", "m", "--max-fails", "1", "-j", "1", "--array", "1-9", "--", "exit 1"]).expect(1);
    assert!(stopped.stdout.contains("0 tasks finished, 9 failed"), "{stopped}");
}

#[test]
fn a_run_that_too_many_failures_stop_still_runs_its_hook() {
    let bed = Bed::new();
    let out = bed.path().join("out");
    let hook = format!("echo hook >> {}", out.display());
    let stopped = run(
        &bed,
        &["-n", "m", "--max-fails", "1", "-j", "1", "--on-failure", &hook, "--array", "1-30", "--", "exit 1"],
    );
    stopped.expect(1);
    assert_eq!(lines_of(&out), ["hook"]);
}

#[test]
fn flag_to_give_up_counts_for_what_waits_already() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let _worker = bed.worker("w");
    bed.submit(&["-n", "a", "--wait", "--", "false"], "").expect(1);
    bed.submit(&["-n", "b", "--after", "a", "--", "echo 1"], "").expect(0);
    bed.status(&["wait", "b", "--timeout", "30s"]).expect(1).prints(&["b waits for a: 1 failed"]);
    bed.submit(&["-n", "b", "--after", "a", "--kill-on-invalid-dep", "--", "echo 2"], "").expect(0);
    wait_until("both to be given up", SOON, || {
        holds_for(bed.count("failed_tasks") == 3, format!("{:?}", bed.counts()))
    });
    bed.status(&["wait", "b", "--timeout", "30s"]).expect(1).prints(&["b: 2 of 2 failed"]);
}

#[test]
fn wait_in_a_directory_outlives_the_run_and_what_it_sets_aside() {
    let bed = Bed::with(json!({}));
    let command = in_dir(&bed, "run", &["-n", "long", "--", "sleep 2; echo {}", ":::", "1", "2"]).start();
    wait_until("the batch to be known", SOON, || {
        let known = here(&bed, "status", &["--local", "batch", "long"]);
        holds_for(known.is(0), known)
    });
    here(&bed, "status", &["--local", "wait", "long", "--timeout", "50s"])
        .expect(0)
        .prints(&["long: finished, 2 tasks"]);
    command.finish().expect(0);
    run(&bed, &["-n", "y1", "--", "false"]).expect(1);
    run(&bed, &["-n", "y2", "--after", "y1", "--", "echo y2"]).expect(1);
    run(&bed, &["-n", "y3", "--", "echo y3"]).expect(0);
    here(&bed, "status", &["--local", "wait", "y2", "--timeout", "50s"])
        .expect(1)
        .prints(&["y2 waits for y1: 1 failed"]);
    here(&bed, "submit", &["--local", "-n", "y4", "--", "echo y4"]).expect(0);
    run(&bed, &["-n", "y3", "--", "echo y3 again"]).expect(0);
    let said = "y4 is set aside, 1 task of it: distcomp run --all runs it";
    here(&bed, "status", &["--local", "wait", "y4", "--timeout", "50s"]).expect(1).prints(&[said]);
}

#[test]
fn what_waits_for_a_held_batch_is_told_so() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let _worker = bed.worker("w");
    bed.submit(&["-n", "st", "--max-fails", "0", "--wait", "--array", "1-5", "--", "false"], "").expect(1);
    bed.submit(&["-n", "next", "--after", "st", "--", "echo next"], "").expect(0);
    let why = "next waits for st: 5 failed, stopped: 1 failed, --max-fails 0; distcomp-ctl resume st goes on, distcomp-ctl release st goes on without";
    let waited = bed.status(&["wait", "next", "--timeout", "30s"]).expect(1);
    assert!(
        waited.stdout.contains("stopped: ") && waited.stdout.contains("; distcomp-ctl resume st goes on, "),
        "{why}: {waited}"
    );
    bed.ctl(&["requeue", "--batch", "st", "--yes"]).expect(0).says(&["st is stopped: ", "distcomp-ctl resume st"]);
    bed.ctl(&["resume", "st", "--yes"]).expect(0);
    bed.ctl(&["release", "st", "--yes"]).expect(0);
    bed.status(&["batch", "st"]).expect(0).prints(&["released by distcomp-ctl.", ": nothing waits for it"]);
    bed.submit(&["-n", "empty", "--on-end", "echo end", "-"], "# nothing\n")
        .expect(0)
        .says(&["there is no task: every line is empty or a comment, and --on-end runs only after tasks"]);
}
