//! The limit of open files: ours is raised, tasks keep what they would have had.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files of this process to the hard one; returns what the soft limit was, for tasks to have it
/// back. `None` when it could not be read.
pub fn raise_open_files() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // Where it cannot be raised, the old limit stays, and slots run out of it with a message of their own.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    Some(soft)
}
