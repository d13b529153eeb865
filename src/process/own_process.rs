//! Settings of this process itself: its limit of open files, core dumps, and the allocator.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::syscalls;

/// Descriptors for one slot, in this process and its keeper: both ends of the socket, the pipes of the task, and a spare one.
const PER_SLOT: u64 = 5;
/// Descriptors for all else: Redis, the log, the spool, the runtime.
const FIXED: u64 = 64;

/// The limit of open files of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The soft limit before it was raised. Tasks get this one.
    pub soft_before: u64,
    /// The limit in force now.
    pub limit: u64,
}

/// Raises the soft limit of open files of this process to the hard one. `None` if the limit cannot be read.
pub fn raise_open_files() -> Option<OpenFiles> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // If it cannot be raised, the old limit stays.
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    Some(OpenFiles { soft_before: soft, limit })
}

/// Protects the secrets in the memory of this process. It writes no core dump, and other processes of the same user, including its tasks, cannot
/// read its memory, environment and descriptors or attach a debugger. Root still can. Programs that it executes only inherit the soft limit of core
/// dumps.
pub fn disable_dumps() {
    // A sandbox may forbid either call, which is no reason not to start.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
    let _ = prctl::set_dumpable(false);
}

/// Bytes. Buffers of large outputs are larger than this, most other blocks are smaller.
const LARGE: i32 = 128 << 10;

/// Makes the allocator return large blocks to the system when they are freed. By default glibc keeps them after the first few, fragmented by small
/// blocks: after some thousand large outputs a worker would hold three times the memory that it uses.
pub fn return_large_blocks() {
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
    fn low_limit_lowers_the_slots_to_one_at_least() {
        assert_eq!((slots_for(0), slots_for(68), slots_for(104), slots_for(1024)), (1, 1, 8, 192));
        assert_eq!(slots_for(u64::MAX), u32::MAX);
    }
}
