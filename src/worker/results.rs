//! The directory of outputs that are too long for Redis, and its identity when the worker started.

use std::path::{Path, PathBuf};

use crate::process::TaskUser;
use crate::safe_dir::{self, DirId, SafeDir};

/// The directory of results.
#[derive(Debug)]
pub struct Results {
    /// As in the configuration.
    configured: PathBuf,
    /// The same from the root on: it is named in records.
    whole: PathBuf,
    /// Held open, so that its identity is nobody else's.
    found: Option<(SafeDir, DirId)>,
}

impl Results {
    /// Opens it where it is there; it is made when it is needed. Files go into the directory that is found now with the worker's rights; into another,
    /// that a task may have put in its place, with those of the task.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        let found = SafeDir::open(dir).and_then(|folder| {
            let identity = folder.identity()?;
            Ok((folder, identity))
        });
        if let Err(error) = &found
            && safe_dir::is_untrusted_path(error)
        {
            tracing::error!(error = %error, "cannot use result_dir: outputs that are too long for Redis are not kept completely");
        }
        Self { configured: dir.to_owned(), whole: whole(dir), found: found.ok() }
    }

    /// The path of a file in the directory that the configuration names now, and the identity of that directory where it was found at the start.
    pub(super) fn place(&mut self, dir: &Path, name: String) -> (PathBuf, Option<DirId>) {
        if dir != self.configured {
            *self = Self { configured: dir.to_owned(), whole: whole(dir), found: None };
        }
        (self.whole.join(name), self.found.as_ref().map(|(_, identity)| *identity))
    }
}

/// What is to be said where tasks run as another user who cannot make files where long outputs go, in a place that others than root can change.
#[must_use]
pub fn warning(dir: &Path, user: Option<&TaskUser>) -> Option<String> {
    let user = user?;
    // One that is there is used with the worker's rights.
    if SafeDir::open(dir).is_ok() {
        return None;
    }
    let above = SafeDir::nearest(dir).ok().filter(SafeDir::is_shared)?;
    let is_closed = !above.is_writable_by(user.uid, &user.groups).ok()?;
    is_closed.then(|| {
        format!(
            "result_dir: {} cannot create {}, so outputs that are too long for Redis are not kept completely; create it and give it to that user",
            user.name,
            whole(dir).display()
        )
    })
}

/// Without the working directory, which can be gone, it stays as it is.
fn whole(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_directory_is_not_taken_for_the_one_that_was_found() {
        let dir = tempfile::tempdir().expect("dir");
        let mut results = Results::open(dir.path());
        let (path, found) = results.place(dir.path(), "name".to_owned());
        assert_eq!((path, found.is_some()), (dir.path().join("name"), true));
        assert_eq!(results.place(Path::new("/tmp"), "name".to_owned()), ("/tmp/name".into(), None));
        assert!(results.place(Path::new("./here"), "name".to_owned()).0.is_absolute());
    }
}
