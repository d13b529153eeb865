//! Signals that ask this program for something. The one place that subscribes to them.
//!
//! A signal that was ignored when the program started stays ignored: `nohup` ignores SIGHUP, a shell that runs a job in the background
//! without job control ignores SIGINT and SIGQUIT, and a handler of ours would undo what the user asked for. SIGQUIT has no handler here, so
//! it keeps the disposition that the program started with.
//! SIGTERM is the exception: no shell ignores it for a job, and a daemon that cannot be asked to end would be killed.

use std::io;

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::syscalls;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal is gone, or, for a daemon, a reload.
    Hangup,
}

impl Asked {
    fn number(self) -> Number {
        match self {
            Self::Interrupt => Number::SIGINT,
            Self::Terminate => Number::SIGTERM,
            Self::Hangup => Number::SIGHUP,
        }
    }
}

/// A subscription to some signals.
#[derive(Debug)]
pub struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl Signals {
    /// Subscribes to these, except to SIGINT and SIGHUP where they were ignored when the program started. Must be called within a tokio
    /// runtime. The handlers stay when the subscription is dropped: from then on the signals do nothing.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn of(wanted: &[Asked]) -> io::Result<Self> {
        let subscribe = |asked: Asked| if wanted.contains(&asked) { handler(asked.number() as i32) } else { Ok(None) };
        Ok(Self {
            interrupt: subscribe(Asked::Interrupt)?,
            terminate: wanted.contains(&Asked::Terminate).then(|| signal(SignalKind::terminate())).transpose()?,
            hangup: subscribe(Asked::Hangup)?,
        })
    }

    /// The next one. Waits for ever where all of them are ignored. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            () = received(self.interrupt.as_mut()) => Asked::Interrupt,
            () = received(self.terminate.as_mut()) => Asked::Terminate,
            () = received(self.hangup.as_mut()) => Asked::Hangup,
        }
    }
}

/// Takes every signal again that was blocked when the program started: a handler of a blocked signal never runs, and what this program starts would not
/// be ended by it either. First thing in every program, while it has one thread.
pub fn unblock() {
    // It fails only for a request that makes no sense.
    let _ = SigSet::all().thread_unblock();
}

/// Makes a file that has reached its size limit (`RLIMIT_FSIZE`) an error like a full disk, and not the end of this program. A handler and not
/// `SIG_IGN`, since tasks would inherit that. Must be called within a tokio runtime.
///
/// # Errors
/// The system refuses a handler.
pub fn outlive_file_limits() -> io::Result<()> {
    handler(Number::SIGXFSZ as i32).map(drop)
}

fn handler(number: i32) -> io::Result<Option<Signal>> {
    // Nothing in this program ignores a signal, so what is ignored now was ignored at the start.
    if syscalls::is_ignored(number) { Ok(None) } else { signal(SignalKind::from_raw(number)).map(Some) }
}

async fn received(signal: Option<&mut Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_without_a_handler_is_not_taken_for_ignored() {
        assert!(!syscalls::is_ignored(Number::SIGUSR2 as i32));
        // The standard library ignores it before `main`.
        assert!(syscalls::is_ignored(Number::SIGPIPE as i32));
        assert!(handler(Number::SIGPIPE as i32).is_ok_and(|signal| signal.is_none()));
    }
}
