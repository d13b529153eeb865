//! The directory in which a worker keeps its state on local disk: the lock on its name, its marker file, the users of its tasks, its cgroups. The spool
//! is beside it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::spool::Spool;
use crate::config::Config;
use crate::model::{TaskId, WorkerName};
use crate::process::{self, ProcessTag, ScratchRecord, SlotCgroups, TagFile, WorkerCgroup};
use crate::safe_dir::SafeDir;
use crate::sys::boot;

/// The variable in the environment of everything a worker starts, by which a later worker finds what outlived both worker and keepers.
pub const MARKER: &str = "DISTCOMP_MARK";

/// The file that holds the identity of the worker's queue.
const QUEUE_FILE: &str = "queue_id";

/// In a worker's directory: who is locked out by a worker that lives, as whom tasks ran, and in which cgroups.
const LOCK: &str = "lock";
const USERS: &str = "task-users";
const CGROUPS: &str = "cgroup";

/// In a worker's directory: which scratch directories exist.
const SCRATCH: &str = "scratch";

/// How long a process that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(1);

/// Why the state of a worker cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another live worker of this host has the name.
    #[error("take the name {worker}: {reason}")]
    NameTaken {
        /// The name that this worker wants.
        worker: WorkerName,
        /// Who has it.
        reason: String,
    },
    /// The directory cannot be used.
    #[error("use the state directory {}: {cause}", .path.display())]
    Unusable {
        /// The directory of this worker.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// The cgroups of a worker, and where an earlier instance had its own.
#[derive(Debug)]
pub struct Cgroups {
    /// One for each slot, with limits.
    pub groups: Option<SlotCgroups>,
    /// One for all.
    pub leaf: Option<WorkerCgroup>,
    /// Of an earlier instance.
    pub before: Vec<PathBuf>,
}

/// What a worker keeps on local disk: one directory for each server, database, prefix and name.
#[derive(Debug)]
pub struct StateDir {
    /// For messages, and for processes that this one starts.
    dir: PathBuf,
    /// Everything in it is reached through this, whatever becomes of the path.
    folder: SafeDir,
    /// Tells this worker from all others: a hash of server, database, prefix, place and name.
    pub identity: String,
    /// `NAME=hash:` that begins the marker of every process of this worker, whichever instance.
    pub marker: String,
    /// The descriptor that every process of this worker, whichever instance, inherits; `None` where the file cannot be made.
    pub mark: Option<TagFile>,
    /// Held while the worker lives.
    _lock: File,
}

/// Tells the queues of one node's workers apart: server, database and prefix.
#[must_use]
pub fn queue_of(config: &Config) -> String {
    format!("{}\n{}", config.redis, config.key_prefix)
}

impl StateDir {
    /// That of a worker, in `state_dir`; `local` is where `--local` keeps it instead, told apart by no server.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_worker(config: &Config, worker: &WorkerName, local: Option<&Path>) -> Result<Self, StateError> {
        match local {
            Some(dir) => Self::open(dir, worker, "local"),
            None => Self::open(&config.state_dir, worker, &queue_of(config)),
        }
    }

    /// Creates or opens the directory and locks it. `queue` names server, database and prefix.
    ///
    /// # Errors
    /// [`StateError::NameTaken`] when a live worker of this name holds it; [`StateError::Unusable`] when it cannot be used.
    pub fn open(state_dir: &Path, worker: &WorkerName, queue: &str) -> Result<Self, StateError> {
        let (identity, dir) = Self::place(state_dir, worker, queue);
        let fail = |cause| StateError::Unusable { path: dir.clone(), cause };
        let folder = SafeDir::make(&dir, 0o700).map_err(fail)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.path().join(LOCK))
            .map_err(fail)?;
        // A worker that was killed a moment ago, or one that clears up after it, may hold it until the kernel has taken it down.
        let end = Instant::now() + DYING;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(DYING / 50),
                Err(fs::TryLockError::WouldBlock) => {
                    let reason = "another worker of this name runs on this host".to_owned();
                    return Err(StateError::NameTaken { worker: worker.clone(), reason });
                }
                Err(fs::TryLockError::Error(cause)) => return Err(fail(cause)),
            }
        }
        let mark = TagFile::open(&dir, &identity)
            .inspect_err(|error| tracing::warn!(error = %error, "failed to create the marker file; leftover processes that clear their environment may survive a crash"))
            .ok();
        Ok(Self { marker: format!("{MARKER}={identity}:"), identity, dir, folder, mark, _lock: lock })
    }

    /// Notes as whom tasks run from now on, and answers all as whom they ever did: what is left running may be of an earlier one.
    #[must_use]
    pub fn task_users(&self, now: Option<u32>) -> Vec<u32> {
        let record = self.folder.path().join(USERS);
        let mut users = users_in(&self.folder.path());
        if let Some(now) = now.filter(|now| !users.contains(now)) {
            users.push(now);
            let text: String = users.iter().map(|uid| format!("{uid}\n")).collect();
            if let Err(error) = fs::write(&record, text) {
                tracing::warn!(error = %error, "failed to store the user of tasks");
            }
        }
        users
    }

    /// The identity of a worker, and the directory where it keeps its state, whether it is there or not.
    fn place(state_dir: &Path, worker: &WorkerName, queue: &str) -> (String, PathBuf) {
        let identity = TaskId::of(&format!("{queue}\n{}\n{worker}", state_dir.display())).to_string();
        let dir = state_dir.join("workers").join(format!("{worker}-{identity}"));
        (identity, dir)
    }

    /// Kills what a worker of this state directory left running, if it is dead; answers how many, `None` where it cannot be told dead.
    ///
    /// Its lock is held only for a moment, so that it may start again meanwhile: what started later is a new one's and is spared.
    #[must_use]
    pub fn sweep_dead(state_dir: &Path, worker: &WorkerName, queue: &str) -> Option<usize> {
        let (identity, dir) = Self::place(state_dir, worker, queue);
        let folder = SafeDir::open(&dir).ok()?;
        let lock = OpenOptions::new().write(true).open(folder.path().join(LOCK)).ok()?;
        lock.try_lock().ok()?;
        let before = boot::now_ticks()?;
        let (users, groups) = (users_in(&folder.path()), cgroups_in(&folder.path()));
        let mark = TagFile::open(&dir, &identity).ok();
        let scratch = ScratchRecord::all(&folder.path().join(SCRATCH));
        drop(lock);
        let environment = format!("{MARKER}={identity}:");
        let marks = ProcessTag {
            environment: &environment,
            tag_file: mark.as_ref(),
            cgroup: None,
            users: &users,
            before: Some(before),
        };
        let killed = process::kill_recorded_cgroups(&identity, &groups) + process::kill_tagged(marks, |_| false);
        for (dir, error) in process::remove_scratch(scratch).1 {
            tracing::warn!(dir = %dir.display(), %error, "cannot remove a scratch directory that a dead worker left behind");
        }
        Some(killed)
    }

    /// Where a worker remembers its queue, whether it does or not.
    #[must_use]
    pub fn queue_file(state_dir: &Path, worker: &WorkerName, queue: &str) -> PathBuf {
        Self::place(state_dir, worker, queue).1.join(QUEUE_FILE)
    }

    /// The same of this one.
    #[must_use]
    pub fn own_queue_file(&self) -> PathBuf {
        // By its name, which people are told: nothing is written there but a number of ours.
        self.dir.join(QUEUE_FILE)
    }

    /// Where the scratch directories of running attempts are recorded.
    #[must_use]
    pub fn scratch_records(&self) -> PathBuf {
        // For keepers, which have descriptors of their own.
        std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone()).join(SCRATCH)
    }

    /// The spool in it; `None`, with a loud message, where it cannot be used.
    #[must_use]
    pub fn spool(&self) -> Option<Spool> {
        Spool::open(&self.folder.path(), &self.dir)
            .inspect_err(|error| tracing::error!(error = %error, dir = %self.dir.display(), "failed to open the spool; unreported outcomes do not survive a crash"))
            .ok()
    }

    /// Makes the cgroups of this instance and writes down where they are, since the next one may be started elsewhere. What the record said
    /// before is answered besides.
    ///
    /// `enforce_memory` asks for limit groups: why there are none is said loudly.
    #[must_use]
    pub fn cgroups(&self, instance: &str, enforce_memory: bool) -> Cgroups {
        let record = self.folder.path().join(CGROUPS);
        let before = cgroups_in(&self.folder.path());
        let mut leaf = WorkerCgroup::create(&self.identity, instance)
            .inspect_err(|error| tracing::debug!(error = %error, "no writable cgroup v2"))
            .ok();
        let made = if enforce_memory {
            SlotCgroups::create(&self.identity, instance, leaf.as_mut()).map(Some)
        } else {
            Ok(None)
        };
        let groups = made.unwrap_or_else(|why| {
            tracing::error!(
                why,
                "enforce_memory is set and cannot be done here: tasks run WITHOUT limits of memory and processes"
            );
            None
        });
        let places = leaf.iter().map(WorkerCgroup::dir).chain(groups.iter().flat_map(SlotCgroups::dirs));
        let text: String = places.map(|dir| format!("{}\n", dir.display())).collect();
        if let Err(error) = fs::write(&record, text) {
            tracing::warn!(error = %error, "failed to store the cgroups of tasks");
        }
        Cgroups { groups, leaf, before }
    }
}

fn users_in(dir: &Path) -> Vec<u32> {
    fs::read_to_string(dir.join(USERS)).unwrap_or_default().lines().filter_map(|uid| uid.parse().ok()).collect()
}

fn cgroups_in(dir: &Path) -> Vec<PathBuf> {
    let record = fs::read_to_string(dir.join(CGROUPS)).unwrap_or_default();
    record.lines().filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}
