//! Directives: lines of a file that begin with `#DC ` and hold flags.

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::SubmitArgs;
use super::batch_flags::BatchFlags;
use super::flags::FieldFlags;
use crate::compose::Settings;

/// What a directive may hold.
#[derive(Clone, Debug, Default, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
pub(super) struct Directive {
    /// The lines after it are commands
    #[arg(long, conflicts_with = "jsonl")]
    pub(super) commands: bool,
    /// The lines after it are JSON objects
    #[arg(long)]
    pub(super) jsonl: bool,
    /// The batch, and further down a step of it
    #[arg(long, short = 'n')]
    pub(super) name: Option<String>,
    /// The step begins after all steps above
    #[arg(long)]
    pub(super) barrier: bool,
    #[command(flatten)]
    pub(super) batch: BatchFlags,
    #[command(flatten)]
    pub(super) fields: FieldFlags,
}

/// The flags of a line, when it is a directive; other comments are comments.
pub(super) fn directive_in(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("#DC")?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then(|| rest.trim())
}

/// What a directive says of names, also when it is faulty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Glimpse {
    pub(super) name: Option<String>,
    pub(super) barrier: bool,
    pub(super) jsonl: bool,
}

impl Glimpse {
    /// Reads no more than these flags.
    pub(super) fn of(text: &str) -> Self {
        // With a quote that is not closed, the words up to there are as good as any.
        let words = shlex::split(text).unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect());
        if let Ok(Directive { name, barrier, jsonl, .. }) = Directive::try_parse_from(&words) {
            return Self { name, barrier, jsonl };
        }
        let mut seen = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (flag, value) = word.split_once('=').map_or((word.as_str(), None), |(flag, value)| (flag, Some(value)));
            match flag {
                "--name" | "-n" | "name" => seen.name = value.map(str::to_owned).or_else(|| words.next().cloned()),
                "--barrier" | "barrier" => seen.barrier = true,
                "--jsonl" | "jsonl" => seen.jsonl = true,
                // `-nNAME`
                _ if !word.starts_with("--") => {
                    seen.name = word.strip_prefix("-n").map(str::to_owned).or(seen.name);
                }
                _ => {}
            }
        }
        seen
    }

    /// Both, of which this one counts first.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            barrier: self.barrier || other.barrier,
            jsonl: self.jsonl || other.jsonl,
        }
    }
}

impl Directive {
    /// What it says about the lines that follow.
    pub(super) fn settings(&self) -> Settings {
        Settings { name: self.name.clone(), tags: self.batch.tag.clone(), ..self.fields.settings() }
    }

    /// Reads the flags.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).ok_or("a quote of this directive is not closed")?;
        if let Some(word) = words.first().filter(|word| !word.starts_with('-')) {
            let flag = match word.split_once('=') {
                Some((name, value)) => format!("--{name} {value}"),
                None => format!("--{}", words.join(" ")),
            };
            return Err(format!("a directive holds flags: #DC {flag}"));
        }
        Self::try_parse_from(&words).map_err(|error| explain(&error))
    }
}

/// What clap has to say, in one line.
fn explain(error: &clap::Error) -> String {
    let context = |kind| {
        let value = error.get(kind)?;
        if let ContextValue::String(text) = value {
            return Some(text.clone());
        }
        let ContextValue::Strings(texts) = value else { return None };
        texts.first().cloned()
    };
    let named = context(ContextKind::InvalidArg).unwrap_or_default();
    if error.kind() != ErrorKind::UnknownArgument {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        return first.strip_prefix("error: ").unwrap_or(first).to_owned();
    }
    if is_of_the_command_line(&named) {
        format!("{named} is of the command line, not of a directive")
    } else if named.starts_with('-') {
        let meant = near_flag(&named).map(|flag| format!(" (did you mean {flag}?)"));
        format!("{named} is no flag of distcomp-submit{}", meant.unwrap_or_default())
    } else {
        format!("a directive holds flags, and {named} is none")
    }
}

/// Flags further apart than this are no slips of the finger (Jaro-Winkler).
const CLOSE: f64 = 0.8;

/// The flag of a directive that was perhaps meant, by its names there.
fn near_flag(typed: &str) -> Option<String> {
    use clap::CommandFactory as _;
    let typed = typed.trim_start_matches('-').to_lowercase();
    let command = Directive::command();
    let names = command.get_arguments().flat_map(|arg| {
        let long = arg.get_long().unwrap_or_default();
        let aliases = arg.get_all_aliases().unwrap_or_default();
        std::iter::once(long).chain(aliases).map(move |name| (name, long))
    });
    let scored = names.map(|(name, long)| (strsim::jaro_winkler(&typed, name), long));
    let best = scored.filter(|(score, _)| *score > CLOSE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, long)| format!("--{long}"))
}

fn is_of_the_command_line(flag: &str) -> bool {
    use clap::CommandFactory as _;
    let name = flag.trim_start_matches('-');
    SubmitArgs::command().get_arguments().any(|arg| arg.get_long() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_begin_with_the_mark_are_directives() {
        assert_eq!(directive_in("#DC --mem 8"), Some("--mem 8"));
        assert_eq!(directive_in("#DC"), Some(""));
        for line in ["# DC --mem 8", "#DCx", "# a comment", "echo #DC --mem 8"] {
            assert_eq!(directive_in(line), None, "{line}");
        }
    }

    #[test]
    fn directives_hold_flags() {
        let directive = Directive::parse("--commands -m 8 --env 'A=x y' -o 'logs/{#}.out'").unwrap();
        let settings = directive.fields.settings();
        assert!(directive.commands);
        assert_eq!((settings.mem.as_deref(), settings.output.as_deref()), (Some("8"), Some("logs/{#}.out")));
        assert_eq!(settings.env, ["A=x y"]);
    }

    #[test]
    fn faulty_directives_still_name_their_step() {
        for (text, name, barrier) in [
            ("--name b --aftr a", Some("b"), false),
            ("--name=b --barrier --foo", Some("b"), true),
            ("-n b --mem 8 --max 1", Some("b"), false),
            ("-nb --foo", Some("b"), false),
            ("name=b", Some("b"), false),
            ("--name b --output 'x", Some("b"), false),
            ("--nme b", None, false),
        ] {
            let seen = Glimpse::of(text);
            assert_eq!((seen.name.as_deref(), seen.barrier), (name, barrier), "{text}");
        }
    }

    #[test]
    fn what_is_no_flag_is_named_with_what_would_be_right() {
        for (text, expected) in [
            ("name=x", "a directive holds flags: #DC --name x"),
            ("mem 8", "a directive holds flags: #DC --mem 8"),
            ("--memm 8", "--memm is no flag of distcomp-submit (did you mean --mem?)"),
            ("--memory 8", "--memory is no flag of distcomp-submit (did you mean --mem?)"),
            ("--cpu 2", "--cpu is no flag of distcomp-submit (did you mean --cpus?)"),
            ("--CPUS 2", "--CPUS is no flag of distcomp-submit (did you mean --cpus?)"),
            ("--outptu f", "--outptu is no flag of distcomp-submit (did you mean --output?)"),
            ("--time-out 1h", "--time-out is no flag of distcomp-submit (did you mean --timeout?)"),
            ("--cpus-per-tsk 2", "--cpus-per-tsk is no flag of distcomp-submit (did you mean --cpus?)"),
            ("--foo", "--foo is no flag of distcomp-submit"),
            ("--wait", "--wait is of the command line, not of a directive"),
            ("--array 1-9", "--array is of the command line, not of a directive"),
            ("--mem 'x", "a quote of this directive is not closed"),
        ] {
            let error = Directive::parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
