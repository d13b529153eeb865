//! Creates the file of a large output, in a way that a task cannot redirect to another place.
//!
//! The keeper has the rights of the worker, and the task those of its user. In directories that this user can change, the keeper acts with the rights of this
//! user: it creates missing directories, and files in a directory other than the one that the worker found at its start. See [`crate::safe_dir`].

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, fchown, getgroups, setfsgid, setfsuid, setgroups};

use super::confinement::TaskUser;
use crate::safe_dir::{DirId, SafeDir};

/// Where the file is created if it is needed.
#[derive(Clone, Debug, Default)]
pub struct ResultPlace {
    /// The file, which must not exist.
    pub path: PathBuf,
    /// Its directory when the worker started; `None` if it did not exist.
    pub known: Option<DirId>,
    /// Its owner; `None`: the user of this process.
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
    /// Creates the file.
    pub(super) fn create(&self) -> Result<ResultFile, String> {
        self.try_create().map_err(|error| self.complaint(&error))
    }

    /// The error as a text that names the file.
    pub(super) fn complaint(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.path.display())
    }

    fn try_create(&self) -> io::Result<ResultFile> {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let theirs = |is_shared| self.owner.as_ref().filter(|_| is_shared).map(UserRights::of).transpose();
        // The directory may be missing: it is created at first use, and a person may have removed it since.
        let folder = SafeDir::make_as(dir, 0o777, &theirs)?;
        let is_known = self.known.is_some() && folder.identity().ok() == self.known;
        let rights = theirs(folder.is_shared() && !is_known)?;
        let file = folder.create(name, 0o644)?;
        if rights.is_none()
            && let Some(owner) = &self.owner
        {
            // Some file systems have no owners. A file of root is better than no file.
            let _ = fchown(&file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
        }
        Ok(ResultFile { folder, name: name.to_owned(), file })
    }
}

impl ResultFile {
    /// Appends. On an error the file is removed: a part of the output would be mistaken for the whole, and would occupy space on a full disk.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).inspect_err(|_| drop(self.folder.remove(OsStr::new(&self.name))))
    }

    /// A file on a device that is always full.
    #[cfg(test)]
    pub(super) fn full() -> Self {
        let file = File::options().write(true).open("/dev/full").expect("/dev/full");
        Self { folder: SafeDir::open("/".as_ref()).expect("a directory"), name: "none".into(), file }
    }
}

/// Gives this process the file system rights of a user until it is dropped. Only for a process with one thread.
struct UserRights {
    groups: Vec<Gid>,
}

impl UserRights {
    fn of(user: &TaskUser) -> io::Result<Self> {
        let own = Self { groups: getgroups()? };
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        setgroups(&groups)?;
        setfsgid(gid);
        setfsuid(uid);
        // These calls only return the previous id. The second call shows whether the first one had an effect.
        if setfsgid(gid) != gid || setfsuid(uid) != uid {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(own)
    }
}

impl Drop for UserRights {
    fn drop(&mut self) {
        setfsuid(Uid::effective());
        setfsgid(Gid::effective());
        // This process is root again, so it cannot fail.
        let _ = setgroups(&self.groups);
    }
}
