//! How an attempt ended: the one set of outcomes that records, settlements, groups of failures and metrics share.

use std::fmt;

use serde::{Deserialize, Serialize};

use signals::signal_name;

/// How an attempt ended. Records and spools hold it under these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Exited with this code; 0 is success.
    Exit(i32),
    /// Ended by this signal, which the worker did not send.
    Signal(i32),
    /// Killed at its limit of this many seconds.
    TimedOut(u64),
    /// Needs more memory than the worker has: memory ran low while it was the only task.
    Memory,
    /// Could not be started.
    Spawn,
    /// Given back after it had started: memory ran low, or the worker shut down. No failure.
    Returned,
    /// Given back before it started. Counted, and recorded nowhere.
    Unstarted,
    /// Its worker died. Of a task: it was lost with its worker too often.
    Lost,
    /// Cancelled by an operator.
    Cancelled,
    /// The line is not a task.
    Invalid,
    /// The line is not signed as it must be.
    Unsigned,
}

impl Outcome {
    /// The group of [`Outcome::Cancelled`]: the one group whose tasks have not failed.
    pub const CANCELLED_GROUP: &'static str = "cancelled";

    /// Its code, for programs: stable, and without the numbers of [`Outcome`]. Success has one of its own.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Exit(0) => "finished",
            Self::Exit(_) => "exit",
            Self::Signal(_) => "signal",
            Self::TimedOut(_) => "timed_out",
            Self::Memory => "memory",
            Self::Spawn => "spawn",
            Self::Returned => "returned",
            Self::Unstarted => "unstarted",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
            Self::Invalid => "invalid",
            Self::Unsigned => "unsigned",
        }
    }

    /// The exit code, where the main process exited.
    #[must_use]
    pub fn exit_code(self) -> Option<i32> {
        match self {
            Self::Exit(code) => Some(code),
            Self::Signal(_)
            | Self::TimedOut(_)
            | Self::Memory
            | Self::Spawn
            | Self::Returned
            | Self::Unstarted
            | Self::Lost
            | Self::Cancelled
            | Self::Invalid
            | Self::Unsigned => None,
        }
    }

    /// The signal that ended it, where one did.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        if let Self::Signal(number) = self { Some(number) } else { None }
    }

    /// Whether it was cut short through no fault of the task: given back, or its worker died.
    #[must_use]
    pub fn is_cut_short(self) -> bool {
        matches!(self, Self::Returned | Self::Unstarted | Self::Lost)
    }

    /// The group of failures to which it belongs, a key in Redis: stable, of bounded number, `exit 3`, `timed out`, ….
    #[must_use]
    pub fn group(self) -> String {
        match self {
            Self::TimedOut(_) => "timed out".to_owned(),
            Self::Memory => "out of memory".to_owned(),
            Self::Spawn => "not started".to_owned(),
            Self::Invalid => "invalid line".to_owned(),
            Self::Exit(_)
            | Self::Signal(_)
            | Self::Returned
            | Self::Unstarted
            | Self::Lost
            | Self::Cancelled
            | Self::Unsigned => self.to_string(),
        }
    }
}

/// The words of the wire format: the beginning of a `task_fail_reason`, and `result` in JSON. `exit 3`, `signal 9 (SIGKILL)`, `timed out after 300 s`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
            Self::TimedOut(seconds) => write!(f, "timed out after {seconds} s"),
            Self::Memory => f.write_str("needs more memory than this worker has"),
            Self::Spawn => f.write_str("could not be started"),
            Self::Returned | Self::Unstarted => f.write_str("returned"),
            Self::Lost => f.write_str("worker lost"),
            Self::Cancelled => f.write_str(Self::CANCELLED_GROUP),
            Self::Invalid => f.write_str("invalid task line"),
            Self::Unsigned => f.write_str("not signed"),
        }
    }
}

/// Names of signals without a call into libc.
pub(super) mod signals {
    /// The number of a signal of that name.
    pub(in crate::model) fn signal_number(name: &str) -> Option<i32> {
        (1..=31).find(|number| signal_name(*number).is_some_and(|known| known.eq_ignore_ascii_case(name)))
    }

    /// The conventional name of a Linux signal (signal(7), x86 and Arm numbering).
    pub(super) fn signal_name(number: i32) -> Option<&'static str> {
        const NAMES: [&str; 31] = [
            "SIGHUP",
            "SIGINT",
            "SIGQUIT",
            "SIGILL",
            "SIGTRAP",
            "SIGABRT",
            "SIGBUS",
            "SIGFPE",
            "SIGKILL",
            "SIGUSR1",
            "SIGSEGV",
            "SIGUSR2",
            "SIGPIPE",
            "SIGALRM",
            "SIGTERM",
            "SIGSTKFLT",
            "SIGCHLD",
            "SIGCONT",
            "SIGSTOP",
            "SIGTSTP",
            "SIGTTIN",
            "SIGTTOU",
            "SIGURG",
            "SIGXCPU",
            "SIGXFSZ",
            "SIGVTALRM",
            "SIGPROF",
            "SIGWINCH",
            "SIGIO",
            "SIGPWR",
            "SIGSYS",
        ];
        usize::try_from(number).ok()?.checked_sub(1).and_then(|index| NAMES.get(index).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_the_contract_says() {
        assert_eq!(Outcome::Exit(3).to_string(), "exit 3");
        assert_eq!(Outcome::Signal(9).to_string(), "signal 9 (SIGKILL)");
        assert_eq!(Outcome::Signal(40).to_string(), "signal 40");
        assert_eq!(Outcome::TimedOut(300).to_string(), "timed out after 300 s");
    }

    #[test]
    fn time_outs_of_any_length_are_one_group() {
        assert_eq!(Outcome::TimedOut(1).group(), Outcome::TimedOut(300).group());
        assert_ne!(Outcome::Exit(1).group(), Outcome::Exit(2).group());
    }

    #[test]
    fn records_and_spools_keep_their_names() {
        let names = |outcome: Outcome| serde_json::to_string(&outcome).expect("JSON");
        assert_eq!(names(Outcome::Exit(0)), r#"{"exit":0}"#);
        assert_eq!(names(Outcome::TimedOut(9)), r#"{"timed_out":9}"#);
        let plain = [Outcome::Memory, Outcome::Spawn, Outcome::Returned, Outcome::Lost, Outcome::Cancelled];
        assert_eq!(
            plain.map(names),
            ["memory", "spawn", "returned", "lost", "cancelled"].map(|name| format!("\"{name}\""))
        );
        assert!(plain.iter().all(|outcome| names(*outcome) == format!("\"{}\"", outcome.code())));
    }
}
