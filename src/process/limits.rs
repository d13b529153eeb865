//! The limit of open files: ours is raised, tasks keep what they would have had. No picture of our memory for others, and no more of it than is used.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::syscalls;

/// Descriptors of one slot, here and in its keeper: the socket's two ends, the task's pipes, and one to spare.
const PER_SLOT: u64 = 5;
/// Everything else: Redis, the log, the spool, the runtime.
const FIXED: u64 = 64;

/// What this process may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The soft limit before it was raised, for tasks to have it back.
    pub soft_before: u64,
    /// The limit that holds now.
    pub limit: u64,
}

/// Raises the soft limit of open files of this process to the hard one. `None` when it could not be read.
pub fn raise_open_files() -> Option<OpenFiles> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // Where it cannot be raised, the old limit stays.
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    Some(OpenFiles { soft_before: soft, limit })
}

/// Keeps what this process knows to itself: it leaves no core dump, and its memory, environment and descriptors are closed to other processes of the
/// same user, its own tasks among them (root sees everything). What it executes is not affected but for the soft limit of core dumps.
///
/// A debugger of the same user cannot attach any more either.
pub fn keep_secrets() {
    // Either may be forbidden in a strange sandbox: no reason to run nothing.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
    let _ = prctl::set_dumpable(false);
}

/// Outputs of tasks are larger than this, most of what a worker holds besides is smaller.
const LARGE: i32 = 128 << 10;

/// Has memory that large outputs took given back when they are gone. Left to itself, the C library keeps it once it has seen a few, in pieces between
/// which something small lives: a worker that has passed on some thousand outputs then holds three times what it uses.
pub fn give_memory_back() {
    syscalls::return_blocks_from(LARGE);
}

/// How many slots this many open files are enough for; at least one.
#[must_use]
pub fn slots_for(open_files: u64) -> u32 {
    u32::try_from(open_files.saturating_sub(FIXED) / PER_SLOT).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_lowers_the_slots_and_leaves_one() {
        assert_eq!((slots_for(0), slots_for(68), slots_for(104), slots_for(1024)), (1, 1, 8, 192));
        assert_eq!(slots_for(u64::MAX), u32::MAX);
    }
}
