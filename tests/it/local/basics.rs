//! A file is run, Ctrl-C and again, and nothing stays behind.
use nix::sys::signal::Signal;

use super::Machine;
use crate::support::{SOON, holds_for, lines_of, read, unique_sleep, wait_until, with_argv, with_mark};

#[test]
fn a_run_in_a_directory_that_cannot_be_written_works() {
    let machine = Machine::new();
    let run = |args: &[&str]| machine.worker(args).dir("/sys".as_ref()).run();
    let short = run(&["-k", "--", "echo", ":::", "a"])
        .expect(0)
        .says(&["warning: result_dir: ", "set result_dir in conf.json"]);
    assert_eq!(short.stdout, "a\n", "{short}");
    run(&["--", "seq 1000000 # {}", ":::", "b"]).expect(0);
    let shown = machine
        .cli("distcomp-status")
        .args(["--local", "show", "shell:0:1:0:seq 1000000 # b"])
        .dir("/sys".as_ref())
        .run();
    assert!(shown.expect(0).stdout.contains("distcomp-results"), "the task says what could not be made");
    // What is asked for by name must be there.
    machine.file("conf.json", r#"{"result_dir": "/sys/none"}"#);
    let config = machine.path("conf.json").display().to_string();
    run(&["--config", &config, "--", "true"]).expect(2).says(&["result_dir: found \"/sys/none\""]);
    machine.assert_alone();
}

#[test]
fn it_runs_a_file_and_leaves_no_process_behind() {
    let machine = Machine::new();
    machine.task_file("shell:0:0:1:echo one >> ran; (setsid sleep 3611 &)\nshell:0:0:5:30:echo two >> ran\npython:0:0:1:open('ran', 'a').write('three\\n')\n");
    let output = machine.run(&[]).expect(0);
    let mut ran = lines_of(machine.path("ran"));
    ran.sort();
    assert_eq!(ran, ["one", "three", "two"], "tasks run in the directory of the command\n{output}");
    assert!(output.all().contains('3'), "the summary has the count\n{output}");
}

#[test]
fn failures_are_in_the_summary_and_make_it_exit_1() {
    let machine = Machine::new();
    machine
        .task_file("shell:0:0:1:echo good\nshell:0:0:1:echo 'no such trace' >&2; exit 3\nshell:0:0:1:1:sleep 3612\n");
    let output = machine.run(&[]).expect(1);
    for text in ["exit 3", "no such trace", "timed out after 1 s"] {
        assert!(output.all().contains(text), "no {text:?} in the summary\n{output}");
    }
}

#[test]
fn a_second_run_says_that_it_is_finished_and_fresh_starts_anew() {
    let machine = Machine::new();
    machine.task_file("shell:0:0:1:echo ran >> ran\n");
    machine.run(&[]).expect(0);
    let output = machine.run(&[]).expect(0);
    assert!(output.all().contains("finished"), "{output}");
    assert_eq!(read(machine.path("ran")), "ran\n");
    machine.run(&["--fresh"]).expect(0);
    assert_eq!(read(machine.path("ran")), "ran\nran\n");
}

#[test]
fn after_ctrl_c_the_same_command_goes_on_where_it_was() {
    let machine = Machine::new();
    let mark = unique_sleep();
    let gate = machine.path("gate");
    let gate = gate.display();
    machine.task_file(&format!(
        "shell:0:0:9:echo first >> ran\nshell:0:0:1:test -e {gate} || sleep {mark}; echo second >> ran\n"
    ));
    let started = machine.command(&[]).start();
    wait_until("the second task to run", SOON, || holds_for(!with_argv(&mark).is_empty(), read(machine.path("ran"))));
    started.signal(Signal::SIGINT);
    // It waits for the running task: another one ends that. Two that come at once may be one.
    wait_until("it to end", SOON, || {
        started.signal(Signal::SIGINT);
        holds_for(with_mark(&machine.mark).is_empty(), "it still runs")
    });
    let output = started.finish();
    assert!(output.code.is_some_and(|code| code != 0), "it did not finish\n{output}");
    machine.assert_alone();
    assert!(with_argv(&mark).is_empty());
    std::fs::write(machine.path("gate"), "").expect("the gate");
    machine.run(&[]).expect(0);
    assert_eq!(read(machine.path("ran")), "first\nsecond\n", "what was done is not done again");
}

#[test]
fn a_bad_line_is_reported_and_nothing_runs() {
    let machine = Machine::new();
    machine.task_file("shell:0:0:1:echo ran >> ran\nshell:0:0:x:true\n");
    machine.run(&[]).expect(2).says(&["task:2: ", "prio"]);
    assert_eq!(read(machine.path("ran")), "");
}

#[test]
fn two_directories_do_not_share_their_state() {
    let (one, two) = (Machine::new(), Machine::new());
    for machine in [&one, &two] {
        machine.task_file("shell:0:0:1:echo ran >> ran\n");
        let shared = one.path("state");
        machine.command(&[]).env("XDG_STATE_HOME", shared).run().expect(0);
        assert_eq!(read(machine.path("ran")), "ran\n");
    }
}

#[test]
fn files_without_a_task_say_so() {
    let machine = Machine::new();
    machine.task_file("# nothing yet\n\n");
    machine.run(&[]).expect(0).says(&["the files or sources contain no task"]);
}
