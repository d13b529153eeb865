//! What a task has for itself: devices, cores, a directory. The keeper takes them before it starts the task, and gives them back when nothing of its tree is
//! left.

use super::affinity;
use super::confinement::TaskUser;
use super::device_lock::{self, HeldDevice, TakeError};
use super::protocol::{KeeperEvent, RunSpec, TaskKey};
use super::scratch::ScratchRecord;
use super::spawn::SpawnError;

/// What the present task of a keeper has: devices, cores, a scratch directory.
#[derive(Default)]
pub(super) struct Isolation {
    /// Also held by the task's processes.
    devices: Vec<HeldDevice>,
    /// The cores of the keeper before the first task that was pinned; empty while there was none.
    all_cores: Vec<usize>,
    /// The cores that were set last; empty: all.
    cores: Vec<usize>,
    scratch: Option<ScratchRecord>,
}

/// Why a run is not started.
pub(super) enum Refusal {
    /// Somebody else has this device.
    Busy {
        resource: String,
        device: String,
    },
    Spawn(SpawnError),
}

impl Refusal {
    /// What the worker is told.
    pub(super) fn event(self, key: TaskKey) -> KeeperEvent {
        match self {
            Self::Busy { resource, device } => KeeperEvent::DeviceBusy { key, resource, device },
            Self::Spawn(SpawnError { error, is_node_fault }) => KeeperEvent::SpawnFailed { key, error, is_node_fault },
        }
    }
}

impl Isolation {
    /// Takes what the run is to have, and adds the variables that name it. Call [`Self::end`] after a refusal, too.
    pub(super) fn begin(&mut self, spec: &mut RunSpec, owner: Option<&TaskUser>) -> Result<(), Refusal> {
        let of_node = |what: &str, error: &str| Refusal::Spawn(SpawnError::of_node(what, error));
        for hold in &spec.devices {
            let busy = || Refusal::Busy { resource: hold.resource.clone(), device: hold.device.clone() };
            let held = device_lock::take(hold).map_err(|error| match error {
                TakeError::Busy => busy(),
                TakeError::Io(error) => of_node(&format!("lock {} {}", hold.resource, hold.device), &error.to_string()),
            });
            self.devices.push(held?);
        }
        self.set_cores(&spec.cores).map_err(|error| of_node("set the cores of the task", error.desc()))?;
        if let Some(place) = &spec.scratch {
            let made = place.make(owner).map_err(|error| {
                of_node(&format!("create a directory in {}", place.parent.display()), &error.to_string())
            });
            let record = self.scratch.insert(made?);
            let path = record.path().to_string_lossy().into_owned();
            spec.env.push(("DISTCOMP_SCRATCH".to_owned(), path.clone()));
            spec.env.push(("TMPDIR".to_owned(), path));
        }
        Ok(())
    }

    /// Moves the running task to other cores.
    pub(super) fn move_to(&mut self, cores: Vec<usize>) {
        let before = std::mem::replace(&mut self.cores, cores);
        // First the keeper, which gets the orphans.
        let _ = affinity::set_own(&self.cores);
        affinity::move_tree(if before.is_empty() { &self.all_cores } else { &before }, &self.cores);
    }

    /// Gives everything back. `is_gone`: nothing of the tree is left; otherwise the directory stays until the next start of the worker, and what is left
    /// of the tree still holds its devices. Returns why the directory is still there.
    pub(super) fn end(&mut self, is_gone: bool) -> Option<String> {
        let left = self.scratch.take().and_then(|record| {
            let removed = if is_gone { record.remove() } else { Err(std::io::Error::other("a process is left")) };
            removed.err().map(|error| format!("{}: {error}", record.path().display()))
        });
        self.devices.clear();
        left
    }

    fn set_cores(&mut self, cores: &[usize]) -> Result<(), nix::errno::Errno> {
        if cores == self.cores {
            return Ok(());
        }
        if self.all_cores.is_empty() {
            self.all_cores = affinity::allowed_cores().into_iter().collect();
        }
        affinity::set_own(if cores.is_empty() { &self.all_cores } else { cores })?;
        cores.clone_into(&mut self.cores);
        Ok(())
    }
}
