//! The line that is being typed, as the shell has split it.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::cli::common::CommonArgs;
use crate::cli::words::{Meaning, Program, meaning};
use crate::config;

/// What is being typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// The word after `distcomp`.
    Word(String),
    /// Arguments of a program; the last one is being typed.
    Arguments {
        /// The program.
        program: Program,
        /// At least one.
        args: Vec<String>,
    },
}

impl Typed {
    /// The name of the program, its arguments, the last one perhaps empty. `None`: nothing can be said about this line.
    pub(super) fn of(words: &[String]) -> Option<Self> {
        let (program, args) = words.split_first()?;
        let name = Path::new(program).file_name()?.to_str()?;
        if name == "distcomp" {
            return match args {
                [] => None,
                [word] => Some(Self::Word(word.clone())),
                [help, word] if help == "help" => Some(Self::Word(word.clone())),
                [word, rest @ ..] => {
                    let Meaning::Command(found) = meaning(word) else { return None };
                    let first = found.first.iter().map(|&word| word.to_owned());
                    Some(Self::Arguments { program: found.program, args: first.chain(rest.iter().cloned()).collect() })
                }
            };
        }
        let program = Program::ALL.into_iter().find(|program| program.file() == name)?;
        (!args.is_empty()).then(|| Self::Arguments { program, args: args.to_vec() })
    }
}

/// Which queue the line is about.
#[derive(Debug)]
pub(super) struct QueueFlags {
    /// `--config` and `--redis-url`, or the variable in place of the first.
    pub(super) common: CommonArgs,
    /// `--local`.
    pub(super) local: Option<PathBuf>,
}

impl QueueFlags {
    /// What the arguments before the last one say.
    pub(super) fn of(args: &[String]) -> Self {
        let named = std::env::var("DISTCOMP_CONFIG").ok();
        let mut flags = Self { common: CommonArgs { config: named.and_then(path), redis_url: None }, local: None };
        let before = &args[..args.len().saturating_sub(1)];
        let mut rest = before.iter().take_while(|arg| *arg != "--");
        while let Some(arg) = rest.next() {
            let (flag, attached) = arg.split_once('=').map_or((&**arg, None), |(flag, value)| (flag, Some(value)));
            match flag {
                "--local" => flags.local = path(attached.unwrap_or(".").to_owned()),
                "--config" | "--redis-url" => {
                    let Some(value) = attached.map(str::to_owned).or_else(|| rest.next().cloned()) else { break };
                    if flag == "--config" {
                        flags.common.config = path(value);
                    } else {
                        flags.common.redis_url = Some(SecretString::from(value));
                    }
                }
                _ => {}
            }
        }
        flags
    }
}

fn path(text: String) -> Option<PathBuf> {
    config::expand_path(text.as_ref()).ok()
}

/// A word without its quotes; the last quote may be open.
pub(super) fn unquoted(word: &str) -> String {
    let (mut text, mut quote, mut chars) = (String::new(), None, word.chars().peekable());
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '\\') => text.extend(chars.next()),
            (Some('"'), '\\') if chars.peek().is_some_and(|next| "\"\\$`".contains(*next)) => text.extend(chars.next()),
            (_, c) => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn words_of_the_front_become_the_commands_behind_them() {
        for (line, program, args) in [
            ("distcomp ls --st", Program::Status, "tasks --st"),
            ("distcomp tail 3f", Program::Status, "logs --follow 3f"),
            ("bin/distcomp run ", Program::Worker, "--local "),
            ("distcomp status ta", Program::Status, "ta"),
            ("/usr/bin/distcomp-ctl drain ", Program::Ctl, "drain "),
        ] {
            assert_eq!(Typed::of(&words(line)), Some(Typed::Arguments { program, args: words(args) }), "{line}");
        }
        assert_eq!(Typed::of(&words("distcomp su")), Some(Typed::Word("su".to_owned())));
        assert_eq!(Typed::of(&words("distcomp help su")), Some(Typed::Word("su".to_owned())));
        for nothing in ["distcomp", "distcomp-ctl", "distcomp rm x", "ls x", ""] {
            assert_eq!(Typed::of(&words(nothing)), None, "{nothing}");
        }
    }

    #[test]
    fn flags_that_name_the_queue_are_found() {
        let flags = QueueFlags::of(&words("--redis-url redis://h --local=/d show --config"));
        assert!(flags.common.redis_url.is_some() && flags.local == Some("/d".into()));
        assert_eq!(QueueFlags::of(&words("--local sh")).local, Some(".".into()));
        assert_eq!(QueueFlags::of(&words("show --local")).local, None, "it is still being typed");
        assert_eq!(QueueFlags::of(&words("--config a.json --config=b.json x")).common.config, Some("b.json".into()));
    }

    #[test]
    fn quotes_are_removed_also_open_ones() {
        for (word, expected) in
            [(r"a\ b", "a b"), ("'a b", "a b"), (r#""a\"b"c"#, "a\"bc"), (r#""a\b""#, r"a\b"), ("", "")]
        {
            assert_eq!(unquoted(word), expected, "{word}");
        }
    }
}
