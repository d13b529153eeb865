//! The cgroups of this process, version 1, 2 or both side by side, and the limits that they and their ancestors set.
//!
//! The limit that counts often sits in an ancestor (a systemd slice, a Slurm job), and what is free below it also
//! depends on the neighbours there: each level is looked at by itself and the least of them counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::cgroup::{Memberships, Place};

/// Version of the hierarchy a directory belongs to; the names and formats of its files differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// One directory of a hierarchy, with the controllers that it may limit us by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    path: PathBuf,
    version: Version,
}

/// What one level says of memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    /// The most that may be used below this level.
    pub(super) limit: u64,
    /// What of it is left, page cache that can be dropped counted as left.
    pub(super) available: u64,
}

/// What one level says of processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuLimit {
    /// Thousandths of a core that may be used below this level.
    pub(super) milli_cores: u64,
    /// Processor time used below this level since it was made, where it tells.
    pub(super) used: Option<Duration>,
}

/// Our cgroups from the innermost to the root of each hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cgroups {
    memory: Vec<Level>,
    cpu: Vec<Level>,
}

impl Cgroups {
    /// Finds our cgroups. `root` stands for `/`. Where nothing can be read there are no limits.
    pub(super) fn discover(root: &Path) -> Self {
        let memberships = Memberships::read(root);
        let all = |controller: &str| -> Vec<Level> {
            let v1 = memberships.place(Some(controller)).map(|place| levels(root, &place, Version::V1));
            let v2 = memberships.place(None).map(|place| levels(root, &place, Version::V2));
            [v1, v2].into_iter().flatten().flatten().collect()
        };
        Self { memory: all("memory"), cpu: all("cpu") }
    }

    /// The limits of memory that are set, in no particular order.
    pub(super) fn memory_limits(&self) -> Vec<MemoryLimit> {
        self.memory.iter().filter_map(Level::memory_limit).collect()
    }

    /// The limits of processor time that are set; each keeps its place from call to call while limits are unchanged.
    pub(super) fn cpu_limits(&self) -> Vec<CpuLimit> {
        self.cpu.iter().filter_map(Level::cpu_limit).collect()
    }
}

impl Level {
    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path.join(name)).ok()
    }

    fn memory_limit(&self) -> Option<MemoryLimit> {
        let (limit, usage, inactive) = match self.version {
            Version::V1 => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            Version::V2 => ("memory.max", "memory.current", "inactive_file"),
        };
        let limit = parse_limit(&self.read(limit)?)?;
        let usage = self.read(usage).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let inactive = self.read("memory.stat").and_then(|text| parse_stat(&text, inactive)).unwrap_or(0);
        Some(MemoryLimit { limit, available: limit.saturating_sub(u64::saturating_sub(usage, inactive)) })
    }

    fn cpu_limit(&self) -> Option<CpuLimit> {
        let milli_cores = match self.version {
            Version::V1 => parse_quota(&self.read("cpu.cfs_quota_us")?, &self.read("cpu.cfs_period_us")?)?,
            Version::V2 => {
                let text = self.read("cpu.max")?;
                let (quota, period) = text.trim().split_once(' ')?;
                parse_quota(quota, period)?
            }
        };
        let used = match self.version {
            Version::V1 => {
                self.read("cpuacct.usage").and_then(|text| Some(Duration::from_nanos(text.trim().parse().ok()?)))
            }
            Version::V2 => {
                self.read("cpu.stat").and_then(|text| parse_stat(&text, "usage_usec")).map(Duration::from_micros)
            }
        };
        Some(CpuLimit { milli_cores, used })
    }
}

/// The directories from our cgroup up to the mount point.
fn levels(root: &Path, place: &Place, version: Version) -> Vec<Level> {
    let point = root.join(place.point.strip_prefix("/").unwrap_or(&place.point));
    // Where the mount does not show our cgroup (another namespace), the mount point is our own view of it.
    let innermost = point.join(place.inside.as_deref().unwrap_or(Path::new("")));
    let up = innermost.ancestors().take_while(|path| path.starts_with(&point));
    up.map(|path| Level { path: path.to_owned(), version }).collect()
}

/// `max`, or a number; version 1 writes "no limit" as a number near 2^63.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < 1 << 62)
}

/// A quota and its period to thousandths of a core; `max` and -1 are no quota.
fn parse_quota(quota: &str, period: &str) -> Option<u64> {
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok().filter(|period| *period > 0)?;
    Some(quota.saturating_mul(1000) / period)
}

/// A `name value` line of a `.stat` file.
fn parse_stat(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file tree that stands for `/`.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            fs::write(path, text).expect("a file");
        }
        dir
    }

    const V2_MOUNT: &str = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_limit_of_an_ancestor_counts() {
        let dir = tree(&[
            ("proc/self/mountinfo", V2_MOUNT),
            ("proc/self/cgroup", "0::/job.slice/step/task\n"),
            ("sys/fs/cgroup/job.slice/memory.max", "8000\n"),
            ("sys/fs/cgroup/job.slice/memory.current", "5000\n"),
            ("sys/fs/cgroup/job.slice/memory.stat", "anon 1\nactive_file 100\ninactive_file 3000\n"),
            ("sys/fs/cgroup/job.slice/cpu.max", "250000 100000\n"),
            ("sys/fs/cgroup/job.slice/cpu.stat", "usage_usec 2000000\nuser_usec 1\n"),
            ("sys/fs/cgroup/job.slice/step/memory.max", "max\n"),
            ("sys/fs/cgroup/job.slice/step/task/memory.max", "max\n"),
            ("sys/fs/cgroup/job.slice/step/task/cpu.max", "max 100000\n"),
        ]);
        let groups = Cgroups::discover(dir.path());
        assert_eq!(groups.memory_limits(), [MemoryLimit { limit: 8000, available: 6000 }]);
        assert_eq!(groups.cpu_limits(), [CpuLimit { milli_cores: 2500, used: Some(Duration::from_secs(2)) }]);
    }

    #[test]
    fn each_level_with_a_limit_is_reported() {
        let dir = tree(&[
            ("proc/self/mountinfo", V2_MOUNT),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "100"),
            ("sys/fs/cgroup/a/memory.current", "90"),
            ("sys/fs/cgroup/a/b/memory.max", "50"),
            ("sys/fs/cgroup/a/b/memory.current", "10"),
        ]);
        let limits = Cgroups::discover(dir.path()).memory_limits();
        assert_eq!(limits.iter().map(|l| l.limit).min(), Some(50));
        assert_eq!(limits.iter().map(|l| l.available).min(), Some(10), "the neighbours in `a` use the rest");
    }

    #[test]
    fn version_1_beside_an_empty_version_2_is_read() {
        let dir = tree(&[
            (
                "proc/self/mountinfo",
                "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                 32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                 35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            ),
            ("proc/self/cgroup", "4:memory:/api/x\n2:cpu,cpuacct:/api\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/api/x/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/api/x/memory.usage_in_bytes", "700\n"),
            ("sys/fs/cgroup/memory/api/x/memory.stat", "inactive_file 1\ntotal_inactive_file 200\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/api/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/api/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/api/cpuacct.usage", "3000000000\n"),
        ]);
        let groups = Cgroups::discover(dir.path());
        assert_eq!(groups.memory_limits(), [MemoryLimit { limit: 1000, available: 500 }]);
        assert_eq!(groups.cpu_limits(), [CpuLimit { milli_cores: 500, used: Some(Duration::from_secs(3)) }]);
    }

    #[test]
    fn a_container_sees_its_limit_at_the_mount_point() {
        // Docker on version 1: the mount shows our own cgroup, the path is the host's.
        let dir = tree(&[
            ("proc/self/mountinfo", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"),
            ("proc/self/cgroup", "4:memory:/docker/abc\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
        ]);
        assert_eq!(Cgroups::discover(dir.path()).memory_limits(), [MemoryLimit { limit: 1000, available: 1000 }]);
        // A cgroup namespace entered from outside: the path climbs out of it.
        let dir = tree(&[
            ("proc/self/mountinfo", V2_MOUNT),
            ("proc/self/cgroup", "0::/../../other\n"),
            ("sys/fs/cgroup/memory.max", "1000\n"),
        ]);
        assert_eq!(Cgroups::discover(dir.path()).memory_limits().len(), 1);
    }

    #[test]
    fn missing_files_and_nonsense_mean_no_limit() {
        let empty = tree(&[]);
        assert_eq!(Cgroups::discover(empty.path()), Cgroups::default());
        let dir = tree(&[
            ("proc/self/mountinfo", &format!("x\n - \n{V2_MOUNT}")),
            ("proc/self/cgroup", "nonsense\n0::/a\n"),
            ("sys/fs/cgroup/a/memory.max", "-5"),
            ("sys/fs/cgroup/a/cpu.max", "100 0"),
        ]);
        let groups = Cgroups::discover(dir.path());
        assert!(groups.memory_limits().is_empty() && groups.cpu_limits().is_empty());
    }
}
