//! A cgroup of version 2 for all that one worker instance starts, where one may be made: whoever is in it can be killed at one stroke, also
//! when worker and keepers died together and the processes have cleared environment and descriptors. The directory is the record.
//!
//! The keepers do the daily work all the same: they need no privilege, and know whose process is whose.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Every leaf of ours begins so.
const PREFIX: &str = "distcomp-";

/// How long a cgroup may take to be empty after its kill: longer only for what waits in the kernel.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// The leaf of one instance. Dropped, it goes where it is empty; else the next start sees to it.
#[derive(Debug)]
pub struct Leaf {
    dir: PathBuf,
}

impl Leaf {
    /// Makes the leaf of an instance below our own cgroup. `worker` names the worker among all, `instance` this process of it.
    ///
    /// # Errors
    /// When there is no cgroup v2 that we may write to, which is common.
    pub fn create(worker: &str, instance: &str) -> io::Result<Self> {
        let parent = own_cgroup(Path::new("/")).ok_or(io::ErrorKind::Unsupported)?;
        // Moving a process takes the right to write here too.
        OpenOptions::new().write(true).open(parent.join("cgroup.procs"))?;
        let leaf = Self { dir: parent.join(format!("{PREFIX}{worker}-{instance}")) };
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
        fs::write(self.dir.join("cgroup.procs"), pid.to_string())?;
        let inside = fs::read_to_string(self.dir.join("cgroup.procs"))?;
        if inside.lines().any(|line| line.parse() == Ok(pid)) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Kills everything in the leaves of a worker but those of the instance `spared`: in our own cgroup, and in the one of `recorded`, the leaf that
/// an earlier instance says it had. Answers how many processes there were.
///
/// To be called only when the worker is proved dead.
pub fn sweep_leaves(worker: &str, spared: &str, recorded: Option<&Path>) -> usize {
    let ours = format!("{PREFIX}{worker}-");
    let own = own_cgroup(Path::new("/"));
    let parents = [own.as_deref(), recorded.and_then(Path::parent)];
    let mut killed = 0;
    for (at, parent) in parents.iter().enumerate() {
        let Some(parent) = parent.filter(|parent| !parents[..at].contains(&Some(*parent))) else { continue };
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            match name.strip_prefix(&ours) {
                Some(instance) if instance == spared => {}
                Some(_) if entry.path().join("cgroup.kill").exists() => killed += kill(&entry.path()),
                Some(_) => {}
                None if is_old(&entry.path()) => {
                    // Of a worker that never came back; a living one's is not empty and stays.
                    let _ = fs::remove_dir(entry.path());
                }
                None => {}
            }
        }
    }
    killed
}

/// Whether it is empty for another reason than that its zygote has yet to come.
fn is_old(dir: &Path) -> bool {
    let made = fs::metadata(dir).and_then(|meta| meta.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > Duration::from_secs(60)))
}

fn kill(dir: &Path) -> usize {
    let count = members(dir);
    if count > 0 && fs::write(dir.join("cgroup.kill"), "1").is_err() {
        return 0;
    }
    let end = Instant::now() + EMPTY_WITHIN;
    while is_populated(dir) && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    remove(dir);
    count
}

/// Processes in a cgroup and below it.
fn members(dir: &Path) -> usize {
    let here = fs::read_to_string(dir.join("cgroup.procs")).map_or(0, |procs| procs.lines().count());
    here + below(dir).iter().map(|child| members(child)).sum::<usize>()
}

fn is_populated(dir: &Path) -> bool {
    fs::read_to_string(dir.join("cgroup.events")).is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

/// A task may have made cgroups of its own below.
fn remove(dir: &Path) {
    for child in below(dir) {
        remove(&child);
    }
    let _ = fs::remove_dir(dir);
}

fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The directory of the cgroup v2 that we are in; `None` without one.
fn own_cgroup(root: &Path) -> Option<PathBuf> {
    let membership = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let path = membership.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (shown, point) = (fields.next()?, fields.next()?);
        // The mount may show only a part of the hierarchy.
        let inside = Path::new(&path).strip_prefix(shown).ok()?;
        Some(Path::new(point).join(inside))
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn our_cgroup_is_found_below_the_mount() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc/self");
        fs::create_dir_all(&proc).unwrap();
        fs::write(proc.join("cgroup"), "4:memory:/x\n0::/system.slice/dc.service\n").unwrap();
        let mount = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                     38 31 0:35 /system.slice /run/cg rw,relatime shared:4 - cgroup2 cgroup2 rw\n";
        fs::write(proc.join("mountinfo"), mount).unwrap();
        assert_eq!(own_cgroup(root.path()), Some("/run/cg/dc.service".into()));
        fs::write(proc.join("mountinfo"), "").unwrap();
        assert_eq!(own_cgroup(root.path()), None);
    }

    #[test]
    fn what_is_in_an_old_leaf_is_killed_and_the_own_one_spared() {
        let worker = format!("test{}", std::process::id());
        let Ok(old) = Leaf::create(&worker, "1") else { return };
        let own = Leaf::create(&worker, "2").unwrap();
        let mut children: Vec<_> = (0..2).map(|_| Command::new("sleep").arg("60").spawn().unwrap()).collect();
        old.admit(children[0].id()).unwrap();
        own.admit(children[1].id()).unwrap();
        assert_eq!(sweep_leaves(&worker, "2", None), 1);
        children[0].wait().unwrap();
        assert!(!old.dir().exists() && own.dir().exists());
        assert_eq!(children[1].try_wait().unwrap(), None);
        // As from another cgroup, with what the record says.
        assert_eq!(sweep_leaves(&worker, "3", Some(own.dir())), 1);
        children[1].wait().unwrap();
    }
}
