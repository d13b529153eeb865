//! Which cgroup this process is in, of version 2 and of each controller of version 1, and where that is mounted.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::mounts::{self, Mount};

/// The membership and the mounts of this process.
#[derive(Clone, Debug, Default)]
pub struct Memberships {
    /// `/proc/self/cgroup`.
    paths: Vec<u8>,
    mounts: Vec<Mount>,
}

/// Where one hierarchy is mounted, and where in it this process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The mount point.
    pub point: PathBuf,
    /// Our cgroup below that; `None` where the mount does not show it, as after a move to another cgroup namespace.
    pub inside: Option<PathBuf>,
}

impl Memberships {
    /// Reads both. `root` stands for `/`. What cannot be read is empty.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let mountinfo = fs::read(root.join("proc/self/mountinfo")).unwrap_or_default();
        Self { paths: paths(root), mounts: mounts::parse(&mountinfo) }
    }

    /// The place of the hierarchy of a controller of version 1, or of version 2 (`None`). Of several mounts, one that shows our cgroup.
    #[must_use]
    pub fn place(&self, controller: Option<&str>) -> Option<Place> {
        let path = self.path(controller)?;
        let is_it = |mount: &&Mount| match controller {
            None => mount.kind == "cgroup2",
            Some(name) => mount.kind == "cgroup" && mount.has_option(name),
        };
        let places = self.mounts.iter().filter(is_it).map(|mount| Place {
            point: mount.point.clone(),
            inside: path.strip_prefix(&mount.root).ok().filter(|inside| is_below(inside)).map(Path::to_owned),
        });
        let places: Vec<Place> = places.collect();
        let shows_us = places.iter().position(|place| place.inside.is_some());
        places.into_iter().nth(shows_us.unwrap_or(0))
    }

    fn path(&self, controller: Option<&str>) -> Option<&Path> {
        self.paths.split(|byte| *byte == b'\n').find_map(|line| {
            let mut fields = line.splitn(3, |byte| *byte == b':');
            let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let is_it = match controller {
                None => id == b"0" && controllers.is_empty(),
                Some(name) => controllers.split(|byte| *byte == b',').any(|controller| controller == name.as_bytes()),
            };
            is_it.then(|| Path::new(OsStr::from_bytes(path)))
        })
    }
}

impl Place {
    /// The directory of our cgroup, where it is shown.
    #[must_use]
    pub fn dir(&self) -> Option<PathBuf> {
        // Joining an empty path would end in a slash.
        self.inside.as_ref().map(|inside| self.point.join(inside).components().collect())
    }
}

/// What `/proc/self/cgroup` says: it changes when this process is moved.
#[must_use]
pub fn paths(root: &Path) -> Vec<u8> {
    fs::read(root.join("proc/self/cgroup")).unwrap_or_default()
}

/// Whether a relative path stays below where it begins: one out of another namespace climbs by `..`.
fn is_below(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memberships(paths: &str, mountinfo: &str) -> Memberships {
        Memberships { paths: paths.into(), mounts: mounts::parse(mountinfo.as_bytes()) }
    }

    #[test]
    fn our_cgroup_is_found_below_the_mount() {
        let mounts = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      38 31 0:35 /system.slice /run/cg rw,relatime shared:4 - cgroup2 cgroup2 rw\n";
        let found = memberships("4:memory,cpu:/x\n0::/system.slice/dc.service\n", mounts);
        let dir = |controller| found.place(controller).and_then(|place| place.dir());
        assert_eq!(dir(None), Some("/run/cg/dc.service".into()));
        assert_eq!(dir(Some("cpu")), Some("/sys/fs/cgroup/cpu/x".into()));
        assert_eq!(found.place(Some("memory")), None, "it is not mounted");
        assert_eq!(Memberships::default().place(None), None);
        assert_eq!(memberships("0::/a", "").place(None), None);
    }

    #[test]
    fn mount_point_with_a_blank_is_found() {
        let found = memberships("0::/a/b c\n", r"38 31 0:35 /a /mnt/c\040g rw - cgroup2 none rw");
        assert_eq!(found.place(None).and_then(|place| place.dir()), Some("/mnt/c g/b c".into()));
    }

    #[test]
    fn cgroup_that_the_mount_does_not_show_has_no_directory() {
        let mount = "38 31 0:35 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        for path in ["0::/../../other\n", "0::/a/../b\n"] {
            let place = memberships(path, mount).place(None).unwrap();
            assert_eq!((place.dir(), place.point), (None, "/sys/fs/cgroup".into()), "{path}");
        }
        let elsewhere = memberships("0::/ab\n", "38 31 0:35 /a /sys/fs/cgroup rw - cgroup2 none rw\n");
        assert_eq!(elsewhere.place(None).unwrap().inside, None, "names are compared whole");
        let own = memberships("0::/a\n", "38 31 0:35 /a /sys/fs/cgroup rw - cgroup2 none rw\n");
        assert_eq!(own.place(None).unwrap().dir(), Some("/sys/fs/cgroup".into()));
    }

    #[test]
    fn mount_that_shows_our_cgroup_is_preferred() {
        let mounts =
            "37 31 0:35 /other /mnt/part rw - cgroup2 none rw\n38 31 0:35 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert_eq!(memberships("0::/a\n", mounts).place(None).unwrap().dir(), Some("/sys/fs/cgroup/a".into()));
    }
}
