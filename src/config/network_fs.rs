//! Finds out whether a directory is on a network file system, which can hang, and whose locks and renames other nodes see.

use std::fs;
use std::path::Path;

use crate::sys::mounts;

/// What `statfs` calls file systems of the network (`linux/magic.h`, and the sources of those outside of the kernel).
const MAGIC: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0x0000_517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x0102_1997, "9p"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x1983_0326, "BeeGFS"),
    (0xAAD7_AAEA, "PanFS"),
    (0x7375_7245, "Coda"),
    (0x2003_0528, "OrangeFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x013F_A9D0, "WekaFS"),
];

/// FUSE: only the table of mounts says which program answers.
const FUSE: u32 = 0x6573_5546;

/// FUSE programs that read a disk of this machine, or another directory of it.
const LOCAL_FUSE: &[&str] = &[
    "fuseblk",
    "fuse.ntfs",
    "fuse.ntfs-3g",
    "fuse.exfat",
    "fuse.bindfs",
    "fuse.fuse-overlayfs",
    "fuse.overlayfs",
    "fuse.lxcfs",
];

/// The kind of the network file system on which `path` lies; `None` where it is none, or is not known.
pub(super) fn network_file_system(path: &Path) -> Option<String> {
    let magic = nix::sys::statfs::statfs(path).ok()?.filesystem_type().0;
    // Of another width and sign on each processor: the low 32 bits are what counts.
    let magic = u32::try_from(magic as i64 & 0xFFFF_FFFF).ok()?;
    match magic {
        FUSE => {
            let real = fs::canonicalize(path).ok()?;
            remote_fuse(&fs::read("/proc/self/mountinfo").ok()?, &real)
        }
        _ => MAGIC.iter().find(|(known, _)| *known == magic).map(|(_, name)| (*name).to_owned()),
    }
}

/// The type of the mount on which `path` lies, unless it is known to be local.
fn remote_fuse(mountinfo: &[u8], path: &Path) -> Option<String> {
    let mounts = mounts::parse(mountinfo).into_iter().filter(|mount| path.starts_with(&mount.point));
    // Of two on one point the later one lies above.
    let kind = mounts.max_by_key(|mount| mount.point.components().count())?.kind;
    (!LOCAL_FUSE.contains(&kind.as_str())).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /home/ann/far rw,nosuid master:1 - fuse.sshfs ann@node0:/ rw
41 22 0:36 / /mnt/a\\040b rw - fuse.mfs mfsmaster:9421 rw
42 22 8:17 / /mnt/stick rw - fuseblk /dev/sdb1 rw
43 40 0:37 / /home/ann/far/near rw - ext4 /dev/sdc1 rw";

    #[test]
    fn a_fuse_program_is_named_by_the_innermost_mount() {
        for (path, wanted) in
            [("/home/ann/far/state", Some("fuse.sshfs")), ("/mnt/a b", Some("fuse.mfs")), ("/mnt/stick/state", None)]
        {
            assert_eq!(remote_fuse(MOUNTS.as_bytes(), Path::new(path)).as_deref(), wanted, "{path}");
        }
    }

    #[test]
    fn a_local_directory_is_on_no_network() {
        assert_eq!(network_file_system(Path::new("/proc")), None);
        assert_eq!(network_file_system(Path::new("/no/such/place")), None);
    }

    #[test]
    fn every_kind_is_known_once() {
        for (at, (magic, _)) in MAGIC.iter().enumerate() {
            assert!(MAGIC[at + 1..].iter().all(|(other, _)| other != magic) && *magic != FUSE, "{magic:x}");
        }
    }
}
