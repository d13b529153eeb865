//! Finds the result files that the records of attempts name, and deletes those of purged tasks on this machine.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::cli::exit::CliError;
use crate::model::TaskId;
use crate::safe_dir::SafeDir;

/// A result file on some host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// The host.
    pub(crate) host: String,
    /// The file there.
    pub(crate) path: String,
}

impl Remote {
    /// `HOST:PATH`, as records have it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, path) = text.split_once(':')?;
        Some(Self { host: host.to_owned(), path: path.to_owned() })
    }

    /// Whether it is on this host.
    pub(crate) fn is_here(&self) -> bool {
        self.host.split('.').next() == Some(host().as_str())
    }

    /// Opens it, where it is a result file of the task with this id. The record is a task's own text, and the file may be in a directory of the task's user:
    /// neither may have another file read with the rights of who looks.
    pub(crate) fn open(&self, id: &str) -> io::Result<File> {
        let path = Path::new(&self.path);
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if !path.is_absolute() || name.to_str().and_then(id_of) != TaskId::parse(id) {
            return Err(io::Error::other("it is not a result file"));
        }
        SafeDir::open(dir)?.read(name)
    }
}

/// The ids of purged tasks.
#[derive(Default)]
pub(crate) struct Purged(HashSet<TaskId>);

impl Purged {
    pub(crate) fn add(&mut self, line: &str) {
        self.0.insert(TaskId::of(line));
    }

    /// Deletes their files in a directory; says how many. A directory that is not there holds none.
    pub(crate) fn delete_files(&self, dir: &Path) -> Result<u64, CliError> {
        let failed = |error| CliError::io(format!("delete result files in {}", dir.display()), error);
        let folder = match SafeDir::open(dir) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(failed(error)),
        };
        let mut deleted = 0;
        for name in folder.files().map_err(failed)? {
            let name = name.map_err(failed)?;
            if name.to_str().and_then(id_of).is_some_and(|id| self.0.contains(&id)) {
                match folder.remove(&name) {
                    Ok(()) => deleted += 1,
                    // Somebody else purges too.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(deleted)
    }
}

/// The id that a file name begins with.
fn id_of(name: &str) -> Option<TaskId> {
    let (id, rest) = name.split_at_checked(16)?;
    TaskId::parse(id).filter(|_| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// The short name of this host.
pub(crate) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_result_file_of_the_task_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let id = TaskId::of("shell:1:1:1:a").to_string();
        let at = |name: &str| dir.path().join(name);
        let file = |name: String| Remote { host: host(), path: at(&name).display().to_string() };
        for name in [format!("{id}.1.n1.out"), "notes".to_owned()] {
            fs::write(at(&name), "text").unwrap();
        }
        std::os::unix::fs::symlink(at("notes"), at(&format!("{id}.2.n1.out"))).unwrap();
        assert!(file(format!("{id}.1.n1.out")).open(&id).is_ok());
        assert!(file(format!("{id}.1.n1.out")).open(&TaskId::of("other").to_string()).is_err());
        for name in [format!("{id}.2.n1.out"), "notes".to_owned(), format!("{id}.1.n1.out/../notes")] {
            assert!(file(name.clone()).open(&id).is_err(), "{name}");
        }
    }

    #[test]
    fn only_files_of_purged_tasks_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let mut purged = Purged::default();
        purged.add("shell:1:1:1:a");
        let (ours, other) = (TaskId::of("shell:1:1:1:a"), TaskId::of("shell:1:1:1:b"));
        let names = [
            format!("{ours}.1.n1.out"),
            format!("{ours}-2"),
            format!("{other}.1.n1.out"),
            "notes".to_owned(),
            format!("{ours}0"),
        ];
        for name in &names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join(format!("{ours}.dir"))).unwrap();
        std::os::unix::fs::symlink(dir.path().join(&names[2]), dir.path().join(format!("{ours}.link"))).unwrap();
        assert_eq!(purged.delete_files(dir.path()).unwrap(), 2);
        assert!(names[2..].iter().all(|name| dir.path().join(name).exists()));
        assert_eq!(purged.delete_files(&dir.path().join("none")).unwrap(), 0);
    }
}
