//! Finds out whether the disk that holds the state is full, the commonest reason for a server that refuses writes.

use std::path::Path;

use nix::sys::statvfs::statvfs;

/// With less than this free, a disk counts as full: a page for the log and one for the data are the least that a write takes.
const LEAST: u64 = 64 * 1024;

/// What is wrong with the disk below `dir`, if anything is; begins with "; ", to be put behind a message.
#[must_use]
pub fn full_disk(dir: &Path) -> Option<String> {
    let disk = statvfs(dir).ok()?;
    let unit = disk.fragment_size();
    let (free, total) = (unit * disk.blocks_available(), unit * disk.blocks());
    let no_files = disk.files() > 0 && disk.files_available() == 0;
    if free >= LEAST && !no_files {
        return None;
    }
    let what = if no_files { "no file can be added to it".to_owned() } else { format!("{free} of {total} bytes free") };
    Some(format!(
        "; the disk of {} is full ({what}): free space there, or choose another disk with state_dir",
        dir.display()
    ))
}

/// The same where the server has said `message`: room that its refused write left free again does not hide what it says.
#[must_use]
pub fn refusal_of_disk(dir: &Path, message: &str) -> String {
    let said = || {
        message.contains("No space left on device").then(|| {
            format!("; the disk of {} is full: free space there, or choose another disk with state_dir", dir.display())
        })
    };
    full_disk(dir).or_else(said).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_room_is_not_mentioned_nor_one_that_is_not_there() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(full_disk(dir.path()), None);
        assert_eq!(full_disk(&dir.path().join("none")), None);
        assert_eq!(refusal_of_disk(dir.path(), "OOM"), "");
        assert!(refusal_of_disk(dir.path(), "MISCONF: No space left on device").contains("is full"));
    }
}
