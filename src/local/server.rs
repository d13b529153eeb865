//! The private server: started, waited for, stopped.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::discover::Places;
use super::error::LocalError;
use super::leftover::{Identity, TERM_WAIT, stop_leftover};
use super::socket::{Answer, ping, socket_path};

/// How long a server may take until something listens on the socket.
const LISTEN_WAIT: Duration = Duration::from_secs(30);
/// How long it may take from there to read the data of a large queue.
const LOAD_WAIT: Duration = Duration::from_secs(600);
/// How long dropping it without [`LocalServer::stop`] may block.
const DROP_WAIT: Duration = Duration::from_secs(2);
/// How long a lock must be held by another to be believed.
const LOCK_WAIT: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(10);

/// Runs the server in place of the shell, with a guard beside it: when the pipe on its standard input closes, because
/// we have ended in whatever way, the guard ends the server. It does so only while the server is still its parent, so
/// that a process that got the server's number later is safe.
const GUARD: &str = r#"exec 3<&0
{
    read -r _ <&3
    read -r _ _ _ parent _ </proc/self/stat
    if [ "$parent" = "$$" ]; then kill -TERM "$$"; fi
} &
exec "$@" 3<&- </dev/null"#;

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
    identity: Option<Identity>,
    /// `None` after it has ended.
    child: Option<Child>,
    is_resumed: bool,
    /// Held until the server is gone; the kernel lets go of it when we die.
    _lock: File,
}

impl LocalServer {
    /// Starts the server for `cwd`, or refuses when one is running for it; returns when it serves. Its data lie in
    /// `state_dir`; `fresh` removes those of earlier runs first. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// No server program, another run at work here, or a server that does not come up.
    pub async fn start(state_dir: &Path, cwd: &Path, fresh: bool) -> Result<Self, LocalError> {
        Self::start_program(&Places::of_process().find()?, state_dir, cwd, fresh).await
    }

    async fn start_program(program: &Path, state_dir: &Path, cwd: &Path, fresh: bool) -> Result<Self, LocalError> {
        let cwd = fs::canonicalize(cwd).map_err(LocalError::io("find", cwd))?;
        let name = directory_name(&cwd);
        let dir = state_dir.join("local").join(&name);
        make_private(&dir)?;
        let dir = fs::canonicalize(&dir).map_err(LocalError::io("find", &dir))?;
        let lock = lock(&dir.join("lock"), &cwd).await?;
        // The name holds the state directory too: one working directory may have several.
        let socket = socket_path(&directory_name(&dir), &dir)?;
        if stop_leftover(&dir.join("pid"), &socket).await? {
            tracing::warn!(dir = %dir.display(), "stopped the private server that an earlier run left behind");
        }
        if fresh {
            clear(&dir)?;
        }
        let is_resumed = dir.join("appendonlydir").exists() || dir.join("appendonly.aof").exists();
        let child = spawn(program, &dir, &socket)?;
        let identity = Identity::of(child.id());
        let mut server =
            Self { dir, socket, program: program.to_owned(), identity, child: Some(child), is_resumed, _lock: lock };
        if let Some(identity) = &server.identity {
            let record = server.dir.join("pid");
            identity.write(&record).map_err(LocalError::io("write", record))?;
        }
        server.wait_until_ready().await?;
        Ok(server)
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
                Answer::Ready => return Ok(()),
                Answer::Busy => LOAD_WAIT,
                Answer::Nobody => LISTEN_WAIT,
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

    /// The end of the log as part of a message, each line printable.
    fn log_tail(&self) -> String {
        let path = self.dir.join("redis.log");
        let text = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(3).map(|line| line.escape_debug().to_string()).collect();
        let tail: Vec<_> = lines.into_iter().rev().collect();
        if tail.is_empty() { String::new() } else { format!("; {}: {}", path.display(), tail.join(" | ")) }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let until = std::time::Instant::now() + DROP_WAIT;
        while self.is_running() && std::time::Instant::now() < until {
            std::thread::sleep(STEP);
        }
        self.signal(Signal::SIGKILL);
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
            drop(fs::remove_file(self.dir.join("pid")));
            drop(fs::remove_file(&self.socket));
        }
    }
}

/// A short name for a directory: the first 16 hex digits of the SHA-256 of its path.
fn directory_name(dir: &Path) -> String {
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn make_private(dir: &Path) -> Result<(), LocalError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(LocalError::io("make", dir))
}

/// Takes the lock of the directory, and leaves our number in it for the message of whoever comes second.
///
/// Tries for a while: a process that is being spawned elsewhere in the last holder keeps a copy until its exec.
async fn lock(path: &Path, cwd: &Path) -> Result<File, LocalError> {
    let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = open.map_err(LocalError::io("open", path))?;
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(STEP).await,
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                drop(file.read_to_string(&mut text));
                return Err(LocalError::AlreadyRunning { cwd: cwd.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => return Err(LocalError::io("lock", path)(error)),
        }
    }
    let note = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    note(&mut file).map_err(LocalError::io("write", path))?;
    Ok(file)
}

/// Removes all but the lock.
fn clear(dir: &Path) -> Result<(), LocalError> {
    for entry in fs::read_dir(dir).map_err(LocalError::io("read", dir))?.flatten() {
        let path = entry.path();
        if entry.file_name() == "lock" {
            continue;
        }
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(LocalError::io("remove", &path))?;
    }
    Ok(())
}

fn spawn(program: &Path, dir: &Path, socket: &Path) -> Result<Child, LocalError> {
    // What the server says before it has read its options (one it does not know, a missing library) goes there too.
    let log_path = dir.join("redis.log");
    let log = File::options().create(true).append(true).open(&log_path).map_err(LocalError::io("open", &log_path))?;
    let log_again = log.try_clone().map_err(LocalError::io("open", &log_path))?;
    Command::new("/bin/sh")
        .args(["-c", GUARD, "distcomp-local"])
        .arg(program)
        .args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"])
        .arg(socket)
        // Relative to the directory it is started in, whatever characters the path of that has.
        .args(["--dir", "./", "--logfile", "redis.log", "--daemonize", "no"])
        .args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""])
        .args(["--maxmemory-policy", "noeviction"])
        .current_dir(dir)
        .env_remove("DISTCOMP_REDIS_URL")
        .env_remove("DISTCOMP_REDIS_PASSWORD")
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(log_again)
        .process_group(0)
        .spawn()
        .map_err(LocalError::io("run", program))
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
