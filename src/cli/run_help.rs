//! The help of `distcomp run`: the flags of `distcomp-worker` that a local run takes, most useful first.

use clap::{Arg, Command, CommandFactory as _};

use super::words::RUN_USAGE;
use super::worker::WorkerArgs;

/// Flags of a worker of a cluster.
const NOT_OF_A_RUN: &[&str] = &[
    "burst",
    "check",
    "local",
    "allow_insecure",
    "metrics_listen",
    "log_format",
    "redis_url",
    "files",
    "command",
    "version",
];

/// The flags that the short help shows, in its order, each in a line of 80 columns.
const SHORT: &[(&str, &str)] = &[
    ("slots", "Run N tasks at once [default: one on each core]"),
    ("commands", "Each line of FILE is a command, not a task line"),
    ("mem", "Start each task when this much memory is free"),
    ("cpus", "Cores of each task [default: 1]"),
    ("timeout", "Limit of run time: seconds, 90m, 1h30m"),
    ("output", "Write each output to a file: logs/{#}.out"),
    ("show_output", "Print what each task wrote when it ends"),
    ("keep_order", "The same, in the order of the commands"),
    ("results", "Write a table of all tasks to a .csv or .jsonl"),
    ("halt", "End early: now,fail=1; soon,fail=3%"),
    ("rerun_failed", "Run the failed tasks of this command again"),
    ("fresh", "Start anew; earlier results are set aside"),
];

const ABOUT: &str = "Run commands on this machine; the same command continues an interrupted run";

const EXAMPLES: &str = "\
Examples:
  distcomp run --commands commands.txt             a file of commands
  distcomp run -j 4 -- ./sim {1} {2} ::: *.trace ::: lru fifo    crossed
  distcomp run -k -- wc -l {} ::: *.log            print the outputs in order
  distcomp status --local                          look at the run, also later
  distcomp failures --local                        what failed, and why
  distcomp logs --local ID                         the output of a task";

const EXIT_CODES: &str =
    "Exit codes: 0 success, 1 tasks failed, 2 invalid usage or configuration, 3 the private Redis cannot be used";

/// The short or the long help.
pub(crate) fn run_help(is_long: bool) -> String {
    let mut command = definition();
    if is_long { command.render_long_help() } else { command.render_help() }.to_string()
}

fn definition() -> Command {
    WorkerArgs::command()
        .name("distcomp run")
        .about(ABOUT)
        .long_about(format!("{ABOUT}.\n\nPlaceholders in COMMAND and in the values of flags: {{}} {{1}} {{name}} {{#}} {{.}} {{/}} {{//}} {{/.}}. Sources after COMMAND: ::: VALUE…, :::: FILE…; several are crossed, :::+ and ::::+ are linked to the source before. Without a placeholder, {{}} is appended. Values are quoted for the shell."))
        .override_usage(RUN_USAGE)
        .mut_args(of_a_run)
        .after_help(format!("{EXAMPLES}\n\ndistcomp help run has all options."))
        .after_long_help(format!("{EXAMPLES}\n\n{EXIT_CODES}"))
}

/// A flag of the worker, as a local run shows it.
fn of_a_run(arg: Arg) -> Arg {
    let id = arg.get_id().as_str();
    if NOT_OF_A_RUN.contains(&id) {
        return arg.hide(true);
    }
    if let Some(place) = SHORT.iter().position(|(name, _)| *name == id) {
        return arg.help(SHORT[place].1).help_heading(None).display_order(place).hide_short_help(false);
    }
    let help = if id == "name" {
        "Add the tasks to this batch, or to a step of one: s1, s1/prep".to_owned()
    } else {
        arg.get_help().map(ToString::to_string).unwrap_or_default()
    };
    arg.help(help).help_heading("More options").hide_short_help(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_that_is_named_exists() {
        let command = WorkerArgs::command();
        let known = |id: &str| id == "version" || command.get_arguments().any(|arg| arg.get_id() == id);
        let named = NOT_OF_A_RUN.iter().chain(SHORT.iter().map(|(id, _)| id));
        assert_eq!(named.filter(|id| !known(id)).count(), 0);
        definition().debug_assert();
    }

    #[test]
    fn long_help_has_every_flag_of_a_run() {
        let long = run_help(true);
        for flag in ["--joblog", "--csv", "--env", "--all", "--cores", "--slots", "--config", "--rerun\n"] {
            assert!(long.contains(flag), "{flag}\n{long}");
        }
        assert!(!long.contains("--burst") && !long.contains("With --local"), "{long}");
    }
}
