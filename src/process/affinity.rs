//! On which cores a task may run.
//!
//! The keeper sets its own cores before it starts the task, so that the task's first instruction runs on them already. Tasks that share cores are moved
//! while they run, when another task gets some of these cores for itself, or gives them back.

use std::collections::BTreeSet;
use std::fs;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::tree;

/// Passes over a tree at most. A process that forks while it is moved has children that have not been.
const PASSES: u32 = 8;

/// The cores that this process may use; empty if the kernel does not tell.
#[must_use]
pub fn allowed_cores() -> BTreeSet<usize> {
    of(Pid::from_raw(0)).unwrap_or_default()
}

/// Lets this process, and what it starts from now on, run on these cores.
pub(super) fn set_own(cores: &[usize]) -> Result<(), Errno> {
    set(Pid::from_raw(0), cores.iter().copied())
}

/// Moves every process below this one from the cores `before` to the cores `now`. One that has chosen cores for itself keeps those of them that it may
/// still use.
pub(super) fn move_tree(before: &[usize], now: &[usize]) {
    let (before, now): (BTreeSet<usize>, BTreeSet<usize>) =
        (before.iter().copied().collect(), now.iter().copied().collect());
    for _ in 0..PASSES {
        let mut moved = false;
        for pid in tree::descendants(Pid::this().as_raw()) {
            let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            let threads = threads.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
            for thread in threads.map(Pid::from_raw) {
                let Ok(present) = of(thread) else { continue };
                let wanted = if present == before {
                    now.clone()
                } else {
                    let kept: BTreeSet<usize> = present.intersection(&now).copied().collect();
                    if kept.is_empty() { now.clone() } else { kept }
                };
                // It may have ended in the meantime.
                moved |= wanted != present && set(thread, wanted.into_iter()).is_ok();
            }
        }
        if !moved {
            break;
        }
    }
}

fn of(thread: Pid) -> Result<BTreeSet<usize>, Errno> {
    let set = sched_getaffinity(thread)?;
    Ok((0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect())
}

fn set(thread: Pid, cores: impl Iterator<Item = usize>) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(core)?;
    }
    sched_setaffinity(thread, &set)
}
