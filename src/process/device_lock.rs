//! Locks on the devices of a node, so that no device is in use by two tasks, whichever of the user's workers started them.
//!
//! Each device has a file of which 2000 bytes count. A task has as many of the first 1000 as it has thousandths of the device, so a whole device excludes
//! everybody else, and the kernel counts the parts. The keeper locks these for writing before it starts the task. Of the other 1000 it locks the same ones for
//! reading, by a descriptor that the task's processes inherit and can neither write nor truncate the file with. A device is free where nobody has a lock of
//! either kind: when keeper **and** tree are gone, even if the worker, its keepers and the zygote were killed together.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::protocol::DeviceHold;
use super::syscalls;
use crate::sys::wall_clock;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::stat::{Mode, fstat, stat};
use nix::unistd::geteuid;

/// Bytes of a file, each a thousandth of its device; and as many again for the processes of tasks.
const WHOLE: i64 = 1000;

/// Above the descriptors that shells give to scripts, and above the tag file's.
const LEAST_FD: i32 = 48;

/// How often a lock is tried again that another keeper took between a look and a lock, or whose file was removed.
const TRIES: u32 = 20;

/// The locks of this node's devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLocks {
    dir: PathBuf,
}

/// Why a device cannot be had.
#[derive(Debug)]
pub(super) enum TakeError {
    /// Somebody else has it.
    Busy,
    /// The file cannot be used.
    Io(io::Error),
}

impl DeviceLocks {
    /// The directory that all workers of this user share on this node. Nothing in the environment has an influence, since a service and a shell would
    /// otherwise choose two.
    #[must_use]
    pub fn of_node() -> Self {
        let user = geteuid();
        let of_root = Self::at("/run/distcomp-devices".into());
        if user.is_root() && of_root.prepare().is_ok() {
            return of_root;
        }
        Self::at(format!("/tmp/distcomp-devices-{user}").into())
    }

    /// Those in a directory.
    #[must_use]
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Makes the directory where it is missing, and checks that it is ours alone.
    ///
    /// # Errors
    /// When it cannot be made, or others can change it.
    pub fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let above = self.dir.parent().unwrap_or(Path::new("/"));
        let stat = stat(above)?;
        let is_fixed = stat.st_mode & 0o022 == 0 || stat.st_mode & 0o1000 != 0;
        if ![0, geteuid().as_raw()].contains(&stat.st_uid) || !is_fixed {
            return Err(not_ours(above));
        }
        open_dir(&self.dir).map(drop)
    }

    /// What a keeper is to lock.
    #[must_use]
    pub fn hold(&self, resource: &str, device: &str, amount: u64) -> DeviceHold {
        DeviceHold { dir: self.dir.clone(), resource: resource.to_owned(), device: device.to_owned(), amount }
    }

    /// How much of a device is held on this node, in thousandths. Of a device that was never held it is 0.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn held(&self, resource: &str, device: &str) -> io::Result<u64> {
        let dir = match open_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            opened => opened?,
        };
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match openat(&dir, file_name(resource, device).as_str(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(0),
            opened => File::from(opened?),
        };
        // Programs that clear up /tmp spare what was used lately.
        if let Some(now) = wall_clock::now() {
            let _ = file.set_modified(UNIX_EPOCH + now);
        }
        let free: i64 = free_ranges(&file)?.into_iter().map(|(_, len)| len).sum();
        Ok(u64::try_from(WHOLE - free).unwrap_or(0))
    }
}

/// A device that a task has. It is free when this is dropped and all processes that inherited it have ended.
#[derive(Debug)]
pub(super) struct HeldDevice {
    _of_keeper: File,
    _of_tree: OwnedFd,
}

/// Locks a device.
pub(super) fn take(hold: &DeviceHold) -> Result<HeldDevice, TakeError> {
    DeviceLocks::at(hold.dir.clone()).prepare().map_err(TakeError::Io)?;
    let dir = open_dir(&hold.dir).map_err(TakeError::Io)?;
    let name = file_name(&hold.resource, &hold.device);
    let open = |flags| {
        openat(&dir, name.as_str(), flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::S_IRUSR | Mode::S_IWUSR)
    };
    for _ in 0..TRIES {
        let file = File::from(open(OFlag::O_RDWR | OFlag::O_CREAT).map_err(errno)?);
        // The umask of tasks is the keeper's, and could take our own rights away.
        let _ = file.set_permissions(Permissions::from_mode(0o600));
        let ranges = match lock(&file, i64::try_from(hold.amount).unwrap_or(WHOLE)).map_err(errno)? {
            Locked::All(ranges) => ranges,
            Locked::Raced => continue,
            Locked::Busy => return Err(TakeError::Busy),
        };
        // The lock counts only if everybody else finds this file.
        let tree = match open(OFlag::O_RDONLY) {
            Err(Errno::ENOENT) => continue,
            opened => opened.map_err(errno)?,
        };
        let (ours, named) = (fstat(&file).map_err(errno)?, fstat(&tree).map_err(errno)?);
        if (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino) {
            continue;
        }
        for (start, len) in ranges {
            let of_tree = range(libc::F_RDLCK, WHOLE + start, len);
            fcntl(&tree, FcntlArg::F_OFD_SETLK(&of_tree)).map_err(errno)?;
        }
        let _of_tree = syscalls::duplicate_for_children(tree.as_fd(), LEAST_FD).map_err(errno)?;
        return Ok(HeldDevice { _of_keeper: file, _of_tree });
    }
    Err(TakeError::Busy)
}

fn errno(errno: Errno) -> TakeError {
    TakeError::Io(errno.into())
}

enum Locked {
    /// These starts and lengths.
    All(Vec<(i64, i64)>),
    /// Less is free than is wanted.
    Busy,
    /// Somebody was faster; closing the file gives back what was got.
    Raced,
}

fn lock(file: &File, amount: i64) -> Result<Locked, Errno> {
    let mut missing = amount.clamp(1, WHOLE);
    let free = free_ranges(file)?;
    if free.iter().map(|(_, len)| len).sum::<i64>() < missing {
        return Ok(Locked::Busy);
    }
    let mut locked = Vec::new();
    for (start, len) in free {
        let len = len.min(missing);
        match fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_WRLCK, start, len))) {
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(Locked::Raced),
            Err(errno) => return Err(errno),
        }
        // A task may have come since the look, and have lost its keeper.
        if conflict(file, WHOLE + start, len)?.is_some() {
            return Ok(Locked::Raced);
        }
        locked.push((start, len));
        missing -= len;
        if missing == 0 {
            break;
        }
    }
    Ok(Locked::All(locked))
}

/// What nobody has, as starts and lengths.
fn free_ranges(file: &File) -> Result<Vec<(i64, i64)>, Errno> {
    let mut free = Vec::new();
    let mut left = vec![(0, WHOLE)];
    while let Some((start, len)) = left.pop() {
        let of_tree = |(begin, end)| (begin - WHOLE, end - WHOLE);
        let found = match conflict(file, start, len)? {
            None => conflict(file, WHOLE + start, len)?.map(of_tree),
            found => found,
        };
        let Some((begin, end)) = found else {
            free.push((start, len));
            continue;
        };
        left.extend([(start, begin - start), (end, start + len - end)].into_iter().filter(|(_, len)| *len > 0));
    }
    Ok(free)
}

/// The begin and the end, within these bytes, of a lock that another open file has. Of several it is not always the first.
fn conflict(file: &File, start: i64, len: i64) -> Result<Option<(i64, i64)>, Errno> {
    let mut found = range(libc::F_WRLCK, start, len);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    if i32::from(found.l_type) == libc::F_UNLCK {
        return Ok(None);
    }
    let begin = found.l_start.max(start);
    // A length of 0 is up to the end of the file, wherever that is.
    let end = if found.l_len == 0 { start + len } else { found.l_start.saturating_add(found.l_len).min(start + len) };
    Ok(Some((begin, end.max(begin + 1))))
}

fn range(kind: libc::c_int, start: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

/// Opens a directory that nobody else can read or change.
fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = openat(AT_FDCWD, path, flags, Mode::empty())?;
    let stat = fstat(&dir)?;
    if stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o077 != 0 { Err(not_ours(path)) } else { Ok(dir) }
}

fn not_ours(path: &Path) -> io::Error {
    let problem = format!("{} belongs to another user, or others can change it", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, problem)
}

fn file_name(resource: &str, device: &str) -> String {
    // Neither holds the other characters.
    format!("{resource}={device}").replace('/', "+")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn locks() -> (tempfile::TempDir, DeviceLocks) {
        let dir = tempfile::tempdir().unwrap();
        let locks = DeviceLocks::at(dir.path().join("own/devices"));
        (dir, locks)
    }

    #[test]
    fn whole_device_excludes_all_others_until_it_is_dropped() {
        let (_dir, locks) = locks();
        let [whole, half] = [1000, 500].map(|amount| locks.hold("gpus", "0", amount));
        assert_eq!(locks.held("gpus", "0").unwrap(), 0, "there is no file yet");
        let held = take(&whole).unwrap();
        assert_eq!(locks.held("gpus", "0").unwrap(), 1000);
        assert!(matches!(take(&whole), Err(TakeError::Busy)));
        assert!(matches!(take(&half), Err(TakeError::Busy)));
        let other = take(&locks.hold("gpus", "1", 1000)).unwrap();
        drop(held);
        assert_eq!(locks.held("gpus", "0").unwrap(), 0);
        let _again = take(&whole).unwrap();
        drop(other);
    }

    #[test]
    fn parts_add_up_to_a_device_and_no_further() {
        let (_dir, locks) = locks();
        let part = |amount| take(&locks.hold("a/b", "0", amount));
        let (first, second, third) = (part(300).unwrap(), part(300).unwrap(), part(400).unwrap());
        assert_eq!(locks.held("a/b", "0").unwrap(), 1000);
        assert!(matches!(part(1), Err(TakeError::Busy)));
        drop(first);
        drop(third);
        assert_eq!(locks.held("a/b", "0").unwrap(), 300);
        assert!(matches!(part(1000), Err(TakeError::Busy)));
        let _scattered = part(650).unwrap();
        assert_eq!(locks.held("a/b", "0").unwrap(), 950, "it takes what is free on both sides");
        drop(second);
    }

    #[test]
    fn part_that_a_tree_has_kept_without_its_keeper_is_not_free() {
        let (_dir, locks) = locks();
        let part = |amount| take(&locks.hold("gpus", "0", amount));
        let HeldDevice { _of_keeper: keeper, _of_tree: tree } = part(400).unwrap();
        drop(keeper);
        assert_eq!(locks.held("gpus", "0").unwrap(), 400);
        let other = part(600).unwrap();
        assert_eq!(locks.held("gpus", "0").unwrap(), 1000);
        assert!(matches!(part(1), Err(TakeError::Busy)));
        // Nothing can be done to the file through what tasks inherit.
        assert!(nix::unistd::write(&tree, b"x").is_err() && nix::unistd::ftruncate(&tree, 5).is_err());
        drop(other);
        assert!(matches!(part(601), Err(TakeError::Busy)));
        drop(tree);
        assert!(part(1000).is_ok());
    }

    #[test]
    fn lock_is_on_the_file_that_others_find() {
        let (_dir, locks) = locks();
        let whole = locks.hold("gpus", "0", 1000);
        let _lost = take(&whole).unwrap();
        std::fs::remove_file(locks.dir.join("gpus=0")).unwrap();
        let _found = take(&whole).unwrap();
        assert!(matches!(take(&whole), Err(TakeError::Busy)));
    }

    #[test]
    fn directory_that_others_can_change_is_refused() {
        let (dir, locks) = locks();
        locks.prepare().unwrap();
        std::fs::set_permissions(&locks.dir, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(take(&locks.hold("gpus", "0", 1)), Err(TakeError::Io(_))));
        assert!(locks.held("gpus", "0").is_err());
        let link = dir.path().join("own/link");
        symlink("devices", &link).unwrap();
        assert!(DeviceLocks::at(link).prepare().is_err());
        std::fs::set_permissions(&locks.dir, Permissions::from_mode(0o700)).unwrap();
        std::fs::set_permissions(dir.path().join("own"), Permissions::from_mode(0o777)).unwrap();
        assert!(locks.prepare().is_err(), "its name could be another's in a moment");
    }
}
