//! The other commands on the queue of a local run, and what it says without a terminal.
use std::fs;

use nix::sys::signal::Signal;

use super::Machine;
use crate::support::{Cli, SOON, Started, bin, holds_for, lines_of, read, wait_until};

fn cli(machine: &Machine, name: &str, args: &[&str]) -> Cli {
    machine.cli(name).args(["--local"]).args(args)
}

/// Runs until the gate is there.
const WAITS: &str = "shell:0:0:9:touch began; until [ -e gate ]; do sleep 0.05; done; echo first >> ran\n";

fn wait_began(machine: &Machine) {
    wait_until("the task to run", SOON, || holds_for(machine.path("began").exists(), read(machine.path("ran"))));
}

#[test]
fn commands_reach_a_local_queue_during_and_after_the_run() {
    let machine = Machine::new();
    machine.task_file(&format!("{WAITS}shell:0:0:1:echo later >> ran; exit 3\n"));
    let run = machine.command(&["-j1"]).start();
    wait_began(&machine);
    let status = cli(&machine, "distcomp-status", &[]).run().expect(0);
    assert!(status.stdout.starts_with("1 todo tasks, 1 in_progress tasks, 0 finished tasks"), "{status}");
    // Added by another terminal: it runs too, and this run is not judged by it.
    cli(&machine, "distcomp-submit", &["-"]).stdin("shell:0:0:0:echo added >> ran; exit 4\n").run().expect(0);
    cli(&machine, "distcomp-ctl", &["--yes", "cancel", "--include", "echo later"]).run().expect(0);
    fs::write(machine.path("gate"), "").expect("the gate");
    let output = run.finish().expect(1);
    assert!(
        output.stdout.contains("1 task finished, 0 failed, 1 cancelled") && !output.stdout.contains("exit 4"),
        "{output}"
    );
    assert!(read(machine.path("ran")).contains("added"), "{output}");
    machine.assert_alone();

    let status = cli(&machine, "distcomp-status", &[]).run().expect(0);
    assert!(status.stdout.starts_with("0 todo tasks, 0 in_progress tasks, 1 finished tasks, 2 failed"), "{status}");
    let failures = cli(&machine, "distcomp-status", &["failures"]).run().expect(0);
    failures.prints(&["distcomp-ctl --local requeue --kind 'exit 4'"]);
    cli(&machine, "distcomp-ctl", &["--yes", "requeue", "--state", "cancelled"]).run().expect(0);
    let status = cli(&machine, "distcomp-status", &["tasks", "--state", "todo"]).run().expect(0);
    assert_eq!(status.stdout, "shell:0:0:1:echo later >> ran; exit 3\n");
    machine.assert_alone();
    // From elsewhere, by the directory; and a file of it, in a directory in which nothing has run.
    let there = format!("--local={}", machine.dir.path().display());
    let status = machine.cli("distcomp-status").args([&there]).dir("/".as_ref()).run().expect(0);
    assert!(status.stdout.starts_with("1 todo tasks"), "{status}");
    machine.assert_alone();
}

#[test]
fn an_interrupted_run_is_not_shown_as_active() {
    let machine = Machine::new();
    machine.file("conf.json", r#"{"max_retry_per_task": 1}"#);
    machine.task_file(&format!("shell:0:0:10:true\n{WAITS}shell:0:0:1:true 1\nshell:0:0:1:true 2\n"));
    let run = machine.command(&["-j1"]).start();
    wait_began(&machine);
    let during = cli(&machine, "distcomp-status", &[]).run().expect(0);
    assert!(during.stdout.contains("live") && !during.stdout.contains("no run is active"), "{during}");
    run.signal(Signal::SIGKILL);
    run.finish();
    machine.assert_alone();
    let after = cli(&machine, "distcomp-status", &[]).run().expect(0);
    assert!(after.stdout.contains("3 wait: no run is active here: repeat its command"), "{after}");
    for wrong in ["live", "to go", "their turn", "slots"] {
        assert!(!after.stdout.contains(wrong), "{wrong}: {after}");
    }
    let json = cli(&machine, "distcomp-status", &["--json"]).run().expect(0).json();
    assert_eq!((json["workers"].as_array().map(Vec::len), json["eta_seconds"].is_null()), (Some(0), true), "{json}");
    cli(&machine, "distcomp-status", &["explain"]).run().expect(0).prints(&["no run is active here"]);
    fs::write(machine.path("gate"), "").expect("the gate");
    // As it says, without the command.
    machine.cli("distcomp").args(["run", "--all"]).run().expect(0);
    let done = cli(&machine, "distcomp-status", &[]).run().expect(0);
    assert!(done.stdout.contains("4 finished tasks") && !done.stdout.contains("no run is active"), "{done}");
}

#[test]
fn one_more_added_is_not_this_runs_failure() {
    let machine = Machine::new();
    machine.task_file(WAITS);
    let run = machine.command(&[]).start();
    wait_began(&machine);
    cli(&machine, "distcomp-submit", &["-"]).stdin("shell:0:0:0:echo added >> ran; exit 4\n").run().expect(0);
    wait_until("it to run", SOON, || {
        let ran = lines_of(machine.path("ran"));
        holds_for(ran.len() >= 4, ran.join(" "))
    });
    fs::write(machine.path("gate"), "").expect("the gate");
    let output = run.finish().expect(0);
    assert!(output.stdout.contains("1 task finished, 0 failed"), "{output}");
}

#[test]
fn what_is_set_aside_is_shown_and_can_be_changed() {
    let machine = Machine::new();
    machine.file("b", "shell:0:0:1:echo b >> ran\n");
    cli(&machine, "distcomp-submit", &["-"]).stdin("shell:0:0:1:echo wrong >> ran\n").run().expect(0);
    machine.worker(&["b"]).run().expect(0).says(&["1 task of earlier commands"]);
    let status = cli(&machine, "distcomp-status", &[]).run().expect(0);
    assert!(status.stdout.contains("1 task set aside") && status.stdout.contains("--all"), "{status}");
    assert_eq!(cli(&machine, "distcomp-status", &["--json"]).run().expect(0).json()["set_aside"], 1);
    let waiting = cli(&machine, "distcomp-status", &["tasks", "--state", "todo"]).run().expect(0);
    assert_eq!(waiting.stdout, "shell:0:0:1:echo wrong >> ran\n");
    let shown = cli(&machine, "distcomp-status", &["show", "shell:0:0:1:echo wrong >> ran"]).run().expect(2);
    assert!(shown.stderr.contains("is set aside"), "{shown}");
    cli(&machine, "distcomp-submit", &["-"]).stdin("shell:0:0:1:echo waits >> ran\n").run().expect(0);
    let cut = cli(&machine, "distcomp-status", &["tasks", "--state", "todo", "--limit", "1"]).run().expect(0);
    cut.says(&["showing 1 of 2"]);
    cli(&machine, "distcomp-ctl", &["--yes", "purge", "--include", "waits"]).run().expect(0);
    cli(&machine, "distcomp-ctl", &["--yes", "purge", "--include", "wrong"]).run().expect(0);
    let output = machine.worker(&["--all", "b"]).run().expect(0);
    assert!(!output.stderr.contains("earlier commands"), "{output}");
    assert_eq!(lines_of(machine.path("ran")), ["b"]);
}

#[test]
fn without_a_queue_or_a_server_the_way_to_one_is_said() {
    let machine = Machine::new();
    machine.task_file("shell:0:0:1:true\n");
    let none = cli(&machine, "distcomp-status", &[]).run().expect(2);
    assert!(none.stderr.contains("has not run there"), "{none}");
    let nowhere = "redis://127.0.0.1:1/0";
    let plain = || machine.cli("distcomp-status").args(["--redis-url", nowhere]).run().expect(3);
    assert!(!plain().stderr.contains("--local"), "{}", plain());
    machine.run(&[]).expect(0);
    assert!(plain().stderr.contains("distcomp-status --local"), "{}", plain());
    // However Redis is to be reached elsewhere.
    cli(&machine, "distcomp-status", &["--redis-url", nowhere]).run().expect(0);
}

#[test]
fn without_a_terminal_it_says_how_far_it_is_and_what_fails() {
    let machine = Machine::new();
    machine.task_file(&format!("{WAITS}shell:0:0:1:echo 'no such trace' >&2; exit 3\nshell:0:0:1:exit 3\n"));
    let run = machine.command(&[]).env("DISTCOMP_PROGRESS_SECONDS", "0.3").dir(machine.dir.path()).start();
    wait_began(&machine);
    wait_until("the failures", SOON, || {
        let status = cli(&machine, "distcomp-status", &[]).run();
        holds_for(status.stdout.contains("2 failed tasks") && status.stdout.starts_with("0 todo"), status)
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    fs::write(machine.path("gate"), "").expect("the gate");
    let output = run.finish().expect(1).says(&["2 of 3 done, 1 running, 2 failed"]);
    assert_eq!(output.stderr.matches("first failure: exit 3").count(), 1, "{output}");
}

#[test]
fn progress_counts_only_the_tasks_of_the_command_line() {
    let machine = Machine::new();
    machine.file("conf.json", r#"{"max_retry_per_task": 1}"#);
    machine.task_file(&format!("{WAITS}shell:0:0:1:true\n"));
    let run = machine.command(&[]).env("DISTCOMP_PROGRESS_SECONDS", "0.3").start();
    wait_began(&machine);
    cli(&machine, "distcomp-submit", &["-"]).stdin("shell:0:0:0:exit 4\nshell:0:0:0:true 2\n").run().expect(0);
    wait_until("those of the other terminal to end", SOON, || {
        let status = cli(&machine, "distcomp-status", &[]).run();
        holds_for(status.stdout.contains("2 finished tasks, 1 failed tasks"), status)
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    fs::write(machine.path("gate"), "").expect("the gate");
    let output = run.finish().expect(0).says(&["1 of 2 done, 1 running, 0 failed"]);
    assert!(!output.stderr.contains("1 failed") && !output.stderr.contains("2 of 2 done, 0 running, 1"), "{output}");
}

/// Starts a command whose standard error is a file, and waits until it has said so.
#[track_caller]
fn start_saying(machine: &Machine, name: &str, args: &[&str], text: &str) -> Started {
    let said = machine.path(&format!("said by {name}"));
    let started = machine
        .cli_of("sh")
        .args(["-c", "exec \"$@\" 2>\"$0\""])
        .args([&said])
        .args([bin(name), "--local"])
        .args(args)
        .start();
    wait_until("it to say so", SOON, || holds_for(read(&said).contains(text), read(&said)));
    started
}

#[test]
fn a_run_takes_over_from_commands_that_follow_the_queue() {
    let machine = Machine::new();
    machine.task_file("shell:0:0:1:echo one >> ran\nshell:0:0:1:echo two >> ran\n");
    machine.file("other", "shell:0:0:1:echo other >> ran\n");
    let submit = start_saying(&machine, "distcomp-submit", &["--wait", "task"], "no run is active here");
    let serve = start_saying(&machine, "distcomp-status", &["serve", "--listen", "127.0.0.1:0"], "the dashboard is at");
    let events = cli(&machine, "distcomp-status", &["events", "--follow"]).start();
    // Its tasks are set aside and not lost.
    machine.worker(&["other"]).run().expect(0).says(&["2 tasks of earlier commands"]);
    let output = machine.command(&[]).run().expect(0);
    assert!(output.stdout.contains("2 tasks finished, 0 failed"), "{output}");
    submit.finish().expect(0);
    let said = read(machine.path("said by distcomp-submit"));
    assert!(said.contains("2 tasks finished, 0 failed") && !said.contains("trying again"), "{said}");
    // What is left of them serves the next command.
    let status = cli(&machine, "distcomp-status", &[]).run().expect(0);
    assert!(status.stdout.starts_with("0 todo tasks, 0 in_progress tasks, 3 finished"), "{status}");
    for viewer in [events, serve] {
        viewer.signal(Signal::SIGTERM);
        viewer.finish();
    }
    machine.assert_alone();
}

#[test]
fn batch_that_was_set_aside_says_how_to_run_it() {
    let machine = Machine::new();
    machine.worker(&["--name", "k", "--after", "nosuch", "--", "echo hi"]).run();
    machine.worker(&["--name", "u", "--", "echo ho"]).run().expect(0);
    let status = |args: &[&str]| machine.cli("distcomp-status").args(["--local"]).args(args).run().expect(0);
    let said = "1 task set aside: distcomp run --all runs it";
    let row = status(&["batches"]).stdout;
    let row = row.lines().find(|line| line.starts_with("k ")).unwrap_or_else(|| panic!("no row of k: {row}"));
    let cells: Vec<&str> = row.split_whitespace().take(2).collect();
    assert!(cells == ["k", "aside"] && row.ends_with(said), "{row}");
    status(&["batch", "k"]).prints(&[said]);
    let json = status(&["batch", "k", "--json"]).json();
    let counts = ["aside", "waiting", "blocked", "running", "open"].map(|field| json[field].as_u64());
    assert_eq!(counts, [1, 0, 0, 0, 1].map(Some), "{json}");
    assert!(json["eta_seconds"].is_null() && json["state"] == "aside", "{json}");
    status(&["explain"]).prints(&["1 task set aside: earlier commands in this directory left them"]);
    let waited = machine.cli("distcomp-status").args(["--local", "wait", "k", "--timeout", "20s"]).run().expect(1);
    waited.prints(&["k is set aside, 1 task of it: distcomp run --all runs it"]);
}
