//! The file of an output that has no other place, made so that a task cannot have it made elsewhere.
//!
//! The keeper has the worker's rights and the task its user's. What that user can change is used with the rights of that user alone: a directory that is
//! missing is made so, and a file in a directory that is not the one which the worker found at its start. See [`crate::safe_dir`].

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, fchown, getgroups, setfsgid, setfsuid, setgroups};

use super::confinement::TaskUser;
use crate::safe_dir::{DirId, SafeDir};

/// Where a file goes, should one be needed.
#[derive(Clone, Debug, Default)]
pub struct ResultPlace {
    /// The file; it must not exist.
    pub path: PathBuf,
    /// Its directory, as the worker found it at its start; `None` where there was none.
    pub known: Option<DirId>,
    /// To whom it is to belong; `None`: to us.
    pub owner: Option<TaskUser>,
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct ResultFile {
    folder: SafeDir,
    name: OsString,
    file: File,
}

impl ResultPlace {
    /// Makes the file.
    pub(super) fn create(&self) -> Result<ResultFile, String> {
        self.try_create().map_err(|error| self.complaint(&error))
    }

    /// What is wrong with it.
    pub(super) fn complaint(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.path.display())
    }

    fn try_create(&self) -> io::Result<ResultFile> {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let theirs = |is_shared| self.owner.as_ref().filter(|_| is_shared).map(Rights::of).transpose();
        // Cleared away with the results of last week while the worker ran on, or not needed before.
        let folder = SafeDir::make_as(dir, 0o777, &theirs)?;
        let is_known = self.known.is_some() && folder.identity().ok() == self.known;
        let rights = theirs(folder.is_shared() && !is_known)?;
        let file = folder.create(name, 0o644)?;
        if rights.is_none()
            && let Some(owner) = &self.owner
        {
            // Some file systems know no owners. A file of root's is less than what was promised, and more than none.
            let _ = fchown(&file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
        }
        Ok(ResultFile { folder, name: name.to_owned(), file })
    }
}

impl ResultFile {
    /// Writes on. A file that cannot take all is removed: a part of the output would be taken for the whole, and on a full disk its room is wanted by
    /// others.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).inspect_err(|_| drop(self.folder.remove(OsStr::new(&self.name))))
    }

    /// One that takes nothing.
    #[cfg(test)]
    pub(super) fn full() -> Self {
        let file = File::options().write(true).open("/dev/full").expect("/dev/full");
        Self { folder: SafeDir::open("/".as_ref()).expect("a directory"), name: "none".into(), file }
    }
}

/// The rights of a user in file systems, until they are dropped. For a process of one thread.
struct Rights {
    groups: Vec<Gid>,
}

impl Rights {
    fn of(user: &TaskUser) -> io::Result<Self> {
        let own = Self { groups: getgroups()? };
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        setgroups(&groups)?;
        setfsgid(gid);
        setfsuid(uid);
        // These two say who one was before, and nothing else: a second time, whether they have done it.
        if setfsgid(gid) != gid || setfsuid(uid) != uid {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(own)
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        setfsuid(Uid::effective());
        setfsgid(Gid::effective());
        // As root, which we are again: it cannot fail.
        let _ = setgroups(&self.groups);
    }
}
