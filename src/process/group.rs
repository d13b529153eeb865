//! A cgroup for each slot, where memory and processes can be limited by one: for those who want tasks to have what they declare and no more.
//!
//! Version 2 needs the controllers handed down to us (systemd: `Delegate=yes`), and then no process may be in the cgroup that we divide: the worker
//! moves itself to one of its own below. Version 1 knows no such rule. A cgroup that we cannot divide is said, never taken for one that limits.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::leaf::{Leaf, PREFIX, admit, own_cgroup, remove};

/// Version of the hierarchy; the names of its files differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One for all.
    V2,
}

/// The directories of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDirs {
    /// Where memory is limited.
    #[serde(skip)]
    pub memory: PathBuf,
    /// Where the number of processes is; `None`: nowhere.
    #[serde(skip)]
    pub pids: Option<PathBuf>,
    /// Which names the files have.
    pub version: Version,
}

/// Where the groups of slots are made. Dropped, it takes away what is empty and moves back what it had moved.
#[derive(Debug)]
pub struct LimitGroups {
    /// Of all slots.
    dirs: GroupDirs,
    divided: Option<Divided>,
    slots_made: AtomicU64,
}

/// The group of one slot; dropped, it goes where it is empty.
#[derive(Debug)]
pub struct SlotGroup {
    /// Its directories.
    pub dirs: GroupDirs,
}

impl LimitGroups {
    /// Finds or makes the place. Of `leaf`, where there is one, it may become a part: then what is admitted to the leaf goes elsewhere in it.
    ///
    /// # Errors
    /// Why memory cannot be limited here, for people.
    pub fn create(worker: &str, instance: &str, leaf: Option<&mut Leaf>) -> Result<Self, String> {
        let by_v2 = match leaf {
            Some(leaf) => Self::divide(leaf, &["memory", "pids"]),
            None => Err("there is no cgroup v2 that this worker may write to".to_owned()),
        };
        by_v2.or_else(|no_v2| Self::beside(worker, instance).map_err(|no_v1| format!("{no_v2}; version 1: {no_v1}")))
    }

    /// Version 2: below the leaf. The first of `controllers` must be there.
    fn divide(leaf: &mut Leaf, controllers: &[&str]) -> Result<Self, String> {
        let own = leaf.dir().parent().unwrap_or(Path::new("/")).to_owned();
        let offered = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
        let offers = |name: &str| offered.split_whitespace().any(|offered| offered == name);
        if !controllers.first().is_some_and(|first| offers(first)) {
            return Err(format!("the cgroup v2 {} has no memory controller", own.display()));
        }
        let wanted: Vec<&str> = controllers.iter().copied().filter(|name| offers(name)).collect();
        let divided = Divided::new(&own, leaf.dir(), &wanted)?;
        leaf.move_home("keepers").map_err(|error| format!("make {}/keepers: {error}", leaf.dir().display()))?;
        let dir = leaf.dir().to_owned();
        let pids = wanted.contains(&"pids").then(|| dir.clone());
        let dirs = GroupDirs { memory: dir, pids, version: Version::V2 };
        Ok(Self { dirs, divided: Some(divided), slots_made: AtomicU64::new(0) })
    }

    /// Version 1: below our own, in each hierarchy.
    fn beside(worker: &str, instance: &str) -> Result<Self, String> {
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
        let dirs = GroupDirs { memory, pids: make("pids").ok(), version: Version::V1 };
        Ok(Self { dirs, divided: None, slots_made: AtomicU64::new(0) })
    }

    /// Where they are, for the record by which a later start finds what is left in them.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        [Some(self.dirs.memory.as_path()), self.dirs.pids.as_deref()].into_iter().flatten()
    }

    /// Whether the number of processes is limited too.
    #[must_use]
    pub fn limits_processes(&self) -> bool {
        self.dirs.pids.is_some()
    }

    /// Takes in the zygote, so that the place is never empty while the worker lives.
    ///
    /// # Errors
    /// When it could not be moved.
    pub fn admit(&self, zygote: u32) -> io::Result<()> {
        // In version 2 the leaf takes it in.
        match self.dirs.version {
            Version::V1 => self.places().try_for_each(|dir| admit(dir, zygote)),
            Version::V2 => Ok(()),
        }
    }

    /// A new group with this keeper in it, which has no child yet.
    ///
    /// # Errors
    /// When it could not be made, or the keeper is not in it.
    pub fn slot(&self, keeper: u32) -> io::Result<SlotGroup> {
        let name = format!("slot-{}", self.slots_made.fetch_add(1, Ordering::Relaxed));
        let below = |dir: &PathBuf| dir.join(&name);
        let dirs =
            GroupDirs { memory: below(&self.dirs.memory), pids: self.dirs.pids.as_ref().map(below), ..self.dirs };
        let slot = SlotGroup { dirs };
        for dir in slot.places() {
            fs::create_dir(dir)?;
            admit(dir, keeper)?;
        }
        Ok(slot)
    }
}

impl Drop for LimitGroups {
    fn drop(&mut self) {
        let made = self.slots_made.load(Ordering::Relaxed);
        let places: Vec<PathBuf> = match self.dirs.version {
            Version::V1 => self.places().map(Path::to_owned).collect(),
            Version::V2 => (0..made).map(|n| self.dirs.memory.join(format!("slot-{n}"))).collect(),
        };
        // A keeper that is just ending keeps its place busy for a moment.
        for _ in 0..100 {
            places.iter().for_each(|place| remove(place));
            if !places.iter().any(|place| place.exists()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(divided) = &self.divided {
            divided.undo();
        }
    }
}

impl SlotGroup {
    /// One directory in version 2, one for each controller in version 1.
    fn places(&self) -> Vec<&Path> {
        let pids = self.dirs.pids.as_deref().filter(|pids| *pids != self.dirs.memory);
        [Some(self.dirs.memory.as_path()), pids].into_iter().flatten().collect()
    }
}

impl Drop for SlotGroup {
    fn drop(&mut self) {
        self.places().into_iter().for_each(remove);
    }
}

/// A cgroup v2 whose controllers were handed down to the leaf below it, with this process out of the way.
#[derive(Debug)]
struct Divided {
    own: PathBuf,
    leaf: PathBuf,
    /// Switched off again at the end: `-memory -pids`, of those that were off before.
    off: String,
}

impl Divided {
    fn new(own: &Path, leaf: &Path, controllers: &[&str]) -> Result<Self, String> {
        let room = leaf.join("worker");
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
        let divided = Self { own: own.to_owned(), leaf: leaf.to_owned(), off };
        let on: String = controllers.iter().map(|name| format!("+{name} ")).collect();
        let steps = [
            (room.join("cgroup.procs"), std::process::id().to_string()),
            (own.join("cgroup.subtree_control"), on.clone()),
            (leaf.join("cgroup.subtree_control"), on),
        ];
        for (file, text) in &steps {
            if let Err(error) = fs::write(file, text.trim()) {
                divided.undo();
                return Err(complain(file, &error));
            }
        }
        Ok(divided)
    }

    /// As it was, as far as it can be.
    fn undo(&self) {
        let file = |dir: &Path| dir.join("cgroup.subtree_control");
        let below = fs::read_to_string(file(&self.leaf)).unwrap_or_default();
        let off: String = below.split_whitespace().map(|name| format!("-{name} ")).collect();
        let _ = fs::write(file(&self.leaf), off.trim());
        let _ = fs::write(file(&self.own), self.off.trim());
        let _ = fs::write(self.own.join("cgroup.procs"), std::process::id().to_string());
        let _ = fs::remove_dir(self.leaf.join("worker"));
        let _ = fs::remove_dir(self.leaf.join("keepers"));
    }
}
