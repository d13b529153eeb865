//! Why an attempt failed, in the words that reasons, groups and metrics share.

use std::fmt;

use serde::{Deserialize, Serialize};

use signals::signal_name;

/// Why an attempt failed. Groups of failures go by this, never by the text of a reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Exited with a code other than 0.
    Exit(i32),
    /// Ended by a signal that we did not send.
    Signal(i32),
    /// Ran longer than its limit, in seconds.
    TimedOut(u64),
    /// Needs more memory than the worker has: it ran low with this task alone.
    Memory,
    /// Could not be started.
    Spawn,
    /// Its worker was lost too often while running it.
    Lost,
    /// Cancelled by an operator.
    Cancelled,
    /// The line is not a task.
    Invalid,
    /// The line is not signed as it must be.
    Unsigned,
}

impl FailureKind {
    /// The key of the group: stable, of bounded number, `exit 3`, `timed out`, ….
    #[must_use]
    pub fn group(&self) -> String {
        match self {
            Self::TimedOut(_) => "timed out".to_owned(),
            Self::Memory => "out of memory".to_owned(),
            Self::Spawn => "not started".to_owned(),
            Self::Lost => "worker lost".to_owned(),
            Self::Invalid => "invalid line".to_owned(),
            Self::Exit(_) | Self::Signal(_) | Self::Cancelled | Self::Unsigned => self.to_string(),
        }
    }
}

/// The beginning of a `task_fail_reason`: `exit 3`, `signal 9 (SIGKILL)`, `timed out after 300 s`.
impl fmt::Display for FailureKind {
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
            Self::Lost => f.write_str("worker lost while running this task"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Invalid => f.write_str("invalid task line"),
            Self::Unsigned => f.write_str("not signed"),
        }
    }
}

/// Names of signals without a call into libc.
mod signals {
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
        assert_eq!(FailureKind::Exit(3).to_string(), "exit 3");
        assert_eq!(FailureKind::Signal(9).to_string(), "signal 9 (SIGKILL)");
        assert_eq!(FailureKind::Signal(40).to_string(), "signal 40");
        assert_eq!(FailureKind::TimedOut(300).to_string(), "timed out after 300 s");
    }

    #[test]
    fn time_outs_of_any_length_are_one_group() {
        assert_eq!(FailureKind::TimedOut(1).group(), FailureKind::TimedOut(300).group());
        assert_ne!(FailureKind::Exit(1).group(), FailureKind::Exit(2).group());
    }
}
