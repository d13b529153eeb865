//! The state directory of one working directory, and the lock that one process at a time holds on it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::error::LocalError;
use super::socket::socket_path;

/// How long a lock must be held by another to be believed: a command that only looks at the queue lets go of it in a moment.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How long a command that uses the queue may take to hand its server over to a run.
const HANDOVER: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(10);
/// What the lock says after the number of a process that only uses the queue.
const USER: &str = "user";
/// Directories of this name and a number hold what [`Place::keep_old`] has put there.
const OLD: &str = "old";

/// What a process holds the lock for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// It runs tasks, until it ends.
    Run,
    /// It uses the queue, and hands over to a run that wants the lock.
    User,
}

/// The state of one working directory.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The working directory.
    pub(super) cwd: PathBuf,
    /// Data, log, lock and records.
    pub(super) dir: PathBuf,
    /// Where the server listens.
    pub(super) socket: PathBuf,
}

/// Whether `distcomp-worker --local` has left a queue for this working directory.
#[must_use]
pub fn has_queue(state_dir: &Path, cwd: &Path) -> bool {
    fs::canonicalize(cwd).is_ok_and(|cwd| holds_data(&dir_of(state_dir, &cwd)))
}

/// Where the server of this working directory listens while one runs; `None` if nothing has run there. Starts and makes nothing.
#[must_use]
pub fn socket_of(state_dir: &Path, cwd: &Path) -> Option<PathBuf> {
    // A place that has a queue is there already.
    has_queue(state_dir, cwd).then(|| Place::make(state_dir, cwd).ok()).flatten().map(|place| place.socket)
}

pub(super) fn holds_data(dir: &Path) -> bool {
    dir.join("appendonlydir").exists() || dir.join("appendonly.aof").exists()
}

fn dir_of(state_dir: &Path, cwd: &Path) -> PathBuf {
    state_dir.join("local").join(directory_name(cwd))
}

impl Place {
    /// The place for `cwd`, made if it is not there.
    pub(super) fn make(state_dir: &Path, cwd: &Path) -> Result<Self, LocalError> {
        let cwd = fs::canonicalize(cwd).map_err(LocalError::io("find", cwd))?;
        let dir = dir_of(state_dir, &cwd);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(LocalError::io("make", &dir))?;
        let dir = fs::canonicalize(&dir).map_err(LocalError::io("find", &dir))?;
        // The name holds the state directory too: one working directory may have several.
        let socket = socket_path(&directory_name(&dir), &dir)?;
        Ok(Self { cwd, dir, socket })
    }

    /// The lock for a run, or the error that says who holds it.
    ///
    /// Tries for a while: a command that uses the queue hands over when it sees that a run wants the lock, and a process that is being spawned
    /// elsewhere in the last holder keeps a copy until its exec.
    pub(super) async fn lock(&self) -> Result<File, LocalError> {
        let begun = Instant::now();
        let wanted = self.file("wanted")?;
        let mut has_said = false;
        loop {
            // Whoever looks whether it is held holds it for a moment.
            has_said = has_said || wanted.try_lock_shared().is_ok();
            let limit = match self.try_lock(Holder::Run) {
                Err(LocalError::AlreadyRunning { .. }) => LOCK_WAIT,
                Err(LocalError::InUse { .. }) => HANDOVER,
                locked => return locked,
            };
            if begun.elapsed() >= limit {
                return self.try_lock(Holder::Run);
            }
            sleep(STEP).await;
        }
    }

    /// Whether a run waits for the lock.
    pub(super) fn is_wanted(&self) -> bool {
        self.file("wanted").is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// A file of this place, for a lock on it.
    pub(super) fn file(&self, name: &str) -> Result<File, LocalError> {
        let path = self.dir.join(name);
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        open.map_err(LocalError::io("open", path))
    }

    /// Takes the lock, and leaves our number in it for the message of whoever comes second.
    pub(super) fn try_lock(&self, holder: Holder) -> Result<File, LocalError> {
        let mut file = self.file("lock")?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                drop(file.read_to_string(&mut text));
                let (cwd, mut words) = (self.cwd.clone(), text.split_ascii_whitespace());
                let pid = words.next().and_then(|pid| pid.parse().ok());
                return Err(match words.next() {
                    Some(USER) => LocalError::InUse { cwd, pid },
                    Some(_) | None => LocalError::AlreadyRunning { cwd, pid },
                });
            }
            Err(TryLockError::Error(error)) => return Err(LocalError::io("lock", self.dir.join("lock"))(error)),
        }
        let note = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            match holder {
                Holder::Run => writeln!(file, "{}", std::process::id()),
                Holder::User => writeln!(file, "{} {USER}", std::process::id()),
            }
        };
        // Only a message lacks it: on a full disk there is something better to say.
        drop(note(&mut file));
        Ok(file)
    }

    /// Moves all state but the lock into a new numbered directory, and names it; `None` when there is none. Nothing is deleted: cut short, some of it
    /// is there and the rest follows the next time.
    pub(super) fn keep_old(&self) -> Result<Option<PathBuf>, LocalError> {
        let entries = fs::read_dir(&self.dir).map_err(LocalError::io("read", &self.dir))?;
        let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        let is_kept = |name: &std::ffi::OsStr| is_lock(name) || numbered(name, OLD).is_some();
        if names.iter().all(|name| is_kept(name)) {
            return Ok(None);
        }
        let last = names.iter().filter_map(|name| numbered(name, OLD)).max().unwrap_or(0);
        let old = self.dir.join(format!("{OLD}.{}", last + 1));
        fs::DirBuilder::new().mode(0o700).create(&old).map_err(LocalError::io("make", &old))?;
        for name in names.iter().filter(|name| !is_kept(name)) {
            let from = self.dir.join(name);
            fs::rename(&from, old.join(name)).map_err(LocalError::io("move", &from))?;
        }
        Ok(Some(old))
    }
}

/// Whether a file is held by processes and not part of the state.
fn is_lock(name: &std::ffi::OsStr) -> bool {
    ["lock", "readers", "wanted"].iter().any(|lock| name == *lock)
}

/// The number of `STEM.NUMBER`.
fn numbered(name: &std::ffi::OsStr, stem: &str) -> Option<u64> {
    name.to_str()?.strip_prefix(stem)?.strip_prefix('.')?.parse().ok()
}

/// A short name for a directory: the first 16 hex digits of the SHA-256 of its path.
pub(super) fn directory_name(dir: &Path) -> String {
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_state_is_kept_under_the_next_number() {
        let (state, cwd) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let place = Place::make(state.path(), cwd.path()).expect("a place");
        let _lock = place.try_lock(Holder::Run).expect("the lock");
        assert_eq!(place.keep_old().expect("read"), None, "there is nothing to keep");
        for number in 1..=2 {
            assert!(!has_queue(state.path(), cwd.path()));
            fs::create_dir(place.dir.join("appendonlydir")).expect("made");
            fs::write(place.dir.join("results.jsonl"), number.to_string()).expect("written");
            assert!(has_queue(state.path(), cwd.path()));
            let old = place.keep_old().expect("moved").expect("there was some");
            assert_eq!(old, place.dir.join(format!("old.{number}")));
            assert_eq!(fs::read_to_string(old.join("results.jsonl")).expect("kept"), number.to_string());
            assert!(place.dir.join("lock").exists() && old.join("appendonlydir").exists());
        }
        assert!(place.dir.join("old.1/results.jsonl").exists(), "the first is where it was");
    }
}
