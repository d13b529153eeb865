//! A directory for each attempt, which is gone when the attempt is over.
//!
//! The keeper makes it before it starts the task, and removes it when nothing of the task's tree is left. A record in the worker's state directory names
//! it until then: if the keeper dies, its worker removes the directory, and if the worker dies too, its next start does.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};
use serde::{Deserialize, Serialize};

use super::confinement::TaskUser;
use super::raw_bytes;
use super::remove_tree::{listable, open_dir, remove_tree};
use crate::safe_dir::{DirId, SafeDir};

/// Names that are tried if the plain one is taken: by an attempt of another worker on a shared disk, or by one that could not be removed.
const MOST_NAMES: u32 = 100;

/// Where a run gets its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScratchPlace {
    /// `scratch_dir`, an absolute path. It is made if it is missing.
    #[serde(with = "raw_bytes")]
    pub parent: PathBuf,
    /// `ID.ATTEMPT`; a number follows where that is taken.
    pub name: String,
    /// The directory of the records, which only this worker changes.
    #[serde(with = "raw_bytes")]
    pub records: PathBuf,
}

/// A directory that exists, and the file that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScratchRecord {
    file: PathBuf,
    kept: Kept,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    #[serde(with = "raw_bytes")]
    parent: PathBuf,
    name: String,
    /// Another directory that got the name later is spared.
    id: DirId,
}

impl ScratchPlace {
    /// Makes the directory, for this user.
    pub(super) fn make(&self, owner: Option<&TaskUser>) -> io::Result<ScratchRecord> {
        let parent = SafeDir::make(&self.parent, 0o755)?;
        fs::create_dir_all(&self.records)?;
        for number in 0..MOST_NAMES {
            let name = if number == 0 { self.name.clone() } else { format!("{}.{number}", self.name) };
            match mkdirat(&parent, name.as_str(), Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) => continue,
                Err(errno) => return Err(errno.into()),
            }
            return self.record(&parent, &name, owner).inspect_err(|_| {
                let _ = unlinkat(&parent, name.as_str(), UnlinkatFlags::RemoveDir);
            });
        }
        Err(io::Error::other(format!("{} names that begin with {} are taken", MOST_NAMES, self.name)))
    }

    fn record(&self, parent: &SafeDir, name: &str, owner: Option<&TaskUser>) -> io::Result<ScratchRecord> {
        // With all rights for its owner, whatever the umask of tasks is.
        let dir = listable(&open_dir(parent.as_fd(), name)?)?;
        if let Some(user) = owner {
            fchown(&dir, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
        }
        let stat = fstat(&dir)?;
        let id = (stat.st_dev as u64, stat.st_ino as u64);
        let kept = Kept { parent: self.parent.clone(), name: name.to_owned(), id };
        // Whole or not there, for whoever reads it now; of one name once, since no two directories have one identity.
        let file = self.records.join(format!("{name}-{}-{}", id.0, id.1));
        let unfinished = self.records.join(format!(".{name}-{}-{}", id.0, id.1));
        let bytes = postcard::to_stdvec(&kept).map_err(io::Error::other)?;
        let written = fs::File::create(&unfinished).and_then(|mut record| {
            record.set_permissions(fs::Permissions::from_mode(0o600))?;
            record.write_all(&bytes)
        });
        if let Err(error) = written.and_then(|()| fs::rename(&unfinished, &file)) {
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        Ok(ScratchRecord { file, kept })
    }

    /// Removes what a keeper that died has left of this run.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn remove_left(&self) -> io::Result<()> {
        let is_of_run = |record: &ScratchRecord| {
            let rest = record.kept.name.strip_prefix(self.name.as_str());
            rest.is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('.').is_some_and(|number| number.parse::<u32>().is_ok())
            })
        };
        let (_, failed) = remove_scratch(ScratchRecord::all(&self.records).into_iter().filter(is_of_run).collect());
        failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl ScratchRecord {
    /// The directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.kept.parent.join(&self.kept.name)
    }

    /// Everything that is recorded there, also by a keeper that died on the way.
    #[must_use]
    pub fn all(records: &Path) -> Vec<Self> {
        let read = |file: PathBuf| Some(Self { kept: postcard::from_bytes(&fs::read(&file).ok()?).ok()?, file });
        files_in(records).into_iter().filter_map(read).collect()
    }

    /// Removes the directory with all that is in it, and then the record.
    ///
    /// # Errors
    /// When something cannot be removed; the record stays for another try.
    pub fn remove(&self) -> io::Result<()> {
        match SafeDir::open(&self.kept.parent) {
            Ok(parent) => remove_tree(parent.as_fd(), &self.kept.name, self.kept.id)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::remove_file(&self.file)
    }
}

/// Removes directories; returns how many, and what could not be removed.
#[must_use]
pub fn remove_scratch(records: Vec<ScratchRecord>) -> (usize, Vec<(PathBuf, io::Error)>) {
    let (mut removed, mut failed) = (0, Vec::new());
    for record in records {
        match record.remove() {
            Ok(()) => removed += 1,
            Err(error) => failed.push((record.path(), error)),
        }
    }
    (removed, failed)
}

/// Removes records that a full disk or a crash has cut off: they name nothing. Only while no keeper writes one.
pub fn discard_broken_records(records: &Path) {
    for file in files_in(records) {
        if fs::read(&file).is_ok_and(|bytes| postcard::from_bytes::<Kept>(&bytes).is_err()) {
            let _ = fs::remove_file(&file);
        }
    }
}

fn files_in(records: &Path) -> Vec<PathBuf> {
    fs::read_dir(records).map(|files| files.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &Path, name: &str) -> ScratchPlace {
        ScratchPlace { parent: dir.join("scratch"), name: name.to_owned(), records: dir.join("records") }
    }

    #[test]
    fn what_is_recorded_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, other] = ["a.1", "a.1", "a.10"].map(|name| place(dir.path(), name).make(None).unwrap());
        assert!(second.path().ends_with("a.1.1") && other.path().ends_with("a.10"));
        fs::create_dir(dir.path().join("scratch/strange")).unwrap();
        fs::write(dir.path().join("records/cut"), "").unwrap();
        place(dir.path(), "a.1").remove_left().unwrap();
        assert!(!first.path().exists() && !second.path().exists() && other.path().exists());
        let (removed, failed) = remove_scratch(ScratchRecord::all(&dir.path().join("records")));
        assert_eq!((removed, failed.len()), (1, 0));
        assert!(dir.path().join("scratch/strange").exists());
        assert_eq!(files_in(&dir.path().join("records")).len(), 1, "it may be in writing");
        discard_broken_records(&dir.path().join("records"));
        assert_eq!(files_in(&dir.path().join("records")).len(), 0);
    }

    #[test]
    fn directory_that_got_the_name_later_is_spared() {
        let dir = tempfile::tempdir().unwrap();
        let record = place(dir.path(), "a.1").make(None).unwrap();
        fs::rename(record.path(), dir.path().join("moved")).unwrap();
        fs::create_dir(record.path()).unwrap();
        record.remove().unwrap();
        assert!(record.path().exists() && ScratchRecord::all(&dir.path().join("records")).is_empty());
    }

    #[test]
    fn directory_is_not_left_when_it_cannot_be_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path(), "a.1");
        fs::create_dir_all(&place.parent).unwrap();
        fs::write(&place.records, "no directory").unwrap();
        assert!(place.make(None).is_err());
        fs::remove_file(&place.records).unwrap();
        assert_eq!(fs::read_dir(&place.parent).unwrap().count(), 0);
    }
}
