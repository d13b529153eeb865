//! Starts, waits for, and stops the private server.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::discover::Places;
use super::disk::full_disk;
use super::error::LocalError;
use super::launch::spawn;
use super::leftover::{ServerProcess, TERM_WAIT, stop_leftover};
use super::place::{Place, holds_data};
use super::socket::{SocketState, ping};

/// How long a server may take until something listens on the socket.
const LISTEN_WAIT: Duration = Duration::from_secs(30);
/// How long it may take from there to read the data of a large queue.
const LOAD_WAIT: Duration = Duration::from_secs(600);
/// How long dropping it without [`LocalServer::stop`] may block.
const DROP_WAIT: Duration = Duration::from_secs(2);
/// As many ends of the server within this time are no accident any more.
const MOST_ENDS: usize = 5;
const ENDS_WITHIN: Duration = Duration::from_secs(600);
/// Between an attempt to start it that failed and the next.
const PAUSE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(10);

/// A private server of one working directory.
///
/// It has a process group of its own, so that Ctrl-C does not reach it. It ends with [`Self::stop`]; when this value is
/// dropped; and, by its guard, when our process is killed. Should the guard be killed as well, the next start for the
/// directory finds the server and stops it first. While one runs, a second start for the directory is refused.
#[derive(Debug)]
pub struct LocalServer {
    dir: PathBuf,
    socket: PathBuf,
    program: PathBuf,
    identity: Option<ServerProcess>,
    /// `None` after it has ended.
    child: Option<Child>,
    is_resumed: bool,
    /// Where `fresh` has put the state of earlier runs.
    old: Option<PathBuf>,
    /// When it ended without being asked to.
    ends: Vec<Instant>,
    /// Since it was last asked about.
    was_restarted: bool,
    /// Held until the server is gone; the kernel lets go of it when we die.
    _lock: File,
}

impl LocalServer {
    /// Starts the server for `cwd`, or refuses when one is running for it; returns when it serves. Its data lie in
    /// `state_dir`; `fresh` puts those of earlier runs under a numbered name first. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// No server program, another run at work here, or a server that does not come up.
    pub async fn start(state_dir: &Path, cwd: &Path, fresh: bool) -> Result<Self, LocalError> {
        Self::start_program(&Places::of_process().find()?, state_dir, cwd, fresh).await
    }

    async fn start_program(program: &Path, state_dir: &Path, cwd: &Path, fresh: bool) -> Result<Self, LocalError> {
        let place = Place::make(state_dir, cwd)?;
        let lock = place.lock().await?;
        let old = if fresh {
            clear_leftover(&place).await?;
            place.keep_old()?
        } else {
            None
        };
        let mut server = Self::start_in(&place, lock, program).await?;
        server.old = old;
        Ok(server)
    }

    /// Starts the server in a place whose lock is ours.
    pub(super) async fn start_in(place: &Place, lock: File, program: &Path) -> Result<Self, LocalError> {
        clear_leftover(place).await?;
        let is_resumed = holds_data(&place.dir);
        let mut server = Self {
            dir: place.dir.clone(),
            socket: place.socket.clone(),
            program: program.to_owned(),
            identity: None,
            child: None,
            is_resumed,
            old: None,
            was_restarted: false,
            ends: Vec::new(),
            _lock: lock,
        };
        server.launch().await?;
        Ok(server)
    }

    /// Starts the process and waits until it serves.
    async fn launch(&mut self) -> Result<(), LocalError> {
        let child = spawn(&self.program, &self.dir, &self.socket)?;
        self.identity = ServerProcess::of(child.id());
        self.child = Some(child);
        if let Some(identity) = &self.identity
            && let Err(error) = identity.write(&self.dir.join("pid"))
        {
            // It is found by its socket as well; should the disk be full, that has to be said and not this.
            tracing::warn!(%error, "cannot record the process id of the private server");
        }
        self.wait_until_ready().await
    }

    /// Why it does not serve, if so: it has ended, or its socket is gone and nobody can reach it any more. Cheap enough to ask often.
    pub fn trouble(&mut self) -> Option<String> {
        let pid = self.identity.as_ref().map_or(0, |identity| identity.pid);
        match self.try_wait() {
            Ok(Some(status)) => Some(format!("the private server (process {pid}) exited: {status}")),
            Ok(None) if !self.socket.exists() => {
                Some(format!("the socket of the private server, {}, was removed", self.socket.display()))
            }
            Ok(None) => None,
            Err(_) => Some("the private server is not running".to_owned()),
        }
    }

    /// Whether its data directory is still there: without it, it serves from memory, and what it knows goes with it.
    #[must_use]
    pub fn has_its_directory(&self) -> bool {
        self.dir.exists()
    }

    /// Starts it again on its data after it had [`Self::trouble`]; returns when it serves.
    ///
    /// # Errors
    /// It ends again and again, it cannot be started, or its data are gone.
    pub async fn restart(&mut self) -> Result<(), LocalError> {
        if self.is_running() {
            self.signal(Signal::SIGTERM);
            let until = Instant::now() + TERM_WAIT;
            while self.is_running() && Instant::now() < until {
                sleep(STEP).await;
            }
            self.end_now();
        }
        loop {
            let now = Instant::now();
            self.ends.retain(|end| now.duration_since(*end) < ENDS_WITHIN);
            self.ends.push(now);
            if !holds_data(&self.dir) {
                return Err(LocalError::DataGone { dir: self.dir.clone() });
            }
            if self.ends.len() > MOST_ENDS {
                return Err(LocalError::KeepsEnding { times: self.ends.len(), log: self.log_tail() });
            }
            match self.launch().await {
                Ok(()) => {
                    self.was_restarted = true;
                    return Ok(());
                }
                Err(error) if self.ends.len() == MOST_ENDS => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot restart the private server");
                    self.end_now();
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Whether it was started again on its data since the last such question: what it answered last before need not be among them.
    pub fn take_restarted(&mut self) -> bool {
        std::mem::take(&mut self.was_restarted)
    }

    /// Where the state of earlier runs was put, if `fresh` found any.
    #[must_use]
    pub fn old(&self) -> Option<&Path> {
        self.old.as_deref()
    }

    /// The path of its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The directory of its data and log (`redis.log`).
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it found data of an earlier run.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.try_wait(), Ok(None))
    }

    /// Ends the server, which writes its data out first: SIGTERM, SIGKILL after ten seconds. Never more than that.
    ///
    /// # Errors
    /// When it had ended before, or did not end well: its log then tells why.
    pub async fn stop(mut self) -> Result<(), LocalError> {
        if let Ok(Some(status)) = self.try_wait() {
            return Err(self.ended(status));
        }
        self.signal(Signal::SIGTERM);
        let until = Instant::now() + TERM_WAIT;
        loop {
            match self.try_wait() {
                Ok(None) if Instant::now() < until => sleep(STEP).await,
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.ended(status)),
                Ok(None) | Err(_) => {
                    self.signal(Signal::SIGKILL);
                    let seconds = TERM_WAIT.as_secs();
                    return Err(LocalError::Silent { program: self.program.clone(), seconds, log: self.log_tail() });
                }
            }
        }
    }

    async fn wait_until_ready(&mut self) -> Result<(), LocalError> {
        let start = Instant::now();
        let mut step = Duration::from_millis(2);
        loop {
            if let Ok(Some(status)) = self.try_wait() {
                return Err(self.ended(status));
            }
            let limit = match ping(&self.socket).await {
                SocketState::Ready => return Ok(()),
                SocketState::Busy => LOAD_WAIT,
                SocketState::Nobody => LISTEN_WAIT,
            };
            if start.elapsed() > limit {
                let seconds = start.elapsed().as_secs();
                return Err(LocalError::Silent { program: self.program.clone(), seconds, log: self.log_tail() });
            }
            sleep(step).await;
            step = (step * 2).min(Duration::from_millis(100));
        }
    }

    /// How it ended, if it has; reaps it then and tidies up.
    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Err(io::ErrorKind::NotFound.into()) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
            for file in [&self.dir.join("pid"), &self.socket] {
                // The server removes its socket itself when it ends well.
                drop(fs::remove_file(file));
            }
        }
        Ok(status)
    }

    fn signal(&self, signal: Signal) {
        // While it is not reaped its number is not given anew; the identity is asked all the same.
        if let (Some(_), Some(identity)) = (&self.child, &self.identity) {
            identity.signal(signal);
        }
    }

    fn ended(&self, status: ExitStatus) -> LocalError {
        LocalError::Ended { program: self.program.clone(), status: status.to_string(), log: self.log_tail() }
    }

    /// The end of the log as part of a message, each line printable; and a full disk, on which the log may lack what it had to say.
    fn log_tail(&self) -> String {
        let path = self.dir.join("redis.log");
        let text = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(3).map(|line| line.escape_debug().to_string()).collect();
        let tail: Vec<_> = lines.into_iter().rev().collect();
        let said = if tail.is_empty() { String::new() } else { format!("; {}: {}", path.display(), tail.join(" | ")) };
        format!("{said}{}", full_disk(&self.dir).unwrap_or_default())
    }

    /// Kills what still runs, and reaps it.
    fn end_now(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
            drop(fs::remove_file(self.dir.join("pid")));
            drop(fs::remove_file(&self.socket));
        }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let until = std::time::Instant::now() + DROP_WAIT;
        while self.is_running() && std::time::Instant::now() < until {
            std::thread::sleep(STEP);
        }
        self.end_now();
    }
}

/// Stops the server that an earlier run left behind, if one did.
async fn clear_leftover(place: &Place) -> Result<(), LocalError> {
    if stop_leftover(&place.dir.join("pid"), &place.socket).await? {
        tracing::warn!(dir = %place.dir.display(), "stopped the leftover private server of an earlier run");
    }
    Ok(())
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
