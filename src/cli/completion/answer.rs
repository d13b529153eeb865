//! The answer to a script: what may follow on the line that is being typed.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Arg, Command, CommandFactory as _, ValueHint};
use clap_complete::CompletionCandidate;
use clap_complete::engine::{ArgValueCompleter, complete};

use super::from_queue::{Wanted, look_up};
use super::typed::{QueueFlags, Typed, unquoted};
use crate::cli::ctl::CtlArgs;
use crate::cli::front;
use crate::cli::status::StatusArgs;
use crate::cli::submit::SubmitArgs;
use crate::cli::words::{self, Program};
use crate::cli::worker::WorkerArgs;
use crate::model::snapshot::TaskState;
use crate::process;
use crate::view::safe_text::safe;

/// The first argument of a call by a script. It stands apart from the commands, so that no other program or version takes such a call for work.
const CALL: &str = "__complete";
/// A line that is longer is no line that somebody types.
const MAX_LINE: u64 = 1024 * 1024;
/// Marks a candidate that stands for all files, or all directories: the shell completes them best.
const FILES: &str = "files";
const DIRS: &str = "dirs";

/// What the shell shall offer.
#[derive(Debug, PartialEq, Eq)]
enum Offer {
    /// These, each with a line about it.
    Words(Vec<(String, String)>),
    /// What the shell itself knows: `files`, `dirs` or `commands`.
    OfShell(&'static str),
}

/// Answers a script; `None` when this is another call. Nothing is written on standard error, which is the prompt's terminal.
pub(in crate::cli) fn answer() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != CALL {
        return None;
    }
    process::disable_dumps();
    let mut line = Vec::new();
    if io::stdin().lock().take(MAX_LINE).read_to_end(&mut line).is_ok() {
        let text = offer(&words_of(&line)).map_or_else(String::new, |offer| written(&offer));
        drop(io::stdout().lock().write_all(text.as_bytes()));
    }
    Some(ExitCode::SUCCESS)
}

/// Words, each ended by a NUL.
fn words_of(line: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(line);
    let ended = text.strip_suffix('\0').unwrap_or(&text);
    ended.split('\0').map(unquoted).collect()
}

/// The kind in the first line, then a line for each word: `WORD<TAB>ABOUT`.
fn written(offer: &Offer) -> String {
    match offer {
        Offer::OfShell(kind) => format!("{kind}\n"),
        Offer::Words(words) => {
            let lines = words
                .iter()
                .map(|(word, about)| if about.is_empty() { format!("{word}\n") } else { format!("{word}\t{about}\n") });
            std::iter::once("words\n".to_owned()).chain(lines).collect()
        }
    }
}

fn offer(words: &[String]) -> Option<Offer> {
    match Typed::of(words)? {
        Typed::Word(word) => Some(Offer::Words(words_like(&word))),
        Typed::Arguments { program, args } => arguments(program, args),
    }
}

/// The words of `distcomp`; their other names only where no first name fits.
fn words_like(typed: &str) -> Vec<(String, String)> {
    let front = front::command();
    let about = |name: &str| front.find_subcommand(name).and_then(Command::get_about).map_or_else(String::new, plain);
    let names = words::all().map(|word| (word.name.to_owned(), about(word.name)));
    let own = [("help", "Explain a command"), ("--help", "List all commands"), ("--version", "Print the version")]
        .map(|(name, about)| (name.to_owned(), about.to_owned()));
    let mut found: Vec<_> = names.chain(own).filter(|(name, _)| name.starts_with(typed)).collect();
    if typed.is_empty() {
        found.retain(|(name, _)| !name.starts_with('-'));
    }
    if found.is_empty() {
        let others =
            words::all().flat_map(|word| word.aliases.iter().map(|alias| ((*alias).to_owned(), about(word.name))));
        found = others.filter(|(name, _)| name.starts_with(typed)).collect();
    }
    found
}

/// What may stand in place of the last argument.
fn arguments(program: Program, args: Vec<String>) -> Option<Offer> {
    let command = match program {
        Program::Worker => WorkerArgs::command(),
        Program::Submit => SubmitArgs::command(),
        Program::Status => StatusArgs::command(),
        Program::Ctl => CtlArgs::command(),
    };
    let (current, before) = args.split_last()?;
    if before.iter().any(|arg| arg == "--") && command.get_arguments().any(Arg::is_last_set) {
        // A command of the user's, and values for it.
        let is_first = before.last().is_some_and(|arg| arg == "--");
        return Some(Offer::OfShell(if is_first && !current.contains('/') { "commands" } else { FILES }));
    }
    let current = current.clone();
    let flags = Arc::new(QueueFlags::of(&args));
    let line = Arc::new(Line { flags, args: before.to_vec(), is_of_queue: AtomicBool::new(false) });
    let mut command = with_values(command, &line);
    // All long flags, which also stand for the short ones.
    let asked = if current == "-" { "--" } else { &current };
    // As a flag without a value it would take the next argument for one.
    let kept = before.iter().map(String::as_str).filter(|arg| *arg != "--local").chain([asked]);
    let whole: Vec<_> = std::iter::once(program.file()).chain(kept).map(Into::into).collect();
    let last = whole.len() - 1;
    let found = complete(&mut command, whole, last, None).ok()?;
    Some(choose(&current, found, line.is_of_queue.load(Ordering::Relaxed)))
}

/// Options are offered once a dash is typed, or where nothing else can stand; files where no word fits.
fn choose(current: &str, found: Vec<CompletionCandidate>, is_of_queue: bool) -> Offer {
    let is_tagged =
        |candidate: &CompletionCandidate, tag| candidate.get_tag().is_some_and(|found| found.to_string() == tag);
    let of_shell = [FILES, DIRS].into_iter().find(|&tag| found.iter().any(|candidate| is_tagged(candidate, tag)));
    let words = found.iter().filter(|candidate| ![FILES, DIRS].iter().any(|tag| is_tagged(candidate, tag)));
    let mut words: Vec<(String, String)> = words
        .filter_map(|candidate| {
            let word = candidate.get_value().to_str().filter(|word| !word.contains(char::is_control))?;
            Some((word.to_owned(), candidate.get_help().map_or_else(String::new, plain)))
        })
        .collect();
    let has_values = is_of_queue || of_shell.is_some();
    if current.is_empty() && (has_values || words.iter().any(|(word, _)| !word.starts_with('-'))) {
        words.retain(|(word, _)| !word.starts_with('-'));
    }
    match of_shell {
        Some(kind) if words.is_empty() => Offer::OfShell(kind),
        Some(_) | None => Offer::Words(words),
    }
}

/// One line, without anything that drives a terminal.
fn plain(text: &clap::builder::StyledStr) -> String {
    let text = text.to_string();
    safe(text.lines().next().unwrap_or_default()).into_owned()
}

/// What the completion of a value may need of the line.
struct Line {
    flags: Arc<QueueFlags>,
    args: Vec<String>,
    /// Whether the queue was asked.
    is_of_queue: AtomicBool,
}

/// The command with a source of values for its arguments. Whatever is called a line or a worker anywhere is one.
fn with_values(command: Command, line: &Arc<Line>) -> Command {
    let name = command.get_name().to_owned();
    let command = command.mut_args(|arg| with_value(&name, arg, line));
    command.mut_subcommands(|subcommand| with_values(subcommand, line))
}

fn with_value(command: &str, arg: Arg, line: &Arc<Line>) -> Arg {
    if !arg.get_action().takes_values() {
        return arg;
    }
    let is_of_commands = matches!(command, "distcomp-submit" | "distcomp-worker");
    match arg.get_id().as_str() {
        "line" | "lines" => arg.add(of_queue(Wanted::Tasks(states_of(command)), line)),
        "worker" | "workers" => arg.add(of_queue(Wanted::Workers, line)),
        "log_format" => arg.add(fixed(&["text", "json"])),
        "set" => {
            let keys = &["mem=", "cpus=", "priority=", "timeout=", "type=", "gpus=", "constraint=", "after=", "begin="];
            arg.add(fixed(keys))
        }
        "kind" if is_of_commands => arg.add(fixed(&["shell", "python", "demo"])),
        "kind" => arg.add(of_queue(Wanted::Kinds, line)),
        "batch" | "batches" | "after" | "after_any" => arg.add(of_queue(Wanted::Batches, line)),
        "names" if matches!(command, "wait" | "release") => arg.add(of_queue(Wanted::Batches, line)),
        "name" if matches!(command, "distcomp-submit" | "batch") => arg.add(of_queue(Wanted::Batches, line)),
        "name" if command == "limit" => arg.add(of_queue(Wanted::Limits, line)),
        "limit" if is_of_commands => arg.add(of_queue(Wanted::Limits, line)),
        _ if matches!(arg.get_value_hint(), ValueHint::FilePath | ValueHint::AnyPath) => arg.add(by_shell(FILES)),
        _ if arg.get_value_hint() == ValueHint::DirPath => arg.add(by_shell(DIRS)),
        _ => arg,
    }
}

fn of_queue(wanted: Wanted, line: &Arc<Line>) -> ArgValueCompleter {
    let line = Arc::clone(line);
    ArgValueCompleter::new(move |current: &OsStr| {
        line.is_of_queue.store(true, Ordering::Relaxed);
        current
            .to_str()
            .filter(|current| !current.starts_with('-'))
            .map_or_else(Vec::new, |current| look_up(&line.flags, &line.args, wanted, current))
    })
}

fn fixed(values: &'static [&'static str]) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let current = current.to_str().unwrap_or_default();
        values.iter().filter(|value| value.starts_with(current)).map(|value| CompletionCandidate::new(*value)).collect()
    })
}

fn by_shell(tag: &'static str) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| vec![CompletionCandidate::new(current).tag(Some(tag.into()))])
}

/// The tasks that a command is mostly used for come first.
fn states_of(command: &str) -> &'static [TaskState] {
    use TaskState::{Cancelled, Failed, Finished, InProgress, Todo};
    match command {
        "edit" => &[Todo],
        "cancel" => &[InProgress, Todo, Failed],
        "requeue" => &[Failed, Cancelled, Finished],
        "purge" => &[Failed, Cancelled, Finished, Todo, InProgress],
        "explain" => &[Todo, InProgress, Failed, Cancelled, Finished],
        _ => &[InProgress, Failed, Todo, Cancelled, Finished],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match offer(&words) {
            Some(Offer::Words(words)) => words.into_iter().map(|(word, _)| word).collect(),
            Some(Offer::OfShell(kind)) => vec![format!("<{kind}>")],
            None => vec!["<nothing>".to_owned()],
        }
    }

    #[test]
    fn commands_flags_and_fixed_values_are_offered() {
        for (line, expected) in [
            ("distcomp su", &["submit"][..]),
            ("distcomp ki", &["kill"]),
            ("distcomp help wat", &["watch"]),
            ("distcomp submit --dry", &["--dry-run"]),
            ("distcomp tasks --state fi", &["finished"]),
            ("distcomp tasks --state=fi", &["--state=finished"]),
            ("distcomp-status tas", &["tasks"]),
            ("distcomp-status --json tasks --inc", &["--include"]),
            ("distcomp-status --local expla", &["explain"]),
            ("distcomp-ctl requeue --older", &["--older-than"]),
            ("distcomp-ctl edit --all --set pri", &["priority="]),
            ("distcomp run --type py", &["python"]),
            ("distcomp worker --log-format j", &["json"]),
        ] {
            assert_eq!(offered(line), expected, "{line}");
        }
    }

    #[test]
    fn files_and_commands_are_left_to_the_shell() {
        for (line, expected) in [
            ("distcomp submit ", "<files>"),
            ("distcomp submit a.txt b", "<files>"),
            ("distcomp submit --config ", "<files>"),
            ("distcomp status --config=co", "<files>"),
            ("distcomp run -D ", "<dirs>"),
            ("distcomp status --local=", "<dirs>"),
            ("distcomp cancel --file ", "<files>"),
            ("distcomp submit -- si", "<commands>"),
            ("distcomp submit -- ./si", "<files>"),
            ("distcomp run -j 4 -- ./sim {} ::: ", "<files>"),
            ("distcomp rm ", "<nothing>"),
        ] {
            assert_eq!(offered(line), [expected], "{line}");
        }
    }

    #[test]
    fn options_come_with_a_dash() {
        assert!(offered("distcomp-status ").contains(&"tasks".to_owned()));
        assert!(!offered("distcomp-status ").iter().any(|word| word.starts_with('-')));
        assert!(offered("distcomp watch ").contains(&"--interval".to_owned()), "there is nothing else");
        let flags = offered("distcomp run -");
        assert!(["--slots", "--commands", "--cwd"].iter().all(|flag| flags.contains(&(*flag).to_owned())), "{flags:?}");
    }

    #[test]
    fn the_words_come_one_after_the_other() {
        assert_eq!(words_of(b"distcomp\0sub\0"), ["distcomp", "sub"]);
        assert_eq!(words_of(b"distcomp\0\0"), ["distcomp", ""]);
        assert_eq!(words_of(b"distcomp\0a\\ b\0"), ["distcomp", "a b"]);
        let words = Offer::Words(vec![("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())]);
        assert_eq!(written(&words), "words\na\tb\nc\n");
        assert_eq!(written(&Offer::OfShell(FILES)), "files\n");
    }
}
