//! Finds and stops a server that an earlier run left behind, by its record or by its socket.
//!
//! It is rare: the server ends when we do, unless its guard was killed with us. But two servers writing one data
//! directory would ruin it, so that nothing is started before the old one is gone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::error::LocalError;
use super::socket::listener;
use crate::sys::boot;
use crate::sys::stat::Stat;

/// How long a server may take to write its data out.
pub(super) const TERM_WAIT: Duration = Duration::from_secs(10);
/// How long the kernel may take to end a process that was killed.
const KILL_WAIT: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(20);

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerProcess {
    pub(super) pid: u32,
    /// Clock ticks from boot to its start.
    start: u64,
    boot: String,
}

impl ServerProcess {
    /// The process of this number, if it runs now.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = Stat::read(i32::try_from(pid).ok()?)?;
        stat.is_running().then(|| Self { pid, start: stat.start_ticks, boot: boot::id().unwrap_or_default() })
    }

    /// Whether it still runs.
    pub(super) fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace();
        let (pid, start) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { pid, start, boot: fields.next().unwrap_or("").to_owned() })
    }

    /// Reads a record; `None` when there is none or it makes no sense.
    pub(super) fn read(file: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(file).ok()?)
    }

    /// Writes the record.
    pub(super) fn write(&self, file: &Path) -> std::io::Result<()> {
        fs::write(file, format!("{} {} {}\n", self.pid, self.start, self.boot))
    }

    /// Sends a signal, if it still runs; never to init, to a group, or to ourselves.
    pub(super) fn signal(&self, signal: Signal) {
        if self.pid > 1
            && self.pid != std::process::id()
            && self.is_alive()
            && let Ok(pid) = i32::try_from(self.pid)
        {
            // An error means that it has ended since.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits until it is gone; false when time is up first.
    async fn wait_gone(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= until {
                return false;
            }
            sleep(STEP).await;
        }
        true
    }
}

/// Stops what the record names and what listens on the socket, and removes both files. The caller holds the lock, so
/// that no live run owns such a server. True when there was one.
///
/// # Errors
/// When it survives even SIGKILL.
pub(super) async fn stop_leftover(record: &Path, socket: &Path) -> Result<bool, LocalError> {
    let recorded = ServerProcess::read(record).filter(ServerProcess::is_alive);
    let listening = match listener(socket).await {
        Some(pid) => ServerProcess::of(pid),
        None => None,
    };
    let mut was_there = false;
    for server in [recorded, listening].into_iter().flatten() {
        was_there = true;
        server.signal(Signal::SIGTERM);
        if !server.wait_gone(TERM_WAIT).await {
            server.signal(Signal::SIGKILL);
            if !server.wait_gone(KILL_WAIT).await {
                return Err(LocalError::LeftoverStays { pid: server.pid });
            }
        }
    }
    for file in [record, socket] {
        // Usually there is none.
        drop(fs::remove_file(file));
    }
    Ok(was_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_process_record_survives_writing_and_is_unique() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("pid");
        let us = ServerProcess::of(std::process::id()).expect("we run");
        us.write(&file).expect("written");
        assert_eq!(ServerProcess::read(&file).as_ref(), Some(&us));
        assert!(us.is_alive());
        assert!(!ServerProcess { start: us.start + 1, ..us.clone() }.is_alive());
        assert!(!ServerProcess { boot: "another".to_owned(), ..us }.is_alive());
        fs::write(&file, "nonsense").expect("written");
        assert_eq!(ServerProcess::read(&file), None);
    }

    #[tokio::test]
    async fn a_record_of_a_process_that_is_gone_harms_nobody() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (record, socket) = (dir.path().join("pid"), dir.path().join("sock"));
        // The number is ours, the start is not: the kernel has given the number anew.
        fs::write(&record, format!("{} 1 x\n", std::process::id())).expect("written");
        assert!(!stop_leftover(&record, &socket).await.expect("nothing to stop"));
        assert!(!record.exists());
    }
}
