//! A cgroup v2 for all processes that one worker instance starts, if the worker may create one.
//!
//! If the worker and its keepers are killed together, the next start kills everything in this cgroup at once, even processes that have cleared their
//! environment and descriptors. While keepers live, they kill the process trees themselves: they need no privilege and know which task a
//! process belongs to.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::terminate::{Guard, Target};
use super::tree;
use crate::sys::cgroup::Memberships;

/// The name of each cgroup of ours begins with this.
pub(super) const PREFIX: &str = "distcomp-";

/// How long killed processes may take to leave a cgroup. Only a process that waits in the kernel takes longer.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// The cgroup of one worker instance. On drop it is removed if it is empty; otherwise the next start removes it.
#[derive(Debug)]
pub struct WorkerCgroup {
    dir: PathBuf,
    /// Where added processes go: `dir`, or the child that [`Self::use_child`] has created.
    target: PathBuf,
}

impl WorkerCgroup {
    /// Creates a cgroup below our own. `worker` identifies the worker, `instance` this run of it.
    ///
    /// # Errors
    /// When there is no writable cgroup v2, which is common.
    pub fn create(worker: &str, instance: &str) -> io::Result<Self> {
        let parent = own_cgroup(None).ok_or(io::ErrorKind::Unsupported)?;
        // Moving a process requires write permission here too.
        OpenOptions::new().write(true).open(parent.join("cgroup.procs"))?;
        let dir = parent.join(format!("{PREFIX}{worker}-{instance}"));
        let cgroup = Self { target: dir.clone(), dir };
        fs::create_dir(&cgroup.dir)?;
        OpenOptions::new().write(true).open(cgroup.dir.join("cgroup.kill"))?;
        Ok(cgroup)
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves a process, which must not have children yet, into this cgroup and verifies the move.
    ///
    /// # Errors
    /// When the process is not in the cgroup afterwards.
    pub fn add_process(&self, pid: u32) -> io::Result<()> {
        add_process(&self.target, pid)
    }

    /// Creates a child cgroup, to which processes are added from now on.
    pub(super) fn use_child(&mut self, name: &str) -> io::Result<()> {
        let target = self.dir.join(name);
        fs::create_dir(&target)?;
        self.target = target;
        Ok(())
    }
}

/// Moves a process into a cgroup of either version, and verifies the move.
pub(super) fn add_process(dir: &Path, pid: u32) -> io::Result<()> {
    let procs = dir.join("cgroup.procs");
    fs::write(&procs, pid.to_string())?;
    let inside = fs::read_to_string(procs)?;
    if inside.lines().any(|line| line.parse() == Ok(pid)) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

impl Drop for WorkerCgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Kills everything in the cgroups of earlier instances of a worker, and returns the number of processes. It searches below our own cgroups and in
/// the parents of `recorded`, the cgroups that an earlier instance recorded. `spared` is the instance whose cgroups stay.
///
/// Call this only when the earlier instances are known to be dead.
pub fn kill_stale_cgroups(worker: &str, spared: &str, recorded: &[PathBuf]) -> usize {
    let ours = format!("{PREFIX}{worker}-");
    let own = [None, Some("memory"), Some("pids")].into_iter().filter_map(|kind| own_cgroup(kind));
    let mut parents: Vec<PathBuf> = own.collect();
    parents.extend(recorded.iter().filter_map(|dir| dir.parent().map(Path::to_owned)));
    let mut seen = std::collections::HashSet::new();
    parents.retain(|parent| seen.insert(parent.clone()));
    let mut killed = 0;
    for parent in parents {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            let dir = entry.path();
            match name.strip_prefix(&ours) {
                Some(instance) if instance == spared => {}
                Some(_) if dir.join("cgroup.procs").exists() => killed += kill(&dir),
                Some(_) => {}
                // Of another worker, which has not been started again. The cgroup of a living worker is not empty.
                None if is_old(&dir) && members(&dir).is_empty() => remove(&dir),
                None => {}
            }
        }
    }
    killed
}

/// Kills everything in those of the `recorded` cgroups that are this worker's, and returns the number of processes.
///
/// Call this only when the instance that recorded them is known to be dead.
#[must_use]
pub fn kill_recorded_cgroups(worker: &str, recorded: &[PathBuf]) -> usize {
    let ours = format!("{PREFIX}{worker}-");
    let is_ours =
        |dir: &&PathBuf| dir.file_name().and_then(|name| name.to_str()).is_some_and(|it| it.starts_with(&ours));
    recorded.iter().filter(is_ours).filter(|dir| dir.join("cgroup.procs").exists()).map(|dir| kill(dir)).sum()
}

/// Whether it is older than a minute: a younger one may be empty because its zygote has not been added yet.
fn is_old(dir: &Path) -> bool {
    let made = fs::metadata(dir).and_then(|meta| meta.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > Duration::from_secs(60)))
}

/// Kills by `cgroup.kill` if the kernel has it, otherwise process by process until the cgroup is empty.
fn kill(dir: &Path) -> usize {
    let found = members(dir).len();
    let end = Instant::now() + EMPTY_WITHIN;
    loop {
        let left = members(dir);
        if left.is_empty() || Instant::now() >= end {
            break;
        }
        if fs::write(dir.join("cgroup.kill"), "1").is_err() {
            let guard = Guard::current();
            for pid in left {
                // Identity first, membership second: `send` compares the identity, so both are of one process.
                let Some(identity) = tree::identity(pid) else { continue };
                if members(dir).contains(&pid) {
                    let _ = guard.send(Target::Process(identity), Signal::SIGKILL);
                }
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    remove(dir);
    found
}

/// The processes in a cgroup and in those below it.
pub(super) fn members(dir: &Path) -> Vec<i32> {
    let here = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let here = here.lines().filter_map(|line| line.parse().ok());
    here.chain(below(dir).iter().flat_map(|child| members(child))).collect()
}

/// Removes a cgroup and those below it, which a task may have created.
pub(super) fn remove(dir: &Path) {
    for child in below(dir) {
        remove(&child);
    }
    let _ = fs::remove_dir(dir);
}

fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The directory of our own cgroup: of v2 for `None`, otherwise of this v1 controller.
pub(super) fn own_cgroup(controller: Option<&str>) -> Option<PathBuf> {
    Memberships::read(Path::new("/")).place(controller)?.dir()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn stale_cgroup_is_killed_and_own_one_spared() {
        let worker = format!("test{}", std::process::id());
        let Ok(old) = WorkerCgroup::create(&worker, "1") else { return };
        let own = WorkerCgroup::create(&worker, "2").unwrap();
        let mut children: Vec<_> = (0..2).map(|_| Command::new("sleep").arg("60").spawn().unwrap()).collect();
        old.add_process(children[0].id()).unwrap();
        own.add_process(children[1].id()).unwrap();
        assert_eq!(kill_stale_cgroups(&worker, "2", &[]), 1);
        children[0].wait().unwrap();
        assert!(!old.dir().exists() && own.dir().exists());
        assert_eq!(children[1].try_wait().unwrap(), None);
        // As if called from another cgroup: found by the record alone.
        assert_eq!(kill_stale_cgroups(&worker, "3", &[own.dir().to_owned()]), 1);
        children[1].wait().unwrap();
    }
}
