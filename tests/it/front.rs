//! `distcomp`: one word leads to each command, and other words to the right one.
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Bed, Cli, Output, bin, lines_of};

fn front(bed: &Bed, args: &[&str]) -> Output {
    let conf = bed.conf_path();
    let cli = Cli::new(bin("distcomp")).dir(bed.path()).env("XDG_STATE_HOME", bed.path().join("state-home"));
    cli.env("DISTCOMP_CONFIG", conf).args(args).run()
}

#[test]
fn words_lead_to_the_commands_behind_them() {
    let bed = Bed::new();
    front(&bed, &["submit", "--", "echo", "hi"]).expect(0).prints(&["added 1 task"]);
    front(&bed, &["status"]).expect(0).prints(&["1 todo tasks"]);
    front(&bed, &["ls", "--state", "todo"]).expect(0).prints(&["echo hi"]);
    front(&bed, &["pause", "--yes"]).expect(0);
    front(&bed, &["resume", "--yes"]).expect(0);
    front(&bed, &["kill", "--yes", "--all"]).expect(0);
    front(&bed, &["retry", "--yes", "--state", "cancelled"]).expect(0);
    front(&bed, &["worker", "--burst", "--name", "w"]).expect(0);
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn commands_run_on_one_machine() {
    let bed = Bed::new();
    std::fs::remove_file(bed.conf_path()).expect("no configuration");
    let run = |args: &[&str]| {
        let cli = Cli::new(bin("distcomp")).dir(bed.path()).env("XDG_STATE_HOME", bed.path().join("state-home"));
        cli.args(args).run()
    };
    bed.file("commands.txt", "echo a >> ran\necho b >> ran\n");
    run(&["run", "-j", "4", "commands.txt"]).expect(2).says(&["distcomp run --commands commands.txt"]);
    run(&["run", "-j", "4", "--commands", "commands.txt"]).expect(0).prints(&["2 tasks finished"]);
    let dry = run(&["run", "--dry-run", "--", "echo", "{}", ":::", "c", "d"]).expect(0);
    dry.prints(&["shell:0:1:0:echo c", "2 tasks are valid", "read as 2 tasks"]);
    run(&["run", "--", "echo", "{}", ":::", "c", "d"]).expect(0).prints(&["2 tasks finished"]);
    run(&["status", "--local"]).expect(0).prints(&["4 finished tasks"]);
}

#[test]
fn commands_in_an_unusual_place_are_run_or_answered() {
    let bed = Bed::new();
    std::fs::remove_file(bed.conf_path()).expect("no configuration");
    bed.file("commands.txt", "echo a >> ran\n");
    bed.file("script", "#!/bin/sh\necho x\n");
    std::fs::set_permissions(bed.path().join("script"), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let cli = |args: &[&str]| {
        let cli = Cli::new(bin("distcomp")).dir(bed.path()).env("XDG_STATE_HOME", bed.path().join("state-home"));
        cli.args(args)
    };
    for (args, expected) in [
        (&["run", "sleep", "1"][..], "write -- before it: -- sleep 1"),
        (&["run", "./script a"], "write -- before it: -- ./script a"),
        (&["run", "script"], "if the script is one task, use: distcomp run -- ./script"),
        (&["run", "--foo"], "Usage: distcomp run [OPTIONS] -- COMMAND"),
        (&["run", "nosuch"], "distcomp run: failed to read nosuch"),
        (&["squeue"], "tasks lists its tasks"),
        (&["run"], "there are no tasks: give a command after --"),
        (&["./script", "{}"], "distcomp run -- ./script"),
        (&["commands.txt"], "distcomp run --commands commands.txt"),
        (&["run", "-m", "-1", "--", "x"], "--mem is \"-1\"; valid: a decimal number of GB"),
    ] {
        cli(args).run().expect(2).says(&[expected]);
    }
    // As GNU parallel does, with commands piped in, and by its names of flags.
    cli(&["run", "--jobs", "2", "--commands"]).stdin("echo b >> ran\n").run().expect(0).prints(&["1 task finished"]);
    cli(&["run", "--resume-failed", "--commands"]).stdin("exit 1\n").run().expect(1);
    assert_eq!(lines_of(bed.path().join("ran")), ["b"]);
    let directives = bed.file("d", "#DC --commands\n#DC -m x\necho a\n");
    cli(&["run", &directives]).run().expect(2).says(&[":3: --mem is \"x\""]);
}

#[test]
fn words_that_mean_nothing_get_an_answer() {
    let bed = Bed::new();
    for (args, expected) in [
        (&["rm"][..], "purge removes the records"),
        (&["delete"], "cancel stops tasks"),
        (&["requeu"], "did you mean requeue?"),
        (&["xyzzy"], "distcomp help lists all"),
        (&["--json", "status"], "distcomp COMMAND --json"),
        (&["help", "xyzzy"], "no command"),
    ] {
        front(&bed, args).expect(2).says(&[expected]);
    }
    front(&bed, &["help"]).expect(0).prints(&["run ", "submit", "requeue"]);
    front(&bed, &["help", "--help"]).expect(0).prints(&["run ", "submit", "requeue"]);
    front(&bed, &["help", "logs"]).expect(0).prints(&["--follow"]);
    front(&bed, &["--version"]).expect(0).prints(&["distcomp "]);
}

#[test]
fn commands_of_another_program_are_named() {
    let bed = Bed::new();
    bed.ctl(&["status"]).expect(2).says(&["distcomp-status"]);
    bed.ctl(&["delete"]).expect(2).says(&["purge removes the records"]);
    bed.ctl(&["kill"]).expect(2).says(&["distcomp-ctl cancel"]);
    bed.status(&["requeue"]).expect(2).says(&["distcomp-ctl requeue"]);
    bed.status(&["top"]).expect(2).says(&["distcomp-status watch"]);
}

/// The commands of a section of the README, as they are typed.
fn commands_of(section: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let (_, after) = readme.split_once(&format!("\n## {section}\n")).expect("the section");
    let section = after.split("\n## ").next().expect("its text");
    section.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

#[test]
fn sweep_of_the_readme_runs_as_it_is_shown() {
    let bed = Bed::new();
    std::fs::remove_file(bed.conf_path()).expect("no configuration");
    let dir = std::path::Path::new(bin("distcomp")).parent().expect("a directory").display().to_string();
    let path = format!("{dir}:{}", std::env::var("PATH").expect("PATH"));
    let commands = commands_of("A sweep in five commands");
    let run = |command: &String| {
        let cli = Cli::new("bash").dir(bed.path()).env("XDG_STATE_HOME", bed.path().join("state-home"));
        cli.env("PATH", &path).args(["-c", command]).run()
    };
    let outputs: Vec<Output> = commands.iter().map(run).collect();
    let [sweep, failures, export, again, status] = outputs.try_into().map_err(|all: Vec<_>| all.len()).expect("five");
    sweep.expect(1).prints(&["4 tasks finished, 2 failed"]);
    failures.expect(0).prints(&["2  exit 1"]);
    export.expect(0).prints(&["simulated trace2 with fifo"]);
    again.expect(1).prints(&["2 failed", "4 of them in earlier runs"]);
    status.expect(0).prints(&["4 finished tasks, 2 failed tasks"]);
}

#[test]
fn placeholders_that_get_no_value_are_told() {
    let bed = Bed::new();
    let told = "COMMAND: warning: {} has placeholders and no values";
    front(&bed, &["submit", "--", "echo", "{}"]).expect(0).says(&[told, "-a - (standard input)"]);
    for word in ["{%}", "{= $_++ =}"] {
        front(&bed, &["submit", "--", "echo", word, ":::", "a"]).expect(2).says(&["of GNU parallel's placeholders"]);
    }
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
}

#[test]
fn equal_faults_here_and_there_are_counted() {
    let bed = Bed::new();
    let lines: String = (0..500).map(|at| format!("shell:1:1:0:true {at}\nshell:x:1:0:true\n")).collect();
    let file = bed.file("lines", lines);
    let told =
        front(&bed, &["submit", &file]).expect(2).says(&["500 of 1,000 lines invalid", "497 more lines: mem is"]);
    assert!(told.stderr.lines().count() < 10, "{told}");
}

#[test]
fn lines_of_a_dry_run_are_bytes_for_programs() {
    let bed = Bed::new();
    let line = "shell:1:1:0:printf a\u{1}b\u{7f}c";
    let file = bed.file("lines", format!("{line}\n"));
    let printed = front(&bed, &["submit", "--dry-run", "--parsable", &file]).expect(0).stdout;
    assert_eq!(printed, format!("{line}\n"));
}
