//! Checks of files and directories that a configuration names.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use nix::unistd::{AccessFlags, access};

/// Makes sure a directory exists and can be written, creating it and its parents.
///
/// # Errors
/// What is wrong, as a phrase.
pub(super) fn ensure_writable_dir(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("cannot be created: {error}"))?;
    probe_writing(path)
}

/// Makes sure a directory of ours exists, can be written and is closed to others (mode 0700).
///
/// # Errors
/// What is wrong, as a phrase.
pub(super) fn ensure_private_dir(path: &Path) -> Result<(), String> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| format!("cannot be created: {error}"))?;
    let mode = fs::metadata(path).map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(|error| format!("is open to others (mode {:03o}) and cannot be closed: {error}", mode & 0o777))?;
    }
    probe_writing(path)
}

/// Asks by writing: permissions alone do not tell of read-only mounts, quotas and squashed roots.
fn probe_writing(path: &Path) -> Result<(), String> {
    tempfile::Builder::new()
        .prefix(".distcomp-probe-")
        .tempfile_in(path)
        .map(drop)
        .map_err(|error| format!("cannot be written: {}", plain(&error)))
}

/// Makes sure a program can be run.
///
/// # Errors
/// What is wrong, as a phrase.
pub(super) fn check_executable(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be found: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    access(path, AccessFlags::X_OK).map_err(|error| format!("cannot be executed: {}", error.desc()))
}

/// Makes sure a file can be read.
///
/// # Errors
/// What is wrong, as a phrase.
pub(super) fn check_readable(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if metadata.is_dir() {
        return Err("is a directory".to_owned());
    }
    File::open(path).map(drop).map_err(|error| format!("cannot be read: {error}"))
}

/// `tempfile` adds the name of the probe to its errors; people need only the cause.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" at path ").next().unwrap_or(&text).to_owned()
}
