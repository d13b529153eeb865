//! The only code that handles signals: SIGINT, SIGTERM, SIGHUP and SIGXFSZ.
//!
//! A signal that was ignored when the program started stays ignored. `nohup` ignores SIGHUP. A shell that runs a background job without job
//! control ignores SIGINT and SIGQUIT. A handler of ours would override that. SIGQUIT has no handler, so it keeps its disposition.
//! SIGTERM is always handled: no shell ignores it for a job, and a daemon that ignores it would be killed.

use std::io;

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::syscalls;

/// A signal that requests something from this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalRequest {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal was closed; for a daemon, reload the configuration.
    Hangup,
}

impl SignalRequest {
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
    /// Subscribes to these signals, except to SIGINT and SIGHUP if they were ignored when the program started. Call it within a tokio runtime. The
    /// handlers stay after a drop: the signals then do nothing.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn of(wanted: &[SignalRequest]) -> io::Result<Self> {
        let subscribe =
            |asked: SignalRequest| if wanted.contains(&asked) { handler(asked.number() as i32) } else { Ok(None) };
        Ok(Self {
            interrupt: subscribe(SignalRequest::Interrupt)?,
            terminate: wanted
                .contains(&SignalRequest::Terminate)
                .then(|| signal(SignalKind::terminate()))
                .transpose()?,
            hangup: subscribe(SignalRequest::Hangup)?,
        })
    }

    /// The next signal. Waits for ever if all of them are ignored. Dropping the future loses no signal.
    pub async fn next(&mut self) -> SignalRequest {
        tokio::select! {
            () = received(self.interrupt.as_mut()) => SignalRequest::Interrupt,
            () = received(self.terminate.as_mut()) => SignalRequest::Terminate,
            () = received(self.hangup.as_mut()) => SignalRequest::Hangup,
        }
    }
}

/// Unblocks all signals. A parent may have blocked some, and blocked signals would neither run a handler here nor end a child process. Call it first in
/// every program, while it has one thread.
pub fn unblock() {
    // It fails only for invalid arguments.
    let _ = SigSet::all().thread_unblock();
}

/// Installs a handler for SIGXFSZ. A write beyond the file size limit (`RLIMIT_FSIZE`) is then an error like a full disk, and does not end this
/// program. It is not `SIG_IGN`, which tasks would inherit. Call it within a tokio runtime.
///
/// # Errors
/// The system refuses a handler.
pub fn survive_file_size_limit() -> io::Result<()> {
    handler(Number::SIGXFSZ as i32).map(drop)
}

fn handler(number: i32) -> io::Result<Option<Signal>> {
    // This program never ignores a signal, so one that is ignored now was ignored at the start.
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
    async fn signal_without_a_handler_is_not_ignored() {
        assert!(!syscalls::is_ignored(Number::SIGUSR2 as i32));
        // The standard library ignores it before `main`.
        assert!(syscalls::is_ignored(Number::SIGPIPE as i32));
        assert!(handler(Number::SIGPIPE as i32).is_ok_and(|signal| signal.is_none()));
    }
}
