//! A cgroup of version 2 for all that one worker instance starts, where one may be made: whoever is in it can be killed at one stroke, also
//! when worker and keepers died together and the processes have cleared environment and descriptors. The directory is the record.
//!
//! The keepers do the daily work all the same: they need no privilege, and know whose process is whose.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::terminate::{Guard, Target};
use super::tree;
use crate::sys::cgroup::Memberships;

/// Every leaf of ours begins so.
pub(super) const PREFIX: &str = "distcomp-";

/// How long a cgroup may take to be empty after its kill: longer only for what waits in the kernel.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// The leaf of one instance. Dropped, it goes where it is empty; else the next start sees to it.
#[derive(Debug)]
pub struct Leaf {
    dir: PathBuf,
    /// Where processes go that are admitted: the leaf itself, or a part of it once it is divided.
    home: PathBuf,
}

impl Leaf {
    /// Makes the leaf of an instance below our own cgroup. `worker` names the worker among all, `instance` this process of it.
    ///
    /// # Errors
    /// When there is no cgroup v2 that we may write to, which is common.
    pub fn create(worker: &str, instance: &str) -> io::Result<Self> {
        let parent = own_cgroup(None).ok_or(io::ErrorKind::Unsupported)?;
        // Moving a process takes the right to write here too.
        OpenOptions::new().write(true).open(parent.join("cgroup.procs"))?;
        let dir = parent.join(format!("{PREFIX}{worker}-{instance}"));
        let leaf = Self { home: dir.clone(), dir };
        fs::create_dir(&leaf.dir)?;
        OpenOptions::new().write(true).open(leaf.dir.join("cgroup.kill"))?;
        Ok(leaf)
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves a process that has no children yet into it, and looks whether it is there: a refused move is no containment.
    ///
    /// # Errors
    /// When it could not be moved.
    pub fn admit(&self, pid: u32) -> io::Result<()> {
        admit(&self.home, pid)
    }

    /// From now on processes are admitted to a part of it.
    pub(super) fn move_home(&mut self, name: &str) -> io::Result<()> {
        let home = self.dir.join(name);
        fs::create_dir(&home)?;
        self.home = home;
        Ok(())
    }
}

/// Moves a process into a cgroup of either version, and looks whether it is there.
pub(super) fn admit(dir: &Path, pid: u32) -> io::Result<()> {
    let procs = dir.join("cgroup.procs");
    fs::write(&procs, pid.to_string())?;
    let inside = fs::read_to_string(procs)?;
    if inside.lines().any(|line| line.parse() == Ok(pid)) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Kills everything in the cgroups of a worker, leaves and limit groups, but those of the instance `spared`: in our own cgroups, and beside those
/// of `recorded`, which an earlier instance says it had. Answers how many processes there were.
///
/// To be called only when the worker is proved dead.
pub fn sweep_leaves(worker: &str, spared: &str, recorded: &[PathBuf]) -> usize {
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
                // Of a worker that never came back; a living one's is not empty and stays.
                None if is_old(&dir) && members(&dir).is_empty() => remove(&dir),
                None => {}
            }
        }
    }
    killed
}

/// Kills everything in these cgroups, as far as they are of this worker. Answers how many processes there were.
///
/// To be called only when the instance that had them is proved dead.
#[must_use]
pub fn kill_leaves(worker: &str, recorded: &[PathBuf]) -> usize {
    let ours = format!("{PREFIX}{worker}-");
    let is_ours =
        |dir: &&PathBuf| dir.file_name().and_then(|name| name.to_str()).is_some_and(|it| it.starts_with(&ours));
    recorded.iter().filter(is_ours).filter(|dir| dir.join("cgroup.procs").exists()).map(|dir| kill(dir)).sum()
}

/// Whether it is empty for another reason than that its zygote has yet to come.
fn is_old(dir: &Path) -> bool {
    let made = fs::metadata(dir).and_then(|meta| meta.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > Duration::from_secs(60)))
}

/// At one stroke where the kernel can, else one by one until nobody is left.
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
                // Who it is first, then whether it is still one of these: the kill compares.
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

/// Processes in a cgroup and below it.
pub(super) fn members(dir: &Path) -> Vec<i32> {
    let here = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let here = here.lines().filter_map(|line| line.parse().ok());
    here.chain(below(dir).iter().flat_map(|child| members(child))).collect()
}

/// A task may have made cgroups of its own below.
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

/// The directory of the cgroup that we are in, of version 2 or of a controller of version 1; `None` without one.
pub(super) fn own_cgroup(controller: Option<&str>) -> Option<PathBuf> {
    Memberships::read(Path::new("/")).place(controller)?.dir()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_in_an_old_leaf_is_killed_and_the_own_one_spared() {
        let worker = format!("test{}", std::process::id());
        let Ok(old) = Leaf::create(&worker, "1") else { return };
        let own = Leaf::create(&worker, "2").unwrap();
        let mut children: Vec<_> = (0..2).map(|_| Command::new("sleep").arg("60").spawn().unwrap()).collect();
        old.admit(children[0].id()).unwrap();
        own.admit(children[1].id()).unwrap();
        assert_eq!(sweep_leaves(&worker, "2", &[]), 1);
        children[0].wait().unwrap();
        assert!(!old.dir().exists() && own.dir().exists());
        assert_eq!(children[1].try_wait().unwrap(), None);
        // As from another cgroup, with what the record says.
        assert_eq!(sweep_leaves(&worker, "3", &[own.dir().to_owned()]), 1);
        children[1].wait().unwrap();
    }
}
