//! One cgroup for each slot, which limits the memory and the number of processes of its task (`enforce_memory`).
//!
//! cgroup v2 needs delegated controllers (systemd: `Delegate=yes`). A cgroup that passes controllers on may contain no process, so the worker moves
//! itself to a cgroup of its own below. cgroup v1 has no such rule. If the limits cannot be set, this module returns an error and limits nothing.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use super::protocol::{CgroupDirs, Version};
use super::worker_cgroup::{PREFIX, WorkerCgroup, add_process, own_cgroup, remove};

/// The parent of the cgroups of all slots. On drop it removes the empty cgroups and moves this process back.
#[derive(Debug)]
pub struct SlotCgroups {
    /// The parents, which contain one `slot-N` for each slot (v1: the processes of all slots).
    dirs: CgroupDirs,
    delegation: Option<V2Delegation>,
    slots_made: AtomicU64,
}

/// The cgroup of one slot. On drop it is removed if it is empty.
#[derive(Debug)]
pub struct SlotCgroup {
    /// Its directories: one in v2, one for each controller in v1.
    pub dirs: CgroupDirs,
}

impl SlotCgroups {
    /// Creates the parent cgroups: in v2 below `worker_cgroup`, else in v1. In v2, processes that are added to `worker_cgroup` from now on go to its
    /// child `keepers`.
    ///
    /// # Errors
    /// A text for people: why memory cannot be limited here.
    pub fn create(worker: &str, instance: &str, worker_cgroup: Option<&mut WorkerCgroup>) -> Result<Self, String> {
        let by_v2 = match worker_cgroup {
            Some(cgroup) => Self::delegate_v2(cgroup, &["memory", "pids"]),
            None => Err("there is no cgroup v2 that this worker may write to".to_owned()),
        };
        by_v2.or_else(|no_v2| Self::create_v1(worker, instance).map_err(|no_v1| format!("{no_v2}; version 1: {no_v1}")))
    }

    /// The first of `controllers` is required, the others are used if they are available.
    fn delegate_v2(cgroup: &mut WorkerCgroup, controllers: &[&str]) -> Result<Self, String> {
        let own = cgroup.dir().parent().unwrap_or(Path::new("/")).to_owned();
        let offered = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
        let offers = |name: &str| offered.split_whitespace().any(|offered| offered == name);
        if !controllers.first().is_some_and(|first| offers(first)) {
            return Err(format!("the cgroup v2 {} has no memory controller", own.display()));
        }
        let wanted: Vec<&str> = controllers.iter().copied().filter(|name| offers(name)).collect();
        let delegation = V2Delegation::new(&own, cgroup.dir(), &wanted)?;
        cgroup.use_child("keepers").map_err(|error| format!("make {}/keepers: {error}", cgroup.dir().display()))?;
        let dir = cgroup.dir().to_owned();
        let pids = wanted.contains(&"pids").then(|| dir.clone());
        let dirs = CgroupDirs { memory: dir, pids, version: Version::V2 };
        Ok(Self { dirs, delegation: Some(delegation), slots_made: AtomicU64::new(0) })
    }

    /// Below our own cgroup, in the hierarchy of each controller.
    fn create_v1(worker: &str, instance: &str) -> Result<Self, String> {
        let make = |controller: &str| {
            let own = own_cgroup(Some(controller)).ok_or_else(|| format!("there is no {controller} controller"))?;
            let dir = own.join(format!("{PREFIX}{worker}-{instance}"));
            fs::create_dir(&dir).map_err(|error| format!("make {}: {error}", dir.display()))?;
            Ok::<_, String>(dir)
        };
        let memory = make("memory")?;
        let limit = memory.join("memory.limit_in_bytes");
        if let Err(error) = OpenOptions::new().write(true).open(&limit) {
            let _ = fs::remove_dir(&memory);
            return Err(format!("write {}: {error}", limit.display()));
        }
        let dirs = CgroupDirs { memory, pids: make("pids").ok(), version: Version::V1 };
        Ok(Self { dirs, delegation: None, slots_made: AtomicU64::new(0) })
    }

    /// The parent directories. The worker records them, so that its next start can kill leftover processes in them.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        [Some(self.dirs.memory.as_path()), self.dirs.pids.as_deref()].into_iter().flatten()
    }

    /// Whether the number of processes is limited too.
    #[must_use]
    pub fn limits_processes(&self) -> bool {
        self.dirs.pids.is_some()
    }

    /// Adds the zygote, so that the cgroup is never empty while the worker lives.
    ///
    /// # Errors
    /// When it could not be moved.
    pub fn add_zygote(&self, zygote: u32) -> io::Result<()> {
        // In v2 the zygote is in the worker's cgroup.
        match self.dirs.version {
            Version::V1 => self.dirs().try_for_each(|dir| add_process(dir, zygote)),
            Version::V2 => Ok(()),
        }
    }

    /// Creates the cgroup of a slot and adds its keeper, which must not have children yet.
    ///
    /// # Errors
    /// When the cgroup cannot be created, or the keeper cannot be added.
    pub fn create_slot(&self, keeper: u32) -> io::Result<SlotCgroup> {
        let name = format!("slot-{}", self.slots_made.fetch_add(1, Ordering::Relaxed));
        let child = |dir: &PathBuf| dir.join(&name);
        let dirs =
            CgroupDirs { memory: child(&self.dirs.memory), pids: self.dirs.pids.as_ref().map(child), ..self.dirs };
        let slot = SlotCgroup { dirs };
        for dir in slot.all_dirs() {
            fs::create_dir(dir)?;
            add_process(dir, keeper)?;
        }
        Ok(slot)
    }
}

impl Drop for SlotCgroups {
    fn drop(&mut self) {
        let made = self.slots_made.load(Ordering::Relaxed);
        let dirs: Vec<PathBuf> = match self.dirs.version {
            Version::V1 => self.dirs().map(Path::to_owned).collect(),
            Version::V2 => (0..made).map(|n| self.dirs.memory.join(format!("slot-{n}"))).collect(),
        };
        // While a keeper exits, its cgroup cannot be removed.
        for _ in 0..100 {
            dirs.iter().for_each(|dir| remove(dir));
            if !dirs.iter().any(|dir| dir.exists()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(delegation) = &self.delegation {
            delegation.undo();
        }
    }
}

impl SlotCgroup {
    fn all_dirs(&self) -> Vec<&Path> {
        let pids = self.dirs.pids.as_deref().filter(|pids| *pids != self.dirs.memory);
        [Some(self.dirs.memory.as_path()), pids].into_iter().flatten().collect()
    }
}

impl Drop for SlotCgroup {
    fn drop(&mut self) {
        self.all_dirs().into_iter().for_each(remove);
    }
}

/// Controllers of our own cgroup v2 that are switched on for the worker's cgroup below it. This process is in `worker`, a child of the latter.
#[derive(Debug)]
struct V2Delegation {
    own: PathBuf,
    worker_cgroup: PathBuf,
    /// What [`Self::undo`] writes: `-memory -pids`, without those that were on before.
    off: String,
}

impl V2Delegation {
    fn new(own: &Path, worker_cgroup: &Path, controllers: &[&str]) -> Result<Self, String> {
        let room = worker_cgroup.join("worker");
        let complain = |what: &Path, error: &io::Error| {
            if error.raw_os_error() == Some(Errno::EBUSY as i32) {
                format!("the cgroup {} contains other processes than this worker", own.display())
            } else {
                format!("write {}: {error}", what.display())
            }
        };
        fs::create_dir(&room).map_err(|error| complain(&room, &error))?;
        let is_on = |dir: &Path, name: &str| {
            let on = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
            on.split_whitespace().any(|on| on == name)
        };
        let off = controllers.iter().filter(|name| !is_on(own, name)).map(|name| format!("-{name} ")).collect();
        let delegation = Self { own: own.to_owned(), worker_cgroup: worker_cgroup.to_owned(), off };
        let on: String = controllers.iter().map(|name| format!("+{name} ")).collect();
        let steps = [
            (room.join("cgroup.procs"), std::process::id().to_string()),
            (own.join("cgroup.subtree_control"), on.clone()),
            (worker_cgroup.join("cgroup.subtree_control"), on),
        ];
        for (file, text) in &steps {
            if let Err(error) = fs::write(file, text.trim()) {
                delegation.undo();
                return Err(complain(file, &error));
            }
        }
        Ok(delegation)
    }

    /// Restores the state before [`Self::new`], as far as possible.
    fn undo(&self) {
        let file = |dir: &Path| dir.join("cgroup.subtree_control");
        let below = fs::read_to_string(file(&self.worker_cgroup)).unwrap_or_default();
        let off: String = below.split_whitespace().map(|name| format!("-{name} ")).collect();
        let _ = fs::write(file(&self.worker_cgroup), off.trim());
        let _ = fs::write(file(&self.own), self.off.trim());
        let _ = fs::write(self.own.join("cgroup.procs"), std::process::id().to_string());
        let _ = fs::remove_dir(self.worker_cgroup.join("worker"));
        let _ = fs::remove_dir(self.worker_cgroup.join("keepers"));
    }
}
