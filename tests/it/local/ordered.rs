//! An operator's order during a local run is for that run: it ends or waits, says so, and the same command goes on.
use std::fs;

use super::Machine;
use crate::support::{SOON, bin, holds_for, lines_of, read, wait_until};

/// Two tasks, one after the other; the first runs until the gate is there.
const TWO: &str =
    "shell:0:0:9:touch began; until [ -e gate ]; do sleep 0.05; done; echo 1 >> ran\nshell:0:0:1:echo 2 >> ran\n";

fn ctl(machine: &Machine, args: &[&str]) {
    machine.cli("distcomp-ctl").args(["--local", "--yes"]).args(args).run().expect(0);
}

fn wait_began(machine: &Machine) {
    wait_until("the task to run", SOON, || holds_for(machine.path("began").exists(), "not yet"));
}

#[test]
fn run_that_is_paused_says_so_and_ends_when_nothing_waits() {
    let machine = Machine::new();
    machine.task_file(TWO);
    let said = machine.path("said");
    let redirected = machine.cli_of("sh").args(["-c", "exec \"$@\" 2>\"$0\""]).args([&said]);
    let run = redirected.args([bin("distcomp-worker")]).args(["--local", "-j1", "task"]).start();
    wait_began(&machine);
    ctl(&machine, &["pause"]);
    let told = ["the queue is paused by", "distcomp-ctl --local resume"];
    wait_until("it to say so", SOON, || holds_for(told.iter().all(|part| read(&said).contains(part)), read(&said)));
    ctl(&machine, &["cancel", "--include", "echo 2"]);
    fs::write(machine.path("gate"), "").expect("the gate");
    let told = run.finish().expect(1);
    assert!(told.stdout.contains("1 task finished, 0 failed, 1 cancelled"), "{told}");
    assert_eq!(lines_of(machine.path("ran")), ["1"]);
    machine.assert_alone();
    for again in [&["-j1"][..], &["-j1", "--rerun-failed"]] {
        machine.command(again).run().expect(1).says(&["nothing to do: 1 task finished and 1 cancelled"]);
    }
    ctl(&machine, &["requeue", "--state", "cancelled"]);
    machine.command(&["-j1"]).run().expect(0).prints(&["2 tasks finished, 0 failed"]);
    assert_eq!(lines_of(machine.path("ran")), ["1", "2"]);
}

#[test]
fn run_that_is_drained_or_stopped_goes_on_with_the_same_command() {
    for order in [&["drain", "--all"][..], &["stop"]] {
        let machine = Machine::new();
        machine.task_file(TWO);
        let run = machine.command(&["-j1"]).start();
        wait_began(&machine);
        ctl(&machine, order);
        fs::write(machine.path("gate"), "").expect("the gate");
        let output = run.finish().expect(1);
        let said = format!("ended by distcomp-ctl {} with 1 task left: the same command goes on from here", order[0]);
        assert!(output.stderr.contains(&said) && !output.stderr.contains("this machine has"), "{output}");
        machine.run(&["-j1"]).expect(0);
        assert_eq!(lines_of(machine.path("ran")), ["1", "2"]);
    }
}

#[test]
fn small_share_of_memory_has_small_thresholds() {
    let machine = Machine::new();
    machine.task_file("shell:0.1:0.5:5:true\n");
    machine.run(&["--memory", "1"]).expect(0);
    machine.file("conf.json", r#"{"min_dram_gb_accept_new_task": 2}"#);
    let refused = machine.run(&["--memory", "1", "--rerun"]).expect(2);
    assert!(refused.stderr.contains("min_dram_gb_accept_new_task") && refused.stderr.contains("1.00 GB"), "{refused}");
}

#[test]
fn cores_are_counted_as_they_were_asked_for() {
    let machine = Machine::new();
    let wide = "shell:0:20:9:touch $DISTCOMP_TASK_ID.here; until [ $(ls *.here | wc -l) = 2 ]; do sleep 0.05; done";
    machine.task_file(&format!("{wide}; # 1\n{wide}; # 2\n"));
    machine.run(&["--cores", "40"]).expect(0);
    let more = machine.run(&["--cores", "40", "--memory", "1000000", "--rerun"]).expect(0);
    assert!(more.stderr.contains("--memory asks for 1000000.00 GB and this machine has"), "{more}");
}

#[test]
fn explain_without_a_run_names_the_command_that_starts_one() {
    let machine = Machine::new();
    machine.cli("distcomp-submit").args(["--local", "-"]).stdin("shell:0:0:1:true\n").run().expect(0);
    let why = machine.cli("distcomp-status").args(["--local", "explain", "shell:0:0:1:true"]).run().expect(0);
    assert!(why.stdout.contains("distcomp run --all"), "{why}");
}
