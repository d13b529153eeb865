//! Decides whether a `conf.json` that was found and not named may be used. The file says where passwords are sent, so one that another user
//! could have put into the working directory is refused, as git refuses another user's repository.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;

use super::fault::{Fault, printable};

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Makes sure that a file which was merely found can be changed by nobody but this user and root: neither the file, nor what leads to it.
///
/// # Errors
/// Who could have put it there, and what to do.
pub(super) fn check(file: &File, path: &Path) -> Result<(), Fault> {
    let us = geteuid().as_raw();
    judge(file, path, us).map_err(|problem| {
        let shown = printable(&path.to_string_lossy());
        Fault::of_file(
            format!("{problem}, so it could send your password to another server; it was found, not named, so it is not used"),
            format!("--config {shown}, if you trust it; or another working directory"),
        )
    })
}

fn judge(file: &File, path: &Path, us: u32) -> Result<(), String> {
    let unknown = |error: std::io::Error| format!("its owner cannot be determined ({error})");
    judge_file("it", &file.metadata().map_err(unknown)?, us)?;
    // The name may be a link: whoever made it has chosen the file.
    let link = fs::symlink_metadata(path).map_err(unknown)?;
    if link.is_symlink() && !is_trusted(link.uid(), us) {
        return Err(format!("it is a link created by {}", user(link.uid())));
    }
    let here = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    judge_directory("its directory", &fs::metadata(here).map_err(unknown)?, us)?;
    if link.is_symlink() {
        let target = fs::canonicalize(path).map_err(unknown)?;
        let there = fs::metadata(target.parent().unwrap_or(Path::new("/"))).map_err(unknown)?;
        judge_directory("the directory to which it leads", &there, us)?;
    }
    Ok(())
}

fn judge_file(what: &str, found: &Metadata, us: u32) -> Result<(), String> {
    if !is_trusted(found.uid(), us) {
        return Err(format!("{what} belongs to {}, not to you or to root", user(found.uid())));
    }
    match writers(found) {
        Some(who) => Err(format!("{} can change {what} (mode {:03o})", who, found.mode() & 0o7777)),
        None => Ok(()),
    }
}

/// In a directory with the sticky bit, such as `/tmp`, nobody can replace a file of ours or of root's.
fn judge_directory(what: &str, found: &Metadata, us: u32) -> Result<(), String> {
    if found.mode() & STICKY != 0 && is_trusted(found.uid(), us) {
        return Ok(());
    }
    judge_file(what, found, us)
}

fn is_trusted(owner: u32, us: u32) -> bool {
    owner == us || owner == 0
}

/// Who besides the owner may write. A group of the owner's own number is the one that many systems make for each user, who is alone in it.
fn writers(found: &Metadata) -> Option<String> {
    if found.mode() & OTHERS_WRITE != 0 {
        return Some("every user of this machine".to_owned());
    }
    let is_own_group = found.gid() == found.uid();
    (found.mode() & GROUP_WRITES != 0 && !is_own_group).then(|| format!("every user of the group {}", found.gid()))
}

fn user(uid: u32) -> String {
    format!("the user with number {uid}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    /// A directory and a file in it of these owners and modes, judged for a user; as root alone, since others can give nothing away.
    fn judged(us: u32, dir: (u32, u32, u32), file: (u32, u32, u32)) -> Option<Result<(), String>> {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("conf.json");
        fs::write(&path, "{}").expect("written");
        let set = |path: &Path, (owner, group, mode): (u32, u32, u32)| {
            chown(path, Some(owner), Some(group)).ok()?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).ok()
        };
        set(&path, file)?;
        set(place.path(), dir)?;
        Some(judge(&File::open(&path).expect("opened"), &path, us))
    }

    #[test]
    fn only_what_nobody_else_can_change_is_used() {
        const ANN: u32 = 1001;
        const BOB: u32 = 1002;
        for (dir, file, is_used) in [
            ((ANN, ANN, 0o755), (ANN, ANN, 0o644), true),
            ((ANN, ANN, 0o775), (ANN, ANN, 0o664), true),
            ((0, 0, 0o755), (0, 0, 0o644), true),
            ((0, 0, 0o775), (ANN, 100, 0o640), true),
            ((0, 0, 0o1777), (ANN, ANN, 0o600), true),
            ((0, 0, 0o1777), (BOB, BOB, 0o644), false),
            ((BOB, BOB, 0o755), (BOB, BOB, 0o644), false),
            ((BOB, BOB, 0o755), (ANN, ANN, 0o644), false),
            ((BOB, BOB, 0o1777), (ANN, ANN, 0o644), false),
            ((ANN, ANN, 0o777), (ANN, ANN, 0o644), false),
            ((ANN, ANN, 0o755), (ANN, ANN, 0o646), false),
            ((ANN, 100, 0o775), (ANN, ANN, 0o644), false),
            ((ANN, ANN, 0o755), (ANN, 100, 0o664), false),
            ((ANN, ANN, 0o755), (BOB, BOB, 0o644), false),
        ] {
            let Some(judged) = judged(ANN, dir, file) else { return };
            assert_eq!(judged.is_ok(), is_used, "{dir:?} {file:?}: {judged:?}");
        }
        // Root's own rule is that of everybody: a user's file is not root's.
        assert_eq!(judged(0, (ANN, ANN, 0o755), (ANN, ANN, 0o644)).map(|judged| judged.is_ok()), Some(false));
    }

    #[test]
    fn a_link_of_somebody_else_is_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let (real, link) = (place.path().join("real.json"), place.path().join("conf.json"));
        fs::write(&real, "{}").expect("written");
        symlink(&real, &link).expect("linked");
        let us = geteuid().as_raw();
        assert_eq!(judge(&File::open(&link).expect("opened"), &link, us), Ok(()));
        if std::os::unix::fs::lchown(&link, Some(1002), Some(1002)).is_ok() {
            let told = judge(&File::open(&link).expect("opened"), &link, us).expect_err("it is refused");
            assert!(told.contains("link created by the user with number 1002"), "{told}");
        }
    }
}
