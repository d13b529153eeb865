//! `--halt`: a run that ends before its tasks, in the words of GNU parallel.
use std::fs;

use super::Machine;
use crate::support::lines_of;

fn machine() -> Machine {
    let machine = Machine::new();
    machine.file("conf.json", r#"{"max_retry_per_task": 1}"#);
    machine
}

/// Numbers from 1; the third one fails, and each takes a moment.
fn halting(halt: &'static str) -> Vec<&'static str> {
    let command = "echo {} >> ran; sleep 0.2; test {} != 3";
    vec!["-j1", "--halt", halt, "--array", "1-30", "--", command]
}

#[test]
fn a_run_that_halts_soon_goes_on_with_the_same_command() {
    let machine = machine();
    let output = machine.worker(&halting("soon,fail=1")).run().expect(1);
    let ran = lines_of(machine.path("ran")).len();
    assert!((3..10).contains(&ran), "{ran} have run\n{output}");
    let last = output.stderr.lines().last().unwrap_or_default();
    let left =
        format!("ended by --halt soon,fail=1: 1 failure, {} finished in this run; {} tasks left", ran - 1, 30 - ran);
    assert!(last.contains(&left) && last.ends_with("the same command continues the run"), "{output}");
    let output = machine.worker(&halting("soon,fail=1")).run().expect(1);
    assert!(output.stdout.contains("29 tasks finished, 1 failed"), "{output}");
    assert!(!output.stderr.contains("lifted"), "{output}");
    assert_eq!(lines_of(machine.path("ran")).len(), 30, "each once\n{output}");
    machine.assert_alone();
}

#[test]
fn a_run_that_halts_now_ends_what_runs_and_keeps_it() {
    let machine = machine();
    let command = "echo {} >> ran; if [ {} = 1 ]; then sleep 0.3; exit 7; elif [ ! -e gate ]; then sleep 3600; fi";
    let args = ["-j3", "--halt", "now,fail=1", "--array", "1-6", "--", command];
    let output = machine.worker(&args).run().expect(1);
    assert!(output.stdout.contains("0 tasks finished, 1 failed"), "{output}");
    assert!(output.stderr.contains("ended by --halt now,fail=1: 1 failure"), "{output}");
    machine.assert_alone();
    fs::write(machine.path("gate"), "").expect("the gate");
    let output = machine.worker(&args).run().expect(1);
    assert!(output.stdout.contains("5 tasks finished, 1 failed"), "{output}");
}

#[test]
fn success_and_parts_of_the_tasks_end_a_run() {
    for (halt, least) in [("soon,success=2", 2), ("soon,done=20%", 6)] {
        let machine = machine();
        let output = machine.worker(&halting(halt)).run().expect(1);
        let ran = lines_of(machine.path("ran")).len();
        assert!((least..least + 6).contains(&ran), "{halt}: {ran} have run\n{output}");
    }
}

#[test]
fn a_condition_that_the_last_task_meets_changes_nothing() {
    let machine = machine();
    let output = machine.worker(&["--halt", "soon,success=3", "--", "true", ":::", "1", "2", "3"]).run().expect(0);
    assert!(output.stdout.contains("3 tasks finished, 0 failed"), "{output}");
    let again = machine.worker(&["--rerun", "--halt", "never", "--", "true", ":::", "1", "2", "3"]).run().expect(0);
    assert!(!again.stderr.contains("lifted"), "{again}");
}

#[test]
fn other_words_are_refused_with_those_that_are_valid() {
    let machine = machine();
    for word in ["later,fail=1", "now,fail=0", "soon"] {
        let output = machine.worker(&["--halt", word, "--", "touch", "never"]).run().expect(2);
        assert!(output.stderr.contains(word) && output.stderr.contains("now,fail=1 or soon,fail=3%"), "{output}");
    }
    assert!(!machine.path("never").exists());
}
