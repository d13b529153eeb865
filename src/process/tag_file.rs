//! An empty file by which the processes of a worker's tasks are found, even if they have cleared their environment.
//!
//! Every process of a task inherits a descriptor of this file, opened with `O_PATH`: nothing can be read, written or locked through it. It is the
//! only descriptor of ours that a task inherits. The file is in the state directory, exists before the first task, and stays. A later
//! worker of the same server, database, prefix and name finds leftover processes by the device and inode of the file.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::sys::stat::Mode;

/// The descriptor's number in tasks. Below 64, because a larger number needs a larger table of descriptors, which each fork would copy. Not a
/// number that shells and scripts often use (3 to 9, 10 and above, 63 and below, 99, 100, 200, 255).
const NUMBER: i32 = 47;

/// The file and its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl TagFile {
    /// Opens the file, and creates it if it is missing. `worker` identifies the worker.
    ///
    /// # Errors
    /// When the file cannot be opened or created.
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

    /// The file at this path; `None` if there is none.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok()?;
        Some(Self { path: path.to_owned(), device: meta.dev(), inode: meta.ino() })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a process has it open, under any number.
    pub(super) fn is_open_in(&self, pid: i32) -> bool {
        let Some(name) = self.path.file_name() else { return false };
        fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().any(|entry| {
            // Compare the name first: reading an inode can block on an unreachable file server.
            let is_named = fs::read_link(entry.path()).is_ok_and(|link| link.file_name() == Some(name));
            is_named && fs::metadata(entry.path()).is_ok_and(|it| it.dev() == self.device && it.ino() == self.inode)
        })
    }
}

/// Opens a descriptor that this process and its later children inherit. Call it before other descriptors are opened.
pub(super) fn inherit(path: &Path) -> Result<(), Errno> {
    let file = open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    // Where the limit of open files is below that number, take the first free one.
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
    fn process_is_found_by_any_descriptor_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let tag = TagFile::open(dir.path(), "a").unwrap();
        let other = tempfile::tempdir().unwrap();
        // A file of the same name in another directory.
        let namesake = TagFile::open(other.path(), "a").unwrap();
        let mut holds = holder(&format!("exec 9<{}; echo ready; read x", tag.path().display()));
        let mut holds_another = holder(&format!("exec 9<{}; echo ready; read x", namesake.path().display()));
        wait_ready(&mut holds);
        wait_ready(&mut holds_another);
        assert!(tag.is_open_in(pid(&holds)) && !tag.is_open_in(pid(&holds_another)));
        assert_eq!(TagFile::open(dir.path(), "a").unwrap(), tag, "the next start finds the same");
        for child in [&mut holds, &mut holds_another] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert!(!tag.is_open_in(pid(&holds)));
    }
}
