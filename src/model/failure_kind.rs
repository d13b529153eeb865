//! The kinds of failures that this build records, and the names of their groups.

use std::fmt;

use super::outcome::{Outcome, signals};

/// Why a task stands among the failed ones. Shown as its group, a key in Redis: stable, of bounded number, `exit 3`, `timed out`, `stopped`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Its last attempt ended so.
    Ended(Outcome),
    /// It was given up while it waited, because its batch had stopped.
    BatchStopped,
    /// It was given up while it waited, because something that it waited for failed.
    DependencyFailed,
}

impl FailureKind {
    /// The kind that a text names, in one of the ways in which people write it: `exit 3`, `SIGKILL`, `oom`, `timed_out`, …. `None` for other texts, such
    /// as the groups of Python workers.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let mut text = text.trim().to_ascii_lowercase().replace('_', " ");
        if !text.contains(|c: char| c.is_ascii_digit()) {
            text = text.replace('-', " ");
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        Some(Self::Ended(match words.as_slice() {
            ["exit", code] => Outcome::Exit(code.parse().ok().filter(|code| *code != 0)?),
            ["signal", number] | ["signal", number, _] => {
                Outcome::Signal(number.parse().ok().filter(|number| *number > 0)?)
            }
            [name] if name.starts_with("sig") => Outcome::Signal(signals::signal_number(name)?),
            ["timed", "out"] | ["timeout"] | ["time", "out"] => Outcome::TimedOut(0),
            ["out", "of", "memory"] | ["oom"] | ["memory"] => Outcome::Memory,
            ["not", "started"] | ["spawn"] => Outcome::Spawn,
            ["worker", "lost"] | ["lost"] => Outcome::Lost,
            ["cancelled"] | ["canceled"] => Outcome::Cancelled,
            ["invalid", "line"] | ["invalid"] => Outcome::Invalid,
            ["not", "signed"] | ["unsigned"] => Outcome::Unsigned,
            ["stopped"] => return Some(Self::BatchStopped),
            ["dependency", "failed"] => return Some(Self::DependencyFailed),
            _ => return None,
        }))
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(outcome) => f.write_str(&outcome.group()),
            Self::BatchStopped => f.write_str("stopped"),
            Self::DependencyFailed => f.write_str("dependency failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_the_names_that_people_write() {
        let some = [Outcome::Exit(3), Outcome::Exit(-1), Outcome::Signal(9), Outcome::Signal(40), Outcome::TimedOut(7)];
        let plain = [Outcome::Memory, Outcome::Spawn, Outcome::Lost, Outcome::Cancelled, Outcome::Invalid];
        let named = |text: &str| FailureKind::named(text).map(|kind| kind.to_string());
        for outcome in some.into_iter().chain(plain).chain([Outcome::Unsigned]) {
            assert_eq!(named(&outcome.group()), Some(outcome.group()));
        }
        for outcome in plain.into_iter().chain([Outcome::TimedOut(7), Outcome::Unsigned]) {
            assert_eq!(named(outcome.code()), Some(outcome.group()), "codes of events and JSON");
        }
        for kind in [FailureKind::BatchStopped, FailureKind::DependencyFailed] {
            assert_eq!(FailureKind::named(&kind.to_string()), Some(kind));
        }
        for (text, group) in [
            ("signal 9", Some("signal 9 (SIGKILL)")),
            (" SIGKILL ", Some("signal 9 (SIGKILL)")),
            ("oom", Some("out of memory")),
            ("Timed-Out", Some("timed out")),
            ("timeout", Some("timed out")),
            ("canceled", Some("cancelled")),
            ("exit 0", None),
            ("exit code 3", None),
            ("exit", None),
            ("sigfoo", None),
            ("", None),
        ] {
            assert_eq!(named(text).as_deref(), group, "{text}");
        }
    }
}
