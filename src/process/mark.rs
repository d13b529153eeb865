//! A descriptor by which everything that a worker's tasks started is known, even where the environment was cleared.
//!
//! It refers to an empty file in the worker's state directory, opened so that it gives no access to it (`O_PATH`): nothing can be read, written,
//! locked or kept waiting through it. Of all descriptors it is the only one of ours that a task inherits. The file is the record: it is
//! there before the first task and stays, so that a later worker of the same server, database, prefix and name finds by its device and
//! inode who holds it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::sys::stat::Mode;

/// The number under which tasks have it. Below 64, as every process has room for so many without a larger table, which each fork would copy;
/// and none that shells and scripts like to use (3 to 9, 10 and up from there, 63 and down from there, 99, 100, 200, 255).
const NUMBER: i32 = 47;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Mark {
    /// Makes it, or takes the one that is there. `worker` names the worker among all.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(dir: &Path, worker: &str) -> io::Result<Self> {
        let path = dir.join(format!("distcomp-mark-{worker}"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?;
        let meta = file.metadata()?;
        Ok(Self { path, device: meta.dev(), inode: meta.ino() })
    }

    /// The one that is there, if it is.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok()?;
        Some(Self { path: path.to_owned(), device: meta.dev(), inode: meta.ino() })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a process has it open, under any number.
    pub(super) fn is_held_by(&self, pid: i32) -> bool {
        let Some(name) = self.path.file_name() else { return false };
        fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().any(|entry| {
            // The name first: to ask a file for its inode may wait for a server that is away.
            let is_named = fs::read_link(entry.path()).is_ok_and(|link| link.file_name() == Some(name));
            is_named && fs::metadata(entry.path()).is_ok_and(|it| it.dev() == self.device && it.ino() == self.inode)
        })
    }
}

/// Opens the mark for this process and all that it starts from now on. To be called while few descriptors are open.
pub(super) fn inherit(path: &Path) -> Result<(), Errno> {
    let file = open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    // A limit below that number leaves the first free one.
    fcntl(&file, FcntlArg::F_DUPFD(NUMBER)).or_else(|_| fcntl(&file, FcntlArg::F_DUPFD(3))).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn holder(shell: &str) -> std::process::Child {
        Command::new("/bin/sh").args(["-c", shell]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn pid(child: &std::process::Child) -> i32 {
        i32::try_from(child.id()).unwrap()
    }

    fn wait_ready(child: &mut std::process::Child) {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line).unwrap();
        assert_eq!(line, "ready\n");
    }

    #[test]
    fn whoever_holds_the_file_is_known_under_any_number_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark::open(dir.path(), "a").unwrap();
        let other = tempfile::tempdir().unwrap();
        // A file of the same name elsewhere.
        let namesake = Mark::open(other.path(), "a").unwrap();
        let mut holds = holder(&format!("exec 9<{}; echo ready; read x", mark.path().display()));
        let mut holds_another = holder(&format!("exec 9<{}; echo ready; read x", namesake.path().display()));
        wait_ready(&mut holds);
        wait_ready(&mut holds_another);
        assert!(mark.is_held_by(pid(&holds)) && !mark.is_held_by(pid(&holds_another)));
        assert_eq!(Mark::open(dir.path(), "a").unwrap(), mark, "the next start finds the same");
        for child in [&mut holds, &mut holds_another] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert!(!mark.is_held_by(pid(&holds)));
    }
}
