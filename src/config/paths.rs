//! Checks the files and directories that a configuration names.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::geteuid;

use crate::model::safe_text::safe;
use crate::safe_dir::SafeDir;

/// Makes sure a directory can be written, or made where it is missing. It is not made: that is done when it is needed.
///
/// # Errors
/// What is wrong, as a phrase.
pub(super) fn check_writable_dir(path: &Path) -> Result<(), String> {
    let nearest = SafeDir::nearest(path).map_err(|error| format!("cannot be used: {error}"))?;
    probe_writing(&nearest.path()).map(drop)
}

/// Finds out whether [`ensure_private_dir`] would succeed, and changes nothing.
///
/// # Errors
/// What is wrong, as a phrase.
pub(super) fn check_private_dir(path: &Path) -> Result<(), String> {
    if path.is_dir() { look_at_private_dir(path).map(drop) } else { check_writable_dir(path) }
}

/// Makes sure a directory of ours exists, can be written and is closed to others (mode 0700).
///
/// # Errors
/// What is wrong, as a phrase.
pub(super) fn ensure_private_dir(path: &Path) -> Result<(), String> {
    let folder = SafeDir::make(path, 0o700).map_err(|error| format!("cannot be created: {error}"))?;
    // Whatever happens to the path meanwhile, it is this directory that is looked at.
    let path = &folder.path();
    let mode = look_at_private_dir(path)?;
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|error| {
            format!("is accessible to others (mode {:03o}), and its mode cannot be changed: {error}", mode & 0o777)
        })?;
    }
    Ok(())
}

/// Whether a directory may be used as ours once it is closed to others; answers its permission bits.
fn look_at_private_dir(path: &Path) -> Result<u32, String> {
    let us = probe_writing(path)?;
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.uid() != us {
        // As root one could write there; but its owner could then change our records.
        return Err(format!("belongs to another user ({})", metadata.uid()));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        // To close `/tmp`, or somebody's project, would break what others do there; and what others put there is none of our records.
        if let Some(name) = stranger_in(path, us)? {
            let (mode, name) = (mode & 0o777, safe(&name).into_owned());
            return Err(format!(
                "is accessible to others (mode {mode:03o}) and contains \"{name}\", which is not a file of DistComp: name a directory that only DistComp uses"
            ));
        }
    }
    Ok(mode)
}

/// What we keep in a directory of ours.
const OURS: [&str; 2] = ["workers", "local"];

/// One thing in a directory that we did not put there.
fn stranger_in(path: &Path, us: u32) -> Result<Option<String>, String> {
    let fail = |error: std::io::Error| format!("cannot be read: {error}");
    for entry in fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Another worker of ours may be probing at this moment.
        let is_ours = OURS.contains(&&*name) || name.starts_with(PROBE);
        // A disk of its own has one, of root's.
        if name == "lost+found" {
            continue;
        }
        // Not followed: a link is whose who made it.
        match entry.metadata() {
            Ok(found) if is_ours && found.uid() == us => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Ok(_) | Err(_) => return Ok(Some(name)),
        }
    }
    Ok(None)
}

/// How the names of the files begin by which we find out whether we may write.
const PROBE: &str = ".distcomp-probe-";

/// Asks by writing: permissions alone do not tell of read-only mounts, quotas and squashed roots. Gives our user id.
fn probe_writing(path: &Path) -> Result<u32, String> {
    let probe = tempfile::Builder::new().prefix(PROBE).tempfile_in(path);
    probe
        .and_then(|probe| Ok(probe.as_file().metadata()?.uid()))
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
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err("is not executable".to_owned());
    }
    Ok(())
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

/// A warning where others can read a file that holds a secret. `what` names it: a key, a flag.
#[must_use]
pub fn warning_of_open_secret(what: &str, path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mode = found.permissions().mode() & 0o777;
    let shown = path.display().to_string();
    is_open(mode, found.gid(), geteuid().as_raw())
        .then(|| format!("{what}: others can read {} (mode {mode:03o}): run chmod 600", safe(&shown)))
}

/// Whether others than the user `us` and root can use a file. A group that can only read it, and has the number of the user, is the user: in this
/// way Kubernetes gives a secret to a pod that is not root.
fn is_open(mode: u32, group: u32, us: u32) -> bool {
    let is_own_group = group == us && us != 0 && mode & 0o070 == 0o040;
    mode & if is_own_group { 0o007 } else { 0o077 } != 0
}

/// `tempfile` adds the name of the probe to its errors; people need only the cause.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" at path ").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0o600, 1000, 1000, false)]
    #[case(0o440, 65532, 65532, false)]
    #[case(0o444, 65532, 65532, true)]
    #[case(0o460, 65532, 65532, true)]
    #[case(0o440, 100, 65532, true)]
    #[case(0o440, 0, 0, true)]
    fn secret_of_the_own_group_is_not_open(
        #[case] mode: u32,
        #[case] group: u32,
        #[case] us: u32,
        #[case] expected: bool,
    ) {
        assert_eq!(is_open(mode, group, us), expected);
    }
}
