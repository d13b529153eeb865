//! A local run is its command line's tasks: what it runs, counts, judges and keeps.
use nix::sys::signal::Signal;

use super::Machine;
use crate::support::{SOON, Started, holds_for, lines_of, read, wait_until, with_mark};

/// Starts the command with tasks of which the first waits for `gate`, and kills it once that one runs.
fn cut_short(machine: &Machine, args: &[&str], signal: Signal) {
    let started = machine.worker(args).start();
    wait_until("the first task to run", SOON, || holds_for(machine.path("began").exists(), read(machine.path("ran"))));
    end(machine, &started, signal);
    started.finish();
    std::fs::write(machine.path("gate"), "").expect("the gate");
}

fn end(machine: &Machine, started: &Started, signal: Signal) {
    // It waits for the running task: another one ends that. Two that come at once may be one.
    wait_until("it to end", SOON, || {
        if !with_mark(&machine.mark).is_empty() {
            started.signal(signal);
        }
        holds_for(with_mark(&machine.mark).is_empty(), "it still runs")
    });
}

/// A task that runs before the others and waits for the gate.
const FIRST: &str = "shell:0:2:9:echo first >> ran; touch began; until [ -e gate ]; do sleep 0.05; done\n";

#[test]
fn command_changed_after_ctrl_c_does_not_run_in_its_old_form() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let machine = Machine::new();
        machine.task_file(&format!("{FIRST}shell:0:0:1:echo wrong >> ran\n"));
        cut_short(&machine, &["-j1", "task"], signal);
        machine.task_file(&format!("{FIRST}shell:0:0:1:echo right >> ran\n"));
        let output = machine.run(&[]).expect(0).says(&["1 task of earlier commands", "--all"]);
        let ran = read(machine.path("ran"));
        assert!(ran.contains("right") && !ran.contains("wrong"), "{ran}\n{output}");
        assert!(output.stdout.contains("2 tasks finished, 0 failed"), "{output}");
    }
}

#[test]
fn another_file_leaves_the_first_ones_rest_and_failures_alone() {
    let machine = Machine::new();
    machine.file("a", &format!("{FIRST}shell:0:0:8:exit 3\nshell:0:0:1:echo rest >> ran\n"));
    machine.file("b", "shell:0:0:1:echo b >> ran\n");
    cut_short(&machine, &["-j1", "a"], Signal::SIGKILL);
    let output = machine.worker(&["b"]).run().expect(0);
    assert!(output.stdout.contains("1 task finished, 0 failed"), "{output}");
    assert_eq!(lines_of(machine.path("ran")), ["first", "b"]);
    // The first file again: its failure is its own, and makes the second run of the other no worse.
    machine.worker(&["a"]).run().expect(1);
    // The two that are left may run beside each other.
    let mut ran = lines_of(machine.path("ran")).split_off(2);
    ran.sort_unstable();
    assert_eq!(ran, ["first", "rest"]);
    machine.worker(&["b"]).run().expect(0).says(&["nothing to do: 1 task finished"]);
    machine.worker(&["a"]).run().expect(1).says(&["nothing to do", "1 failed", "--rerun-failed"]);
    assert_eq!(machine.results("results.jsonl").len(), 4, "of all commands");
    machine.assert_alone();
}

#[test]
fn what_a_run_of_another_name_had_in_progress_is_its_own_too() {
    let machine = Machine::new();
    machine.file("a", FIRST);
    machine.file("b", "shell:0:0:1:echo b >> ran\n");
    cut_short(&machine, &["--name", "other", "a"], Signal::SIGKILL);
    machine.worker(&["b"]).run().expect(0).says(&["1 task of earlier commands"]);
    assert_eq!(lines_of(machine.path("ran")), ["first", "b"]);
    let output = machine.worker(&["a"]).run().expect(0);
    assert!(output.stdout.contains("1 task finished, 0 failed"), "{output}");
    assert_eq!(lines_of(machine.path("ran")), ["first", "b", "first"]);
}

#[test]
fn all_runs_what_earlier_commands_left_and_judges_it() {
    let machine = Machine::new();
    machine.file("a", &format!("{FIRST}shell:0:0:1:echo rest >> ran; exit 4\n"));
    machine.file("b", "shell:0:0:1:echo b >> ran\n");
    cut_short(&machine, &["-j1", "a"], Signal::SIGKILL);
    machine.worker(&["b"]).run().expect(0);
    let output = machine.worker(&["--all", "b"]).run().expect(1);
    assert!(output.stdout.contains("2 tasks finished, 1 failed"), "{output}");
    assert!(read(machine.path("ran")).contains("rest"), "{output}");
}

#[test]
fn a_line_in_two_files_is_one_task_and_taken_back_from_either() {
    let machine = Machine::new();
    machine.file("a", &format!("{FIRST}shell:0:0:2:echo shared >> ran\nshell:0:0:1:echo only a >> ran\n"));
    machine.file("b", "shell:0:0:2:echo shared >> ran\nshell:0:0:1:echo only b >> ran\n");
    cut_short(&machine, &["-j1", "a"], Signal::SIGKILL);
    let output = machine.worker(&["b", "b"]).run().expect(0);
    assert!(output.stdout.contains("2 tasks finished, 0 failed"), "{output}");
    let output = machine.worker(&["a", "b"]).run().expect(0);
    assert!(output.stdout.contains("4 tasks finished, 0 failed"), "{output}");
    let mut ran = lines_of(machine.path("ran"));
    ran.sort();
    assert_eq!(ran, ["first", "first", "only a", "only b", "shared"]);
}

#[test]
fn failed_tasks_run_again_when_asked_to() {
    let machine = Machine::new();
    machine.task_file("shell:0:0:1:echo good >> ran\nshell:0:0:1:echo bad >> ran; [ -e mended ]\n");
    let bad = || lines_of(machine.path("ran")).iter().filter(|line| *line == "bad").count();
    machine.run(&[]).expect(1).says(&["--rerun-failed"]);
    let before = bad();
    machine.run(&[]).expect(1).says(&["nothing to do"]);
    assert_eq!(bad(), before);
    std::fs::write(machine.path("mended"), "").expect("a file");
    let output = machine.run(&["--rerun-failed"]).expect(0);
    assert!(output.stdout.contains("2 tasks finished, 0 failed"), "{output}");
    assert_eq!(bad(), before + 1);
    machine.run(&["--rerun-failed"]).expect(0).says(&["nothing to do: 2 tasks finished"]);
    machine.run(&["--rerun"]).expect(0);
    let good = lines_of(machine.path("ran")).iter().filter(|line| *line == "good").count();
    assert_eq!((good, bad()), (2, before + 2));
}

#[test]
fn fresh_keeps_the_old_results_under_a_number_and_says_where() {
    let machine = Machine::new();
    machine.file("a", "shell:0:0:1:echo a >> ran\nshell:0:0:1:echo b >> ran\n");
    machine.file("b", "shell:0:0:1:echo c >> ran\n");
    machine.worker(&["a"]).run().expect(0);
    for number in 1..=2 {
        let old = format!("old.{number}");
        let output = machine.worker(&["--fresh", "b"]).run().expect(0).says(&[&old]);
        assert!(output.stdout.contains("1 task finished"), "{output}");
        assert_eq!(machine.results("results.jsonl").len(), 1);
    }
    assert_eq!(machine.results("old.1/results.jsonl"), ["shell:0:0:1:echo a >> ran", "shell:0:0:1:echo b >> ran"]);
    assert_eq!(lines_of(machine.path("ran")).len(), 4);
}

#[test]
fn results_that_would_become_fewer_are_kept_beside() {
    let machine = Machine::new();
    machine.task_file("shell:0:0:1:echo a\nshell:0:0:1:echo b\n");
    machine.run(&[]).expect(0);
    machine.cli("distcomp-ctl").args(["--local", "--yes", "purge", "--include", "echo a"]).run().expect(0);
    machine.file("other", "# nothing\n");
    machine.task_file("shell:0:0:1:echo b\n");
    let output = machine.run(&[]).expect(0);
    assert!(output.stdout.contains("results.1.jsonl"), "{output}");
    assert_eq!(machine.results("results.jsonl").len(), 1);
    assert_eq!(machine.results("results.1.jsonl").len(), 2);
}

#[test]
fn a_local_run_sets_no_time_limit_of_its_own() {
    let machine = Machine::new();
    machine.task_file("shell:0:0:1:sleep 2.5\n");
    machine.run(&[]).expect(0);
    machine.file("conf.json", r#"{"default_task_timeout_seconds": 1}"#);
    let output = machine.run(&["--rerun"]).expect(1);
    assert!(output.all().contains("timed out after 1 s"), "{output}");
}

#[test]
fn slots_say_how_many_run_at_once() {
    let machine = Machine::new();
    let line = |n| format!("shell:0:0:1:echo + >> ran; sleep 0.3; echo - >> ran # {n}\n");
    machine.task_file(&(0..4).map(line).collect::<String>());
    machine.run(&["-j", "1"]).expect(0);
    assert_eq!(lines_of(machine.path("ran")), ["+", "-", "+", "-", "+", "-", "+", "-"]);
    machine.file("wide", "shell:0:2:1:true\n");
    let output = machine.worker(&["--cores", "1", "wide"]).run().expect(1).says(&["1 task did not run"]);
    assert!(output.stdout.contains("0 tasks finished"), "{output}");
    machine.file("large", "shell:3:0:1:true\n");
    machine.worker(&["--memory", "2.5", "large"]).run().expect(1).says(&["did not run: this machine has only 2.50 GB"]);
    machine.worker(&["--memory", "0", "large"]).run().expect(2).says(&["above 0"]);
}

#[test]
fn another_number_of_slots_continues_the_run() {
    let machine = Machine::new();
    let run = |args: &[&str]| {
        let command = ["--", "echo {} >> ran; exit 0", ":::", "1", "2", "3"];
        machine.worker(&[args, &command].concat()).run().expect(0)
    };
    run(&[]);
    for args in [&["-j", "2"][..], &["-j", "64"], &["-c", "1", "-j", "1"], &["--cores", "1"]] {
        run(args).says(&["nothing to do: 3 tasks finished"]);
    }
    assert_eq!(lines_of(machine.path("ran")).len(), 3);
}

#[test]
fn tasks_given_twice_are_mentioned() {
    let machine = Machine::new();
    let run = |values: &[&str]| machine.worker(&[&["--", "true", ":::"], values].concat()).run().expect(0);
    let output = run(&["a", "b", "a"]);
    assert!(
        output.stdout.contains("2 tasks finished") && output.stdout.contains("1 task given twice is run once"),
        "{output}"
    );
    assert!(!run(&["a", "c"]).all().contains("given"));
    machine.file("twice", "true 1\ntrue 2\ntrue 1\ntrue 2\n");
    let submit =
        |more: &str| machine.cli("distcomp-submit").args(["--local", more, "--commands", "twice"]).run().expect(0);
    assert!(submit("--dry-run").stdout.contains("2 tasks given twice are run once"));
    submit("--rerun").says(&["2 tasks given twice are run once"]);
    assert!(!submit("--quiet").stderr.contains("given twice"));
}

/// How many of these commands are at work at once, at most.
fn most_at_once(machine: &Machine, args: &[&str]) -> usize {
    let command =
        ["--rerun", "--", "echo + >> ran; sleep 0.7; echo - >> ran # {}", ":::", "1", "2", "3", "4", "5", "6"];
    drop(std::fs::remove_file(machine.path("ran")));
    machine.worker(&[args, &command].concat()).run().expect(0);
    let mut most = 0;
    lines_of(machine.path("ran")).iter().fold(0_usize, |running, line| {
        let running = if line == "+" { running + 1 } else { running.saturating_sub(1) };
        most = running.max(most);
        running
    });
    most
}

#[test]
fn slots_alone_run_so_many_at_once_on_any_machine() {
    let machine = Machine::new();
    let cores = std::thread::available_parallelism().expect("a number").get();
    assert_eq!(most_at_once(&machine, &["-j", "6", "--cores", "2"]), 2, "--cores is stronger");
    assert_eq!(most_at_once(&machine, &["-j", "6", "-c", &cores.to_string()]), 1, "-c counts");
    assert_eq!(most_at_once(&machine, &["-j", "6"]), 6, "on {cores} cores");
    assert_eq!(most_at_once(&machine, &["-j", "3"]), 3);
}

#[test]
fn a_run_killed_while_it_sets_tasks_aside_loses_none() {
    const TASKS: u64 = 3000;
    let machine = Machine::new();
    let lines: String = (0..TASKS).map(|n| format!("shell:0:0:{}:true # {n}\n", n % 3)).collect();
    machine.cli("distcomp-submit").args(["--local", "-"]).stdin(lines.as_str()).run().expect(0);
    machine.file("b", "shell:0:0:1:sleep 1000\n");
    for delay in [100, 200, 300, 400, 600, 1000] {
        let run = machine.worker(&["b"]).start();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        run.signal(Signal::SIGKILL);
        run.finish();
        machine.assert_alone();
        let status = machine.cli("distcomp-status").args(["--local", "--json"]).run().expect(0).json();
        let number = |value: &serde_json::Value| value.as_u64().expect("a number");
        let counts = &status["counts"];
        let all = number(&counts["todo"]) + number(&counts["in_progress"]) + number(&status["set_aside"]);
        // And its own, once it has been submitted.
        assert!((TASKS..=TASKS + 1).contains(&all), "after {delay} ms: {status}");
    }
}

#[test]
fn failure_of_another_command_is_mended_by_another_command() {
    let machine = Machine::new();
    machine.worker(&["-n", "a", "--", "test -e mended"]).run().expect(1);
    let again = ["-n", "b", "--after", "a", "--", "echo b >> ran"];
    let said = "1 task did not run, blocked: a has 1 failed; distcomp-ctl --local requeue --batch a tries again, \
                distcomp-ctl --local release a goes on without; then the same command with --all";
    machine.worker(&again).run().expect(1).says(&[said]);
    machine.file("mended", "");
    machine.cli("distcomp-ctl").args(["--local", "requeue", "--batch", "a", "--yes"]).run().expect(0);
    machine.worker(&["--all"]).args(again).run().expect(0);
    assert_eq!(lines_of(machine.path("ran")), ["b"]);
}
