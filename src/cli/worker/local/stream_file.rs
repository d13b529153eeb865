//! Files that are written and never read: pipes, devices, and the standard output of this process under its names.
//!
//! Where a file is read before it is written, or replaced as a whole, these are written as they are: to read a pipe or a terminal would wait for ever, and
//! a file in the place of a pipe would reach nobody.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Whether what is there is written without being read.
pub(super) fn is_stream(path: &Path) -> bool {
    own(path).is_some() || std::fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

/// Opens it for writing; waits for the reader of a named pipe. `None` for a regular file, and where there is nothing.
pub(super) fn open_stream(path: &Path) -> io::Result<Option<File>> {
    if let Some(open) = own(path) {
        // The same open file: what both write to a regular file stands one after the other.
        return open().map(|fd| Some(File::from(fd)));
    }
    if is_stream(path) { OpenOptions::new().write(true).open(path).map(Some) } else { Ok(None) }
}

/// What opens standard output or standard error, where this is a name of it.
fn own(path: &Path) -> Option<fn() -> io::Result<OwnedFd>> {
    match path.to_str()? {
        "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => Some(|| io::stdout().as_fd().try_clone_to_owned()),
        "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => Some(|| io::stderr().as_fd().try_clone_to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_or_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, link) = (dir.path().join("file"), dir.path().join("link.csv"));
        std::fs::write(&file, "").expect("a file");
        std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
        for (path, expected) in [
            (Path::new("/dev/null"), true),
            (Path::new("/dev/stdout"), true),
            (&link, true),
            (&file, false),
            (dir.path(), false),
            (&dir.path().join("none"), false),
        ] {
            assert_eq!(is_stream(path), expected, "{}", path.display());
            assert_eq!(open_stream(path).expect("open").is_some(), expected, "{}", path.display());
        }
    }
}
