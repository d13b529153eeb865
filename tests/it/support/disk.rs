//! A small disk: a tmpfs in a mount namespace of its own, which goes with the process that lives in it. Nothing to unmount, nothing left.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Arguments of `unshare` that execute a command with a disk of so many MiB at `dir`.
pub(crate) fn on_small_disk(dir: &Path, mib: u32) -> Vec<String> {
    on_disk_of(dir, &format!("size={mib}m"))
}

/// The same with a disk that holds so many files and directories.
pub(crate) fn on_disk_of_few_files(dir: &Path, count: u32) -> Vec<String> {
    // One more is the root of the disk.
    on_disk_of(dir, &format!("size=1m,mode=755,nr_inodes={}", count + 1))
}

fn on_disk_of(dir: &Path, options: &str) -> Vec<String> {
    fs::create_dir_all(dir).expect("a place for the disk");
    let mount = format!("mount -t tmpfs -o {options} dc-it {} && exec \"$0\" \"$@\"", dir.display());
    let mut args = vec!["-m".to_owned(), "sh".to_owned(), "-c".to_owned(), mount];
    if !may_mount(&["-m"]) {
        args.insert(0, "-r".to_owned());
    }
    args
}

/// Whether small disks can be made here: as root, or in a user namespace of one's own.
pub(crate) fn has_small_disks() -> bool {
    let has = may_mount(&["-m"]) || may_mount(&["-r", "-m"]);
    if !has {
        eprintln!("no file system can be mounted here: the full disk is shown by a limit of file sizes alone");
    }
    has
}

fn may_mount(how: &[&str]) -> bool {
    let mut command = Command::new("unshare");
    command.args(how).args(["sh", "-c", "mount -t tmpfs dc-it /mnt"]);
    command.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
}

/// What a process sees under a path.
pub(crate) fn seen_by(pid: impl std::fmt::Display, path: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").expect("an absolute path"))
}

/// Takes all the room that is left on the disk that `pid` sees at `dir`; deleted, the file gives it back.
pub(crate) fn fill(pid: impl std::fmt::Display, dir: &Path) -> PathBuf {
    let filler = seen_by(pid, dir).join("filler");
    let mut file = fs::File::create(&filler).expect("a file on the small disk");
    let copied = std::io::copy(&mut std::io::repeat(b'x'), &mut file);
    assert!(copied.is_err(), "it is full only when it takes no more");
    filler
}
