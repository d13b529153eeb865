//! The errors of the queue, and whether a call is worth repeating after each.

pub(super) mod classify;

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// An error of the queue.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// Redis cannot be reached, or the connection broke; the command may have run. Worth another try.
    #[error("reach Redis at {at}: {message}")]
    Unavailable {
        /// The server, without credentials.
        at: String,
        /// What the operating system or the client said.
        message: String,
    },
    /// No answer in time; the command may run later. Worth another try on a new connection.
    #[error("get an answer from Redis within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// Redis refused us: a wrong password or user. Another try is of no use.
    #[error("authenticate to Redis at {at}: {message}")]
    Refused {
        /// The server, without credentials.
        at: String,
        /// What the server said.
        message: String,
    },
    /// The user that we are to Redis lacks a right. Another try is of no use until somebody grants it.
    #[error(
        "{what} at {at}: the Redis user \"{user}\" may not: {message} (example/redis/users.acl lists the rights that each command needs)"
    )]
    Denied {
        /// The server, without credentials.
        at: String,
        /// The user, `default` where none is named.
        user: String,
        /// What was asked: a command and its key, or one of our scripts.
        what: String,
        /// What the server said.
        message: String,
    },
    /// The server is up but cannot do it now: loading, busy, out of memory, read-only, disk full. Worth another try later.
    #[error("run a command: Redis is temporarily unavailable: {message}")]
    Busy {
        /// Whether it still reads its data after a start: that ends by itself, and says nothing of whether it takes writes.
        is_loading: bool,
        /// What the server said, or what stands in the way.
        message: String,
    },
    /// What has to be done could not be done for so long that it was given up. The text says why.
    #[error("keep running: no required call to Redis has succeeded for {} s: {cause}", .lasted.as_secs())]
    GivenUp {
        /// The time since a required call last succeeded.
        lasted: Duration,
        /// What Redis, or the system, said last.
        cause: String,
    },
    /// The worker's name belongs to somebody else now, or was declared dead.
    #[error("keep the worker name: another worker has taken it")]
    Fenced,
    /// The server or the queue's layout is not one that this build supports.
    #[error("use this Redis: {0}")]
    Unsupported(String),
    /// The submission was closed by others, who took it for one that was cut short. Worth another begin.
    #[error("go on: this submission was closed meanwhile, by hand or because it had added nothing for 60 s")]
    SubmissionClosed,
    /// The queue and our configuration disagree.
    #[error("open the queue: {0}")]
    Mismatch(String),
    /// A key holds another type of value than ours: somebody wrote to it. Another try is of no use until it is gone.
    #[error(
        "{what} at {at}: the key has a value of the wrong type (WRONGTYPE): check the key with redis-cli TYPE, then RENAME or DEL it"
    )]
    WrongType {
        /// The server, without credentials.
        at: String,
        /// What was asked: a command and its key, or one of our scripts.
        what: String,
    },
    /// A stream has an entry with this id, or a later one. Another try is of no use.
    #[error("add an entry to the stream: it has one with the same or a later id")]
    PassedId,
    /// The server answered something that this build does not understand, or a script failed.
    #[error("get a valid reply from Redis: {0}")]
    Protocol(String),
}

impl QueueError {
    /// Whether the same call may succeed later without anybody changing the configuration.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::TimedOut(_) | Self::Busy { .. } => true,
            Self::Refused { .. }
            | Self::Denied { .. }
            | Self::GivenUp { .. }
            | Self::Fenced
            | Self::SubmissionClosed
            | Self::Unsupported(_)
            | Self::Mismatch(_)
            | Self::WrongType { .. }
            | Self::PassedId
            | Self::Protocol(_) => false,
        }
    }

    /// The server takes calls, but what it was asked cannot be done now, for a reason that we give.
    pub(crate) fn busy(message: String) -> Self {
        Self::Busy { is_loading: false, message }
    }

    /// Whether the connection should be thrown away and made anew.
    #[must_use]
    pub fn breaks_connection(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TimedOut(_))
    }

    /// The text, without the place within one of our scripts: one fault reads the same whichever script met it.
    #[must_use]
    pub fn without_place(&self) -> String {
        let text = if let Self::Busy { message, .. } = self { message.clone() } else { self.to_string() };
        classify::without_script(&text).trim_end_matches(['.', ' ']).to_owned()
    }

    /// Classifies an error of the client. The client's own texts never hold the password; the address is ours.
    pub(super) fn from_redis(error: &RedisError, at: &str, timeout: Duration) -> Self {
        let message = error.to_string();
        let code = error.code().unwrap_or_default();
        if error.is_timeout() {
            return Self::TimedOut(timeout);
        }
        if error.kind() == ErrorKind::InvalidClientConfig {
            return Self::Mismatch(format!("redis_tls: {at}: {message} (certificates must be X.509 version 3)"));
        }
        if code == "NOAUTH" || message.contains("Authentication required") {
            let message = "it requires a password: set redis_pass or redis_pass_file".to_owned();
            return Self::Refused { at: at.to_owned(), message };
        }
        if code == "WRONGPASS" || error.kind() == ErrorKind::AuthenticationFailed {
            let message = format!("{message}; check redis_user, and redis_pass or redis_pass_file");
            return Self::Refused { at: at.to_owned(), message };
        }
        // The client wraps what it is told while it connects (a database that may not be selected yet), and the code is lost.
        if ["without any password configured", "invalid username-password"].iter().any(|said| message.contains(said)) {
            return Self::Refused { at: at.to_owned(), message };
        }
        if matches!(
            code,
            "LOADING" | "BUSY" | "OOM" | "READONLY" | "MISCONF" | "MASTERDOWN" | "TRYAGAIN" | "NOREPLICAS"
        ) || message.contains("OOM command not allowed")
            || matches!(error.kind(), ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::ReadOnly))
        {
            // The client has words of its own for some of the codes.
            let said = error.detail().map(|detail| detail.trim_end_matches('.'));
            let message = match said {
                Some(said) if !code.is_empty() && !said.starts_with(code) => format!("{code} {said}"),
                Some(said) => said.to_owned(),
                None => message,
            };
            return Self::Busy { is_loading: code == "LOADING", message };
        }
        if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() {
            return Self::Unavailable { at: at.to_owned(), message };
        }
        if classify::is_passed_id(error) {
            return Self::PassedId;
        }
        if error.kind() == ErrorKind::Parse {
            return Self::Protocol(format!("the server at {at} does not use the Redis protocol: check the port"));
        }
        Self::Protocol(message)
    }
}
