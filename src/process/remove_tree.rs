//! Removes a directory that a task has filled: however deep it is, whatever the modes in it, and never anything that a link points to or that is mounted
//! there.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use nix::NixPath;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::safe_dir::DirId;

/// Levels that are walked down with a descriptor each. What is deeper is moved to the top.
const LEVELS: u32 = 32;

/// How often a directory is read again in which something is left.
const PASSES: u32 = 4;

/// Removes the directory `name` if it still is the one with this identity. That it is gone, or another one, is no error.
///
/// # Errors
/// The first thing that cannot be removed; everything else is.
pub(super) fn remove_tree(parent: BorrowedFd<'_>, name: &str, id: DirId) -> io::Result<()> {
    let dir = match open_dir(parent, name) {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
        opened => opened?,
    };
    let stat = fstat(&dir)?;
    if (stat.st_dev as u64, stat.st_ino as u64) != id {
        return Ok(());
    }
    let top = listable(&dir)?;
    let mut sweep = Sweep { top: top.as_fd(), mount: Mount::of(&dir)?, moved: 0, failed: None };
    loop {
        let moved = sweep.moved;
        sweep.empty(top.as_fd(), 0)?;
        if sweep.moved == moved {
            break;
        }
    }
    match (unlinkat(parent, name, UnlinkatFlags::RemoveDir), sweep.failed) {
        (Ok(()) | Err(Errno::ENOENT), _) => Ok(()),
        (Err(_), Some(failed)) => Err(failed),
        (Err(errno), None) => Err(errno.into()),
    }
}

struct Sweep<'a> {
    top: BorrowedFd<'a>,
    /// Where the tree is. A task may have mounted something below it, and ended before it could unmount that.
    mount: Mount,
    /// How many directories were moved to the top.
    moved: u64,
    failed: Option<io::Error>,
}

impl Sweep<'_> {
    /// Removes everything in a directory.
    fn empty(&mut self, dir: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
        for _ in 0..PASSES {
            let mut removed = 0_u64;
            let own = openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
            for entry in Dir::from_fd(own)?.iter() {
                let name = entry?.file_name().to_owned();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                match self.remove(dir, &name, depth) {
                    Ok(()) => removed += 1,
                    Err(error) => {
                        self.failed.get_or_insert(error);
                    }
                }
            }
            // Some file systems skip names while others are removed.
            if removed == 0 {
                break;
            }
        }
        Ok(())
    }

    fn remove(&mut self, dir: BorrowedFd<'_>, name: &CStr, depth: u32) -> io::Result<()> {
        match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR | Errno::EPERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        let below = open_dir(dir, name)?;
        if Mount::of(&below)? != self.mount {
            return Err(io::Error::other(format!("a file system is mounted at {}", name.to_string_lossy())));
        }
        let below = listable(&below)?;
        if depth < LEVELS {
            self.empty(below.as_fd(), depth + 1)?;
            return Ok(unlinkat(dir, name, UnlinkatFlags::RemoveDir)?);
        }
        loop {
            self.moved += 1;
            let free = CString::new(format!(".distcomp-moved-{}", self.moved)).map_err(io::Error::other)?;
            match renameat(dir, name, self.top, free.as_c_str()) {
                Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
                moved => return Ok(moved?),
            }
        }
    }
}

/// What a directory is mounted in. Two mounts of one file system differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mount {
    Id(u64),
    /// Without `/proc`, only the file system is known.
    Device(u64),
}

impl Mount {
    fn of(dir: &OwnedFd) -> io::Result<Self> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", dir.as_raw_fd())).unwrap_or_default();
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        Ok(id.map_or(Self::Device(fstat(dir)?.st_dev as u64), Self::Id))
    }
}

/// Opens a directory, and no link, whatever its mode.
pub(super) fn open_dir<P: ?Sized + NixPath>(parent: BorrowedFd<'_>, name: &P) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// The same directory, opened so that it can be listed. The task may have taken away its mode.
pub(super) fn listable(dir: &OwnedFd) -> io::Result<OwnedFd> {
    if fstat(dir)?.st_mode & 0o700 != 0o700 {
        // Where this fails, the next step says why.
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let _ = fs::set_permissions(path, PermissionsExt::from_mode(0o700));
    }
    Ok(openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Removes `scratch` in `dir`.
    fn remove(dir: &Path) -> io::Result<()> {
        let meta = fs::metadata(dir.join("scratch")).unwrap();
        let parent = fs::File::open(dir).unwrap();
        remove_tree(parent.as_fd(), "scratch", (meta.dev(), meta.ino()))
    }

    #[test]
    fn whatever_a_task_left_is_removed_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("outside/kept")).unwrap();
        fs::write(at("outside/kept/file"), "").unwrap();
        fs::create_dir_all(at("scratch/a/b/c")).unwrap();
        for index in 0..300 {
            fs::write(at(&format!("scratch/a/{index}")), "").unwrap();
        }
        fs::write(at("scratch/a/b/c/file"), "").unwrap();
        symlink(at("outside"), at("scratch/link")).unwrap();
        symlink("../../outside/kept", at("scratch/a/link")).unwrap();
        nix::unistd::mkfifo(&at("scratch/pipe"), Mode::S_IRWXU).unwrap();
        for (name, mode) in [("a/b/c", 0o000), ("a/b", 0o400), ("a", 0o100), (".", 0o000)] {
            fs::set_permissions(at("scratch").join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        remove(dir.path()).unwrap();
        assert!(!at("scratch").exists());
        assert!(at("outside/kept/file").exists());
    }

    #[test]
    fn tree_that_is_deeper_than_any_path_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("scratch")).unwrap();
        let hundred = "d/".repeat(100);
        let script = format!("cd scratch; for i in $(seq 25); do mkdir -p {hundred}; cd {hundred}; done; : > file");
        let made = Command::new("/bin/sh").args(["-c", &script]).current_dir(dir.path()).status().unwrap();
        assert!(made.success());
        remove(dir.path()).unwrap();
        assert!(!dir.path().join("scratch").exists());
    }

    #[test]
    fn another_directory_of_the_name_is_spared() {
        let dir = tempfile::tempdir().unwrap();
        let parent = fs::File::open(dir.path()).unwrap();
        remove_tree(parent.as_fd(), "scratch", (1, 2)).unwrap();
        fs::create_dir(dir.path().join("scratch")).unwrap();
        remove_tree(parent.as_fd(), "scratch", (1, 2)).unwrap();
        assert!(dir.path().join("scratch").exists());
        fs::remove_dir(dir.path().join("scratch")).unwrap();
        fs::create_dir(dir.path().join("kept")).unwrap();
        symlink("kept", dir.path().join("scratch")).unwrap();
        let kept = fs::metadata(dir.path().join("kept")).unwrap();
        remove_tree(parent.as_fd(), "scratch", (kept.dev(), kept.ino())).unwrap();
        assert!(dir.path().join("kept").exists());
    }
}
