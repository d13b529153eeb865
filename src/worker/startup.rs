//! From nothing to a worker that may claim: take the name, sweep away what an earlier process of it left running, report what it left unreported, take
//! back what it had in progress. In this order: nothing is claimed before the node is clean.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::failpoint::failpoint;
use super::spool::Spool;
use crate::config::Config;
use crate::model::{FieldOrder, TaskId, WorkerName};
use crate::process::{self, Leaf, LimitGroups, Mark, Marks};
use crate::queue::reclaim::{self, Owner};
use crate::queue::session::Registration;
use crate::queue::{Connection, QueueError, Session};

/// The variable in the environment of everything a worker starts, by which a later worker finds what outlived both worker and keepers.
pub const MARKER: &str = "DISTCOMP_MARK";

/// A Python worker measures for two seconds between heartbeats.
const PYTHON_EXTRA: Duration = Duration::from_secs(3);

/// The file that holds the identity of the worker's queue.
const QUEUE_FILE: &str = "queue_id";

/// In a worker's directory: who is locked out by a worker that lives, as whom tasks ran, and in which cgroups.
const LOCK: &str = "lock";
const USERS: &str = "task-users";
const CGROUPS: &str = "cgroup";

/// How long a process that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(1);

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another live worker has the name.
    #[error("take the name {worker}: {reason}")]
    NameTaken {
        /// The name.
        worker: WorkerName,
        /// Who has it.
        reason: String,
    },
    /// The state directory cannot be used.
    #[error("use the state directory {}: {cause}", .path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Redis.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// The cgroups of a worker, and where an earlier instance had its own.
#[derive(Debug)]
pub struct Cgroups {
    /// One for each slot, with limits.
    pub groups: Option<LimitGroups>,
    /// One for all.
    pub leaf: Option<Leaf>,
    /// Of an earlier instance.
    pub before: Vec<PathBuf>,
}

/// What a worker keeps on local disk: one directory for each server, database, prefix and name.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    /// Tells this worker from all others: a hash of server, database, prefix, place and name.
    pub identity: String,
    /// `NAME=hash:` that begins the marker of every process of this worker, whichever instance.
    pub marker: String,
    /// The descriptor that every process of this worker, whichever instance, inherits; `None` where the file cannot be made.
    pub mark: Option<Mark>,
    /// Held while the worker lives.
    _lock: File,
}

impl State {
    /// Creates or opens the directory and locks it. `queue` names server, database and prefix.
    ///
    /// # Errors
    /// [`StartError::NameTaken`] when a live worker of this name holds it; [`StartError::State`] when it cannot be used.
    pub fn open(state_dir: &Path, worker: &WorkerName, queue: &str) -> Result<Self, StartError> {
        let (identity, dir) = Self::place(state_dir, worker, queue);
        let fail = |cause| StartError::State { path: dir.clone(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(fail)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK))
            .map_err(fail)?;
        // A worker that was killed a moment ago, or one that clears up after it, may hold it until the kernel has taken it down.
        let end = Instant::now() + DYING;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(DYING / 50),
                Err(fs::TryLockError::WouldBlock) => {
                    let reason = "another worker of this name runs on this host".to_owned();
                    return Err(StartError::NameTaken { worker: worker.clone(), reason });
                }
                Err(fs::TryLockError::Error(cause)) => return Err(fail(cause)),
            }
        }
        let mark = Mark::open(&dir, &identity)
            .inspect_err(|error| tracing::warn!(error = %error, "failed to make the mark; what clears its environment is not found should worker and keepers be killed together"))
            .ok();
        Ok(Self { marker: format!("{MARKER}={identity}:"), identity, dir, mark, _lock: lock })
    }

    /// Notes as whom tasks run from now on, and answers all as whom they ever did: what is left running may be of an earlier one.
    #[must_use]
    pub fn task_users(&self, now: Option<u32>) -> Vec<u32> {
        let record = self.dir.join(USERS);
        let mut users = users_in(&self.dir);
        if let Some(now) = now.filter(|now| !users.contains(now)) {
            users.push(now);
            let text: String = users.iter().map(|uid| format!("{uid}\n")).collect();
            if let Err(error) = fs::write(&record, text) {
                tracing::warn!(error = %error, "failed to note the user of tasks");
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
        let lock = OpenOptions::new().write(true).open(dir.join(LOCK)).ok()?;
        lock.try_lock().ok()?;
        let before = process::now_ticks()?;
        let (users, groups) = (users_in(&dir), cgroups_in(&dir));
        let mark = Mark::open(&dir, &identity).ok();
        drop(lock);
        let environment = format!("{MARKER}={identity}:");
        let marks = Marks {
            environment: &environment,
            descriptor: mark.as_ref(),
            group: None,
            users: &users,
            before: Some(before),
        };
        Some(process::kill_leaves(&identity, &groups) + process::sweep_marked(marks, |_| false))
    }

    /// Where a worker remembers its queue, whether it does or not.
    #[must_use]
    pub fn queue_file(state_dir: &Path, worker: &WorkerName, queue: &str) -> PathBuf {
        Self::place(state_dir, worker, queue).1.join(QUEUE_FILE)
    }

    /// The same of this one.
    #[must_use]
    pub fn own_queue_file(&self) -> PathBuf {
        self.dir.join(QUEUE_FILE)
    }

    /// The spool in it; `None`, with a loud message, where it cannot be used.
    #[must_use]
    pub fn spool(&self) -> Option<Spool> {
        Spool::open(&self.dir)
            .inspect_err(|error| tracing::error!(error = %error, dir = %self.dir.display(), "failed to open the spool; unreported outcomes do not survive a crash"))
            .ok()
    }

    /// Makes the cgroups of this instance and writes down where they are, since the next one may be started elsewhere. What the record said
    /// before is answered besides.
    ///
    /// `enforce_memory` asks for limit groups: why there are none is said loudly.
    #[must_use]
    pub fn cgroups(&self, instance: &str, enforce_memory: bool) -> Cgroups {
        let record = self.dir.join(CGROUPS);
        let before = cgroups_in(&self.dir);
        let mut leaf = Leaf::create(&self.identity, instance)
            .inspect_err(|error| tracing::debug!(error = %error, "no cgroup v2 for us"))
            .ok();
        let made = if enforce_memory {
            LimitGroups::create(&self.identity, instance, leaf.as_mut()).map(Some)
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
        let places = leaf.iter().map(Leaf::dir).chain(groups.iter().flat_map(LimitGroups::places));
        let text: String = places.map(|dir| format!("{}\n", dir.display())).collect();
        if let Err(error) = fs::write(&record, text) {
            tracing::warn!(error = %error, "failed to note the cgroups of tasks");
        }
        Cgroups { groups, leaf, before }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn users_in(dir: &Path) -> Vec<u32> {
    fs::read_to_string(dir.join(USERS)).unwrap_or_default().lines().filter_map(|uid| uid.parse().ok()).collect()
}

fn cgroups_in(dir: &Path) -> Vec<PathBuf> {
    let record = fs::read_to_string(dir.join(CGROUPS)).unwrap_or_default();
    record.lines().filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// Kills what an earlier process of this worker left running. The lock on the state directory proves that process dead.
pub fn sweep(state: &State, instance: &str, old_groups: &[PathBuf], zygote: u32, users: &[u32]) {
    let in_leaves = process::sweep_leaves(&state.identity, instance, old_groups);
    let marks = Marks { environment: &state.marker, descriptor: state.mark.as_ref(), group: None, users, before: None };
    let killed = in_leaves + process::sweep_marked(marks, |pid| u32::try_from(pid) == Ok(zygote));
    if killed > 0 {
        tracing::warn!(
            killed,
            in_cgroup = in_leaves,
            "killed processes that an earlier worker of this name left behind"
        );
    }
}

/// Takes the worker's name: at once when it is free or its holder dead, never from a live one.
///
/// # Errors
/// [`StartError::NameTaken`] when the holder lives.
pub async fn take_name(
    conn: &Connection,
    worker: &WorkerName,
    registration: &Registration,
    config: &Config,
) -> Result<Session, StartError> {
    let owner = reclaim::owner(conn, worker).await?;
    let taken = |reason: String| StartError::NameTaken { worker: worker.clone(), reason };
    match holder(&owner, registration, config.dead_after) {
        Holder::None | Holder::Dead => {}
        Holder::Alive => return Err(taken(describe(&owner))),
        Holder::Unknown => {
            let patience = (config.heartbeat_interval * 2 + PYTHON_EXTRA).min(config.dead_after + PYTHON_EXTRA);
            tracing::info!(%worker, seconds = patience.as_secs_f64(), "the name is registered elsewhere; waiting to see whether it beats");
            let end = Instant::now() + patience;
            while Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let now = reclaim::owner(conn, worker).await?;
                if now.beat.is_some() && now.beat != owner.beat {
                    return Err(taken(describe(&now)));
                }
            }
        }
    }
    match Session::attach(conn.clone(), worker.clone(), registration, owner.fence.as_deref(), None).await {
        Ok(session) => Ok(session),
        Err(QueueError::Fenced) => Err(taken("another worker took it a moment ago".to_owned())),
        Err(error) => Err(error.into()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    None,
    Dead,
    Alive,
    /// Elsewhere: only its heartbeat can tell.
    Unknown,
}

fn holder(owner: &Owner, me: &Registration, dead_after: Duration) -> Holder {
    let is_held_by = |instance: &str| {
        owner.fence.as_deref().and_then(|fence| fence.rsplit_once(':')).is_some_and(|(holder, _)| holder == instance)
    };
    // Ours already: an attempt to start that Redis did not let come to its end.
    if is_held_by("!dead") || is_held_by(&me.instance) || (owner.fence.is_none() && owner.beat.is_none()) {
        return Holder::None;
    }
    if let (Some(_), Some(other)) = (&owner.fence, &owner.registration)
        && is_same_machine(me, other)
    {
        let pid = i32::try_from(other.pid).unwrap_or(0);
        return if process::is_alive(pid, other.start_ticks) { Holder::Alive } else { Holder::Dead };
    }
    let is_silent = owner.beat.is_none_or(|beat| reclaim::is_silent(owner.now, beat, dead_after));
    if is_silent && owner.fence.is_some() { Holder::Dead } else { Holder::Unknown }
}

/// Whether process ids mean the same to both.
pub(super) fn is_same_machine(me: &Registration, other: &Registration) -> bool {
    !other.boot_id.is_empty() && other.boot_id == me.boot_id && other.host == me.host
}

fn describe(owner: &Owner) -> String {
    match &owner.registration {
        Some(other) if owner.fence.is_some() => {
            format!("a live worker has it, process {} on {}; choose another with --name", other.pid, other.host)
        }
        _ => "a live Python worker has it; choose another with --name".to_owned(),
    }
}

/// Reports what an earlier process left in the spool, then takes back what it had in progress.
///
/// # Errors
/// Those of any call; may be repeated.
pub async fn recover(
    session: &Session,
    spool: Option<&mut Spool>,
    config: &Config,
    order: FieldOrder,
) -> Result<(), QueueError> {
    failpoint!("entered");
    if let Some(spool) = spool {
        let left = spool.read().unwrap_or_default();
        for batch in left.chunks(64) {
            session.settle(batch, config.max_retry, false).await?;
        }
        if !left.is_empty() {
            tracing::info!(outcomes = left.len(), "reported what an earlier process had left unreported");
        }
        if let Err(error) = spool.clear() {
            tracing::warn!(error = %error, "failed to clear the spool");
        }
    }
    let (mut returned, mut failed) = (0, 0);
    loop {
        let lines = reclaim::orphans(session.connection(), session.worker(), order).await?;
        if lines.is_empty() {
            break;
        }
        let done = session.recover(&lines, config.max_lost).await?;
        returned += done.returned;
        failed += done.failed;
    }
    let mut cursor = 0;
    loop {
        let is_mine = |name: &str| name == session.worker().as_str();
        let (next, found) = reclaim::scan_in_progress(session.connection(), cursor, is_mine, order).await?;
        let lines: Vec<_> = found.into_iter().map(|(_, orphan)| orphan).collect();
        for batch in lines.chunks(reclaim::BATCH) {
            returned += session.recover(batch, config.max_lost).await?.returned;
        }
        if next == 0 {
            break;
        }
        cursor = next;
    }
    if returned + failed > 0 {
        tracing::info!(returned, failed, "took back what an earlier process of this name had in progress");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(host: &str, boot_id: &str, pid: u32, start_ticks: u64) -> Registration {
        Registration {
            instance: "i".to_owned(),
            host: host.to_owned(),
            boot_id: boot_id.to_owned(),
            pid,
            start_ticks,
            version: String::new(),
            since: 0,
            containment: String::new(),
        }
    }

    #[test]
    fn on_the_same_host_the_process_decides_and_elsewhere_the_heartbeat() {
        let me = Registration { instance: "me".to_owned(), ..registration("a", "boot", 1, 1) };
        let own = process::identity(i32::try_from(std::process::id()).expect("pid")).expect("identity");
        let owner = |registration, beat| Owner { fence: Some("i:1".to_owned()), registration, beat, now: 100 };
        let dead_after = Duration::from_secs(40);
        let live = registration("a", "boot", std::process::id(), own.start_ticks);
        assert_eq!(holder(&owner(Some(live), Some(1)), &me, dead_after), Holder::Alive);
        let gone = registration("a", "boot", std::process::id(), own.start_ticks + 1);
        assert_eq!(holder(&owner(Some(gone), Some(100)), &me, dead_after), Holder::Dead);
        let elsewhere = registration("b", "other", 1, 1);
        assert_eq!(holder(&owner(Some(elsewhere.clone()), Some(99)), &me, dead_after), Holder::Unknown);
        assert_eq!(holder(&owner(Some(elsewhere), Some(10)), &me, dead_after), Holder::Dead);
        assert_eq!(holder(&Owner { beat: Some(99), now: 100, ..Owner::default() }, &me, dead_after), Holder::Unknown);
        assert_eq!(holder(&Owner::default(), &me, dead_after), Holder::None);
        let ours = Owner { fence: Some("me:3".to_owned()), registration: Some(me.clone()), beat: Some(100), now: 100 };
        assert_eq!(holder(&ours, &me, dead_after), Holder::None);
    }
}
