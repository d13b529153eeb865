//! `distcomp`: one word leads to each command, and other words to the right one.
use crate::support::{Bed, Cli, Output, bin};

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
    front(&bed, &["retry", "--yes"]).expect(0);
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
    run(&["run", "-j", "4", "commands.txt"]).expect(2).says(&["--local --commands commands.txt"]);
    run(&["run", "-j", "4", "--commands", "commands.txt"]).expect(0).prints(&["2 tasks finished"]);
    run(&["run", "--", "echo", "{}", ":::", "c", "d"]).expect(0).prints(&["2 tasks finished"]);
    run(&["status", "--local"]).expect(0).prints(&["4 finished tasks"]);
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
