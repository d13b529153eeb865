//! Opens directories in a way that no other user can redirect, for a worker that runs as root.
//!
//! A process of root acts with rights that others lack. Where one of them can change a path, by a link in place of a directory, root would write, read
//! or delete where they point. So root goes along a path step by step, each beside the descriptor of the one before. A link is followed only where
//! nobody but root could have made it. From the first directory on that somebody else can change, no link is followed at all, and the
//! [`SafeDir`] says that it is shared. Everybody else has only rights that are theirs: for them the kernel's own rules hold.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat, mode_t};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

const STEP: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// The bits of a mode that let others change a directory, and the one that keeps them from what is not theirs.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// An open directory.
#[derive(Debug)]
pub struct SafeDir {
    fd: OwnedFd,
    is_shared: bool,
}

/// What tells a directory from all others while it is held open: device and inode.
pub type DirId = (u64, u64);

/// What is done to make a directory that is missing: asked with whether the one above is shared. What it gives is kept until the directory is made.
type Prepare<'a, G> = &'a dyn Fn(bool) -> io::Result<G>;

impl SafeDir {
    /// Opens a directory that is there.
    ///
    /// # Errors
    /// What the system says; for root also [`is_untrusted_path`], where somebody else could have chosen where the path leads.
    pub fn open(path: &Path) -> io::Result<Self> {
        if !is_root() {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            return Ok(Self { fd: openat(AT_FDCWD, path, flags, Mode::empty())?, is_shared: false });
        }
        PathWalk::begin(path)?.run::<()>(None)
    }

    /// Opens a directory; makes it, and those above it, where they are missing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn make(path: &Path, mode: u32) -> io::Result<Self> {
        Self::make_as(path, mode, &|_| Ok(()))
    }

    /// As [`Self::make`]; `rights` takes on, for as long as the value that it gives lives, the rights with which a directory is made: it is asked with
    /// whether somebody else can change the directory above.
    ///
    /// # Errors
    /// As [`Self::open`], and what `rights` says.
    pub fn make_as<G>(path: &Path, mode: u32, rights: Prepare<'_, G>) -> io::Result<Self> {
        if !is_root() {
            let _rights = rights(false)?;
            let mut builder = std::fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), mode);
            builder.create(path)?;
            return Self::open(path);
        }
        PathWalk::begin(path)?.run(Some((from_bits(mode), rights)))
    }

    /// Opens the last directory of a path that is there already; the path itself may lead on.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn nearest(path: &Path) -> io::Result<Self> {
        let whole = std::path::absolute(path)?;
        let mut at = whole.as_path();
        loop {
            match (Self::open(at), at.parent()) {
                (Err(error), Some(above)) if error.kind() == io::ErrorKind::NotFound => at = above,
                (opened, _) => return opened,
            }
        }
    }

    /// Whether somebody other than root can change the directory or where its path leads. Never of anybody but root.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Whether its mode lets a user make files in it.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_writable_by(&self, uid: u32, groups: &[u32]) -> io::Result<bool> {
        let stat = fstat(&self.fd)?;
        let shift = if stat.st_uid == uid {
            6
        } else if groups.contains(&stat.st_gid) {
            3
        } else {
            0
        };
        Ok(stat.st_mode >> shift & 0o3 == 0o3)
    }

    /// What tells it from others.
    ///
    /// # Errors
    /// What the system says.
    pub fn identity(&self) -> io::Result<DirId> {
        let stat = fstat(&self.fd)?;
        Ok((stat.st_dev as u64, stat.st_ino as u64))
    }

    /// A path that leads here from within this process, whatever happens to the names.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd()).into()
    }

    /// Creates a file in it that was not there before, neither as a file nor as anything else.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(&self, name: &OsStr, mode: u32) -> io::Result<std::fs::File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&self.fd, name, flags, from_bits(mode))?.into())
    }

    /// Opens a regular file in it, under its only name: no link, no pipe that would keep us waiting; for root, no second
    /// name of a file that is elsewhere.
    ///
    /// # Errors
    /// What the system says, and where it is something else.
    pub fn read(&self, name: &OsStr) -> io::Result<std::fs::File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.fd, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        if file_type(&stat) != SFlag::S_IFREG {
            return Err(io::Error::other("it is not a regular file"));
        }
        if is_root() && stat.st_nlink > 1 {
            return Err(io::Error::other("it has a second name (hard link), so it may be the file of another user"));
        }
        Ok(file.into())
    }

    /// The names of the regular files in it.
    ///
    /// # Errors
    /// What the system says.
    pub fn files(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = Dir::from_fd(openat(&self.fd, ".", flags, Mode::empty())?)?;
        Ok(dir.into_iter().filter_map(|entry| match entry {
            Ok(entry) => {
                let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
                self.is_file(&name).then_some(Ok(name))
            }
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Whether a regular file is there under that name.
    #[must_use]
    pub fn is_file(&self, name: &OsStr) -> bool {
        let stat = fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| file_type(&stat) == SFlag::S_IFREG)
    }

    /// Removes a name that is no directory; what a link points to stays.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir)?)
    }
}

/// Whether an error says that somebody else could have chosen where a path leads.
#[must_use]
pub fn is_untrusted_path(error: &io::Error) -> bool {
    error.get_ref().and_then(|cause| cause.downcast_ref::<UntrustedPath>()).is_some()
}

/// See [`is_untrusted_path`].
#[derive(Debug, thiserror::Error)]
#[error("{} is a symbolic link that other users can change; name the directory to which it leads", .0.display())]
struct UntrustedPath(PathBuf);

fn is_root() -> bool {
    geteuid().is_root()
}

/// A mode without the bits that no file system has.
fn from_bits(mode: mode_t) -> Mode {
    Mode::from_bits_truncate(mode)
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// On the way along a path.
struct PathWalk {
    at: OwnedFd,
    /// Where that is, for messages.
    name: PathBuf,
    left: VecDeque<OsString>,
    links: usize,
    is_shared: bool,
}

impl PathWalk {
    fn begin(path: &Path) -> io::Result<Self> {
        let whole = std::path::absolute(path)?;
        let at = openat(AT_FDCWD, "/", STEP, Mode::empty())?;
        let mut walk = Self { at, name: "/".into(), left: VecDeque::new(), links: 0, is_shared: false };
        walk.lead_on(&whole);
        Ok(walk)
    }

    /// Puts a path before what is left of the way.
    fn lead_on(&mut self, path: &Path) {
        let steps = path.components().filter_map(|step| match step {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        });
        for step in steps.collect::<Vec<_>>().into_iter().rev() {
            self.left.push_front(step);
        }
    }

    fn run<G>(mut self, missing: Option<(Mode, Prepare<'_, G>)>) -> io::Result<SafeDir> {
        let stat = fstat(&self.at)?;
        self.is_shared |= is_open_to_others(&stat);
        while let Some(step) = self.left.pop_front() {
            let opened = match (openat(&self.at, step.as_os_str(), STEP, Mode::empty()), missing) {
                (Err(Errno::ENOENT), Some((mode, rights))) => {
                    self.make(&step, mode, rights)?;
                    openat(&self.at, step.as_os_str(), STEP, Mode::empty())
                }
                (opened, _) => opened,
            };
            match opened {
                Ok(next) => {
                    let stat = fstat(&next)?;
                    self.is_shared |= is_open_to_others(&stat);
                    (self.at, self.name) = (next, self.name.join(&step));
                }
                // A link is no directory to those who do not follow it.
                Err(Errno::ENOTDIR | Errno::ELOOP) => self.follow(&step)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(SafeDir { fd: self.at, is_shared: self.is_shared })
    }

    fn make<G>(&self, step: &OsStr, mode: Mode, rights: Prepare<'_, G>) -> io::Result<()> {
        let _rights = rights(self.is_shared)?;
        match mkdirat(&self.at, step, mode) {
            // Somebody else was faster; what it is, the next look says.
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn follow(&mut self, step: &OsStr) -> io::Result<()> {
        let stat = fstatat(&self.at, step, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if file_type(&stat) != SFlag::S_IFLNK {
            return Err(Errno::ENOTDIR.into());
        }
        let is_of_root = stat.st_uid == 0;
        if self.is_shared || !is_of_root {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, UntrustedPath(self.name.join(step))));
        }
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::ELOOP.into());
        }
        let target = PathBuf::from(readlinkat(&self.at, step)?);
        if target.is_absolute() {
            (self.at, self.name) = (openat(AT_FDCWD, "/", STEP, Mode::empty())?, "/".into());
        }
        self.lead_on(&target);
        Ok(())
    }
}

/// Whether somebody other than root can put another thing in the place of what is in a directory. In one with the sticky bit each has only what is his:
/// what is root's there stays, and links are asked for their owner.
fn is_open_to_others(stat: &FileStat) -> bool {
    let mode = stat.st_mode;
    let is_writable = mode & OTHERS_WRITE != 0 || (mode & GROUP_WRITES != 0 && stat.st_gid != 0);
    stat.st_uid != 0 || (is_writable && mode & STICKY == 0)
}

impl AsFd for SafeDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory of ours; in it `target`, and `open`, where everybody may write.
    fn place() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [("target", 0o755), ("open", 0o777)] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        dir
    }

    #[test]
    fn links_are_followed_where_only_root_could_have_made_them() {
        let dir = place();
        let at = |name: &str| dir.path().join(name);
        symlink("target", at("link")).unwrap();
        symlink(at("link"), at("chain")).unwrap();
        symlink(at("target"), at("open/link")).unwrap();
        let target = SafeDir::open(&at("target")).unwrap().identity().unwrap();
        for path in ["link", "chain", "open/../target", "./link/."] {
            assert_eq!(SafeDir::open(&at(path)).unwrap().identity().unwrap(), target, "{path}");
        }
        if is_root() {
            for path in ["open/link", "open/link/below", "open/../link"] {
                let error = SafeDir::make(&at(path), 0o755).unwrap_err();
                assert!(is_untrusted_path(&error) && error.to_string().contains("symbolic link"), "{path}: {error}");
            }
            std::os::unix::fs::lchown(at("link"), Some(12_345), None).unwrap();
            assert!(is_untrusted_path(&SafeDir::open(&at("link")).unwrap_err()), "somebody else's");
        }
        symlink("loop", at("loop")).unwrap();
        assert!(SafeDir::open(&at("loop")).is_err());
        assert_eq!(std::fs::read_dir(at("target")).unwrap().count(), 0);
    }

    #[test]
    fn what_others_can_change_is_shared_from_there_on() {
        let dir = place();
        let shared = |name: &str| SafeDir::make(&dir.path().join(name), 0o755).unwrap().is_shared();
        assert!(!shared("target/new/deep"));
        assert_eq!((shared("open"), shared("open/new/deep")), (is_root(), is_root()));
        assert!(!SafeDir::open(Path::new("/tmp")).unwrap().is_shared(), "it has the sticky bit");
        let writable =
            |name: &str, uid| SafeDir::open(&dir.path().join(name)).unwrap().is_writable_by(uid, &[]).unwrap();
        let own = geteuid().as_raw();
        assert!(writable("open", 12_345) && writable("target", own) && !writable("target", 12_345));
    }

    #[test]
    fn a_directory_is_made_with_the_rights_of_the_place() {
        let dir = place();
        let asked = std::cell::RefCell::new(Vec::new());
        let rights = |is_shared| {
            asked.borrow_mut().push(is_shared);
            Ok(())
        };
        SafeDir::make_as(&dir.path().join("target/a/b"), 0o700, &rights).unwrap();
        SafeDir::make_as(&dir.path().join("open/a"), 0o700, &rights).unwrap();
        if is_root() {
            assert_eq!(*asked.borrow(), [false, false, true]);
        }
        let failing = |_| Err::<(), _>(io::Error::other("no rights"));
        assert_eq!(SafeDir::make_as(&dir.path().join("open/b"), 0o700, &failing).unwrap_err().to_string(), "no rights");
        assert!(!dir.path().join("open/b").exists());
    }

    #[test]
    fn only_a_regular_file_of_one_name_is_read() {
        let dir = place();
        let folder = SafeDir::open(&dir.path().join("target")).unwrap();
        let at = |name: &str| dir.path().join("target").join(name);
        io::Write::write_all(&mut folder.create("file".as_ref(), 0o644).unwrap(), b"text").unwrap();
        assert!(folder.create("file".as_ref(), 0o644).is_err(), "it is there");
        assert!(folder.read("file".as_ref()).is_ok());
        symlink("file", at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), from_bits(0o644)).unwrap();
        for name in ["link", "pipe", "."] {
            assert!(folder.read(name.as_ref()).is_err(), "{name}");
            assert!(!folder.is_file(name.as_ref()), "{name}");
        }
        assert_eq!(folder.files().unwrap().collect::<io::Result<Vec<_>>>().unwrap(), ["file"]);
        folder.remove("link".as_ref()).unwrap();
        assert!(at("file").exists());
        std::fs::hard_link(at("file"), at("second")).unwrap();
        assert_eq!(folder.read("file".as_ref()).is_err(), is_root(), "whose file it is cannot be told any more");
    }
}
