//! The exit codes, and the code of each error. This is the only table of them.

use std::io;
use std::process::ExitCode;

use crate::config::ConfigErrors;
use crate::local::LocalError;
use crate::process::signals::SignalRequest;
use crate::queue::QueueError;
use crate::worker::attach::StartError;
use crate::worker::state::StateError;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked to.
    Done,
    /// It is done, but tasks failed, or hosts.
    TasksFailed,
    /// Wrong usage, configuration or task file, or a queue that disagrees with the configuration.
    Usage,
    /// Redis is unreachable, refuses us, or is of an unsupported version.
    Redis,
    /// A wait took longer than it may.
    TimedOut,
    /// Ended by SIGINT.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 7] =
        [Self::Done, Self::TasksFailed, Self::Usage, Self::Redis, Self::TimedOut, Self::Interrupted, Self::Terminated];

    /// What it says, for the manual pages.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "Success",
            Self::TasksFailed => {
                "The command completed, but tasks failed (distcomp-submit --wait, distcomp-status wait, distcomp-status logs --follow, distcomp-worker --local), or hosts (distcomp-ctl up, down)"
            }
            Self::Usage => {
                "Invalid usage, configuration or task file; a question that was not confirmed; or a second worker with the same name"
            }
            Self::Redis => {
                "Redis is unreachable, refuses commands, or is too old. (A worker that runs as a daemon waits for an unreachable Redis.)"
            }
            Self::TimedOut => "A wait took longer than its --timeout (distcomp-status wait)",
            Self::Interrupted => "A wait was ended by SIGINT",
            Self::Terminated => "A wait was ended by SIGTERM",
        }
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::TasksFailed => 1,
            Self::Usage => 2,
            Self::Redis => 3,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<SignalRequest> for Exit {
    fn from(asked: SignalRequest) -> Self {
        match asked {
            SignalRequest::Interrupt => Self::Interrupted,
            SignalRequest::Terminate | SignalRequest::Hangup => Self::Terminated,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Redis, or the queue in it.
    #[error("failed to {0}")]
    Queue(#[from] QueueError),
    /// `conf.json`, or what overrides it.
    #[error("{0}")]
    Config(ConfigErrors),
    /// The private server of `--local`.
    #[error("cannot {0}")]
    Local(#[from] LocalError),
    /// The queue was there, and cannot be used any more; the text is a whole sentence.
    #[error("{0}")]
    Stopped(String),
    /// What was asked for cannot be done; the text is a whole sentence.
    #[error("{0}")]
    Usage(String),
    /// A file or the terminal; the text fits after "failed to".
    #[error("failed to {what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// What the operating system said.
        error: io::Error,
    },
    /// Whoever read our stdout has gone: a quiet end, as of `| head`.
    #[error("standard output is closed")]
    ClosedPipe,
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Queue(error) => error.into(),
            StartError::Io { what, error } => Self::Io { what, error },
            StartError::OpenRedis(_) => Self::Usage(error.to_string()),
            StartError::NameTaken { .. } | StartError::Confine(_) => Self::Usage(format!("failed to {error}")),
        }
    }
}

impl From<StateError> for CliError {
    fn from(error: StateError) -> Self {
        Self::Usage(format!("failed to {error}"))
    }
}

impl CliError {
    /// An error of a file.
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::Io { what: what.into(), error }
    }

    /// All values, or every error: several mistakes of a command line as one.
    pub(crate) fn all<T>(results: impl Iterator<Item = Result<T, Self>>) -> Result<Vec<T>, Self> {
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(value) => values.push(value),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() {
            0 => Ok(values),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Usage(errors.iter().map(Self::to_string).collect::<Vec<_>>().join("\n"))),
        }
    }

    /// An error of writing results.
    pub(crate) fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::io("write to standard output", error)
        }
    }

    /// What went wrong, in a word for programs; the words are those of `docs/json.md`, and stay.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Queue(error) => code_of_queue(error),
            Self::Config(_) => "config",
            Self::Local(_) => "local",
            Self::Stopped(_) => "stopped",
            Self::Usage(_) => "usage",
            Self::Io { .. } => "io",
            Self::ClosedPipe => "closed_pipe",
        }
    }

    /// How the command ends on it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Queue(error) => of_queue(error),
            Self::Local(error) if error.is_usage() => Exit::Usage,
            Self::Local(_) | Self::Stopped(_) => Exit::Redis,
            Self::Config(_) | Self::Usage(_) | Self::Io { .. } => Exit::Usage,
            Self::ClosedPipe => Exit::Done,
        }
    }
}

fn code_of_queue(error: &QueueError) -> &'static str {
    match error {
        QueueError::Unavailable { .. } => "redis_unavailable",
        QueueError::TimedOut(_) => "redis_timed_out",
        QueueError::Refused { .. } => "redis_refused",
        QueueError::Denied { .. } => "redis_denied",
        QueueError::Busy { .. } => "redis_busy",
        QueueError::GivenUp { .. } => "redis_given_up",
        QueueError::Unsupported(_) => "redis_unsupported",
        QueueError::WrongType { .. } => "redis_wrong_type",
        QueueError::PassedId | QueueError::Protocol(_) => "redis_protocol",
        QueueError::Mismatch(_) => "mismatch",
        QueueError::Fenced => "fenced",
        QueueError::SubmissionClosed => "submission_closed",
    }
}

fn of_queue(error: &QueueError) -> Exit {
    match error {
        QueueError::Unavailable { .. }
        | QueueError::TimedOut(_)
        | QueueError::Refused { .. }
        | QueueError::Denied { .. }
        | QueueError::Busy { .. }
        | QueueError::GivenUp { .. }
        | QueueError::Unsupported(_)
        | QueueError::WrongType { .. }
        | QueueError::PassedId
        | QueueError::Protocol(_) => Exit::Redis,
        // The name is somebody else's: the same as any other disagreement with the queue.
        QueueError::Mismatch(_) | QueueError::Fenced | QueueError::SubmissionClosed => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_contract() {
        let codes = Exit::ALL.map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 124, 130, 143]);
    }

    #[test]
    fn a_refusal_is_redis_and_a_mismatch_is_usage() {
        let refused = QueueError::Refused { at: "x".to_owned(), message: "WRONGPASS".to_owned() };
        assert_eq!(CliError::from(refused).exit(), Exit::Redis);
        assert_eq!(CliError::from(QueueError::Mismatch("order".to_owned())).exit(), Exit::Usage);
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(CliError::stdout(error).exit(), Exit::Done);
    }
}
