//! `distcomp`: a small program in front of the four others; each word leads to one of their commands.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::CommandFactory as _;

use super::ctl::CtlArgs;
use super::exit::{CliError, Exit};
use super::output::{Out, fail};
use super::run_help::run_help;
use super::status::StatusArgs;
use super::submit::SubmitArgs;
use super::words::{self, Meaning, Program, RUN, Word, meaning};
use super::worker::WorkerArgs;
use crate::view::safe_text::safe;
const PROGRAM: &str = "distcomp";

/// The whole command: it becomes one of the others, or says what there is.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    match front(&args) {
        Ok(exit) => exit.into(),
        Err(error) => {
            if !matches!(error, CliError::ClosedPipe) {
                fail(PROGRAM, &error);
            }
            error.exit().into()
        }
    }
}

fn front(args: &[OsString]) -> Result<Exit, CliError> {
    let Some((first, rest)) = args.split_first() else {
        print(&help())?;
        return Ok(Exit::Usage);
    };
    match first.to_string_lossy().as_ref() {
        "-h" | "--help" => print(&help()),
        "-V" | "--version" => print(&format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION"))),
        "help" => match rest.first() {
            None => print(&help()),
            Some(word) if word == "-h" || word == "--help" => print(&help()),
            Some(word) => command_or_help(find(word)?, &[OsString::from("--help")]),
        },
        option if option.starts_with('-') => {
            let option = safe(option);
            Err(CliError::Usage(format!("{option} stands before the command: distcomp COMMAND {option} …")))
        }
        _ => command_or_help(find(first)?, rest),
    }
}

/// Of `run` the help is our own: that of the worker begins with what a cluster needs.
fn command_or_help(word: &'static Word, rest: &[OsString]) -> Result<Exit, CliError> {
    let flags = rest.iter().take_while(|arg| *arg != "--");
    let asked = flags.filter_map(|arg| arg.to_str()).find(|arg| matches!(*arg, "-h" | "--help"));
    match asked {
        Some(asked) if word.name == "run" => print(&run_help(asked == "--help")),
        _ => become_command(word, rest),
    }
}

fn print(text: &str) -> Result<Exit, CliError> {
    let mut out = Out::new();
    out.text(text)?;
    out.finish()?;
    Ok(Exit::Done)
}

fn find(word: &OsStr) -> Result<&'static Word, CliError> {
    let text = word.to_string_lossy();
    match meaning(&text) {
        Meaning::Command(word) => Ok(word),
        Meaning::Unclear(answer) => Err(CliError::Usage(format!("{} is no command: {answer}", safe(&text)))),
        Meaning::Near(near) => Err(CliError::Usage(format!(
            "{} is no command (did you mean {}?); distcomp help lists all",
            safe(&text),
            near.name
        ))),
        Meaning::Unknown => {
            Err(CliError::Usage(format!("{} is no command{}; distcomp help lists all", safe(&text), to_run(word))))
        }
    }
}

/// How to run a file that was given in place of a command.
fn to_run(word: &OsStr) -> String {
    let name = safe(&word.to_string_lossy()).into_owned();
    match std::fs::metadata(word) {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => {
            format!("; to run it: distcomp run -- {name} …")
        }
        Ok(file) if file.is_file() => format!("; to run the commands in it: distcomp run --commands {name}"),
        Ok(_) | Err(_) => String::new(),
    }
}

/// Replaces this process: the command has its terminal, its signals and its exit code.
fn become_command(word: &Word, rest: &[OsString]) -> Result<Exit, CliError> {
    let name = word.program.file();
    let mut command = Command::new(beside(name));
    if word.name == "run" {
        // It is how its messages name it.
        command.arg0(RUN);
    }
    let error = command.args(word.first).args(rest).exec();
    Err(CliError::io(format!("start {name}, which must be beside distcomp or in PATH"), error))
}

/// The program of the same build, which is in the same directory; else whichever the shell would find.
fn beside(name: &str) -> PathBuf {
    let own = env::current_exe().ok().and_then(|path| Some(path.parent()?.join(name)));
    own.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(name))
}

/// All commands: for completions and manual pages. Their flags are those of the programs behind them.
pub(crate) fn command() -> clap::Command {
    let mut front = clap::Command::new(PROGRAM).version(env!("CARGO_PKG_VERSION")).about(ABOUT);
    for word in words::all() {
        let word_command =
            clap::Command::new(word.name).about(about(word)).visible_aliases(word.aliases.iter().copied());
        front = front.subcommand(word_command);
    }
    front
}

/// The definition of the command that a word stands for.
fn behind(word: &Word) -> clap::Command {
    let whole = match word.program {
        Program::Worker => WorkerArgs::command(),
        Program::Submit => SubmitArgs::command(),
        Program::Status => StatusArgs::command(),
        Program::Ctl => CtlArgs::command(),
    };
    let named = word.first.first().and_then(|first| whole.find_subcommand(first).cloned());
    named.unwrap_or(whole)
}

/// What it is for.
pub(crate) const ABOUT: &str = "Run shell commands on one machine or on many, and lose none";

fn help() -> String {
    let mut text = format!("{ABOUT}\n\nUsage: distcomp COMMAND [ARGUMENTS]\n");
    for (title, words) in words::GROUPS {
        text.push_str(&format!("\n{title}:\n"));
        for word in *words {
            text.push_str(&format!("  {:<12} {}\n", word.name, about(word)));
        }
    }
    format!("{text}\nExamples:\n{EXAMPLES}\n\n{TAIL}")
}

fn about(word: &Word) -> String {
    match word.name {
        "run" => "Run tasks on this machine, with a Redis of its own".to_owned(),
        "tail" => "Follow the output of a task".to_owned(),
        "status" => "Show counts, workers, rate and failures".to_owned(),
        "ctl" => "Run any command of distcomp-ctl".to_owned(),
        _ => {
            let about = behind(word).get_about().map(ToString::to_string).unwrap_or_default();
            about.split([';', '[', ':', '(']).next().unwrap_or_default().trim().to_owned()
        }
    }
}

/// Examples of use.
pub(crate) const EXAMPLES: &str =
    "  distcomp run -- ./simulate {} ::: *.trace     a command for each file, on this machine
  distcomp run --commands commands.txt          a file with a command on each line
  distcomp submit --commands commands.txt       the same, for the workers of a cluster
  distcomp watch                                see it run";

const TAIL: &str = "\
distcomp help COMMAND explains a command. The programs behind it, distcomp-worker, distcomp-submit,
distcomp-status and distcomp-ctl, can be used directly.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_to_a_command_that_exists() {
        for word in words::all() {
            let first = word.first.first().filter(|first| !first.starts_with('-'));
            let whole = [WorkerArgs::command(), SubmitArgs::command(), StatusArgs::command(), CtlArgs::command()];
            let program = whole.iter().find(|whole| whole.get_name() == word.program.file()).expect("a program");
            assert!(first.is_none_or(|first| program.find_subcommand(first).is_some()), "{}", word.name);
            assert!(!about(word).is_empty(), "{}", word.name);
        }
        command().debug_assert();
    }

    #[test]
    fn the_help_fits_a_terminal() {
        for line in help().lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
