//! Limits and measures each task through the cgroup of its slot: writes limits before a start, reads peak memory and OOM kills after the end.
//!
//! The cgroup lives as long as the slot and contains keeper and tasks. A task costs a few reads and writes of open files. One cgroup for each task would
//! cost a move of up to milliseconds, and kernel memory for as long as one of its pages is cached.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::protocol::{CgroupDirs, Version};

/// What a task used, as the cgroup of its slot counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CgroupUsage {
    /// Peak memory in bytes above what was in use at its start. `None` if unknown: before Linux 6.12 the peak of v2 cannot be reset, so it is unknown
    /// for a task that stays below an earlier task of this slot.
    pub(super) peak_bytes: Option<u64>,
    /// Processes that the OOM killer has killed.
    pub(super) oom_kills: u64,
}

/// The open files of a slot's cgroup, and their values before the present task.
pub(super) struct CgroupMeter {
    version: Version,
    memory: File,
    /// `None` where the kernel does not count swap.
    swap: Option<File>,
    pids: Option<File>,
    usage: File,
    peak: Option<File>,
    /// Whether writing to `peak` resets it.
    peak_resets: bool,
    events: File,
    /// Memory and process limits that are in force; `None`: unknown.
    limits: Option<(u64, u64)>,
    usage_before: u64,
    /// The peak of earlier tasks: a lower one of this task is unknown. 0 where the peak can be reset.
    peak_before: u64,
    kills_before: u64,
}

impl CgroupMeter {
    pub(super) fn open(dirs: &CgroupDirs) -> io::Result<Self> {
        let (limit, swap, usage, peak, events) = match dirs.version {
            Version::V1 => (
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
                "memory.usage_in_bytes",
                "memory.max_usage_in_bytes",
                "memory.oom_control",
            ),
            Version::V2 => ("memory.max", "memory.swap.max", "memory.current", "memory.peak", "memory.events"),
        };
        let to_write = |dir: &Path, name: &str| OpenOptions::new().write(true).open(dir.join(name));
        let memory = to_write(&dirs.memory, limit)?;
        let pids = dirs.pids.as_deref().map(|dir| to_write(dir, "pids.max")).transpose()?;
        let peak_path = dirs.memory.join(peak);
        // Before Linux 6.12 `memory.peak` can be neither reset nor opened for writing.
        let resettable = OpenOptions::new().read(true).write(true).open(&peak_path).ok();
        let resettable = resettable.filter(|peak| peak.write_at(b"0", 0).is_ok());
        Ok(Self {
            version: dirs.version,
            memory,
            swap: to_write(&dirs.memory, swap).ok(),
            pids,
            usage: File::open(dirs.memory.join(usage))?,
            peak_resets: resettable.is_some(),
            peak: resettable.or_else(|| File::open(&peak_path).ok()),
            events: File::open(dirs.memory.join(events))?,
            limits: None,
            usage_before: 0,
            peak_before: 0,
            kills_before: 0,
        })
    }

    /// Sets the limits of the next task, in bytes and processes; 0 is no limit. The keeper itself is not counted in `pids`.
    pub(super) fn begin(&mut self, memory: u64, pids: u64) -> io::Result<()> {
        if self.limits != Some((memory, pids)) {
            let before = self.limits.take().map_or(0, |(memory, _)| memory);
            self.limit_memory(memory, before)?;
            if let Some(file) = &self.pids {
                let text = if pids == 0 { "max".to_owned() } else { pids.saturating_add(1).to_string() };
                write(file, &text)?;
            }
            self.limits = Some((memory, pids));
        }
        match &self.peak {
            Some(peak) if self.peak_resets => write(peak, "0")?,
            Some(peak) => self.peak_before = number(peak)?,
            None => {}
        }
        self.usage_before = number(&self.usage)?;
        self.kills_before = oom_kills(&self.events)?;
        Ok(())
    }

    fn limit_memory(&self, memory: u64, before: u64) -> io::Result<()> {
        match self.version {
            Version::V2 => {
                if let Some(swap) = &self.swap {
                    write(swap, if memory == 0 { "max" } else { "0" })?;
                }
                write(&self.memory, &if memory == 0 { "max".to_owned() } else { memory.to_string() })
            }
            Version::V1 => {
                let text = if memory == 0 { "-1".to_owned() } else { memory.to_string() };
                // The limit of memory plus swap must never be below that of memory alone.
                let is_raised = memory == 0 || (before != 0 && memory > before);
                let files = [self.swap.as_ref(), Some(&self.memory)];
                let order = if is_raised { files } else { [files[1], files[0]] };
                order.into_iter().flatten().try_for_each(|file| write(file, &text))
            }
        }
    }

    /// What the present task has used.
    pub(super) fn end(&self) -> CgroupUsage {
        let peak = self.peak.as_ref().and_then(|peak| number(peak).ok()).filter(|peak| *peak > self.peak_before);
        CgroupUsage {
            // In use before: memory of the keeper, and files that earlier tasks have read.
            peak_bytes: peak.map(|peak| peak.saturating_sub(self.usage_before)),
            oom_kills: oom_kills(&self.events).map_or(0, |kills| kills.saturating_sub(self.kills_before)),
        }
    }
}

fn write(file: &File, text: &str) -> io::Result<()> {
    file.write_at(text.as_bytes(), 0).map(drop)
}

fn read<T>(file: &File, parse: impl Fn(&str) -> Option<T>) -> io::Result<T> {
    let mut bytes = [0; 1024];
    let len = file.read_at(&mut bytes, 0)?;
    std::str::from_utf8(&bytes[..len]).ok().and_then(parse).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn number(file: &File) -> io::Result<u64> {
    read(file, |text| text.trim().parse().ok())
}

fn oom_kills(file: &File) -> io::Result<u64> {
    read(file, parse_oom_kills)
}

/// The line `oom_kill N`, which `memory.events`, `memory.oom_control` and `/proc/vmstat` have in common.
fn parse_oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// How many processes the OOM killer has killed since boot, in any cgroup. `None` where the kernel does not count them.
pub(super) fn oom_kills_of_machine() -> Option<u64> {
    parse_oom_kills(&std::fs::read_to_string("/proc/vmstat").ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_read_from_every_kind_of_file() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let v2 = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n";
        assert_eq!((parse_oom_kills(v1), parse_oom_kills(v2), parse_oom_kills("x 1")), (Some(3), Some(2), None));
        assert!(oom_kills_of_machine().is_some());
    }

    #[test]
    fn limits_of_version_2_are_written_once_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        for (name, text) in [("memory.max", ""), ("memory.swap.max", ""), ("pids.max", ""), ("memory.current", "500\n")]
        {
            file(name, text);
        }
        file("memory.events", "oom_kill 1\n");
        let dirs = CgroupDirs { memory: dir.path().into(), pids: Some(dir.path().into()), version: Version::V2 };
        let mut meter = CgroupMeter::open(&dirs).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        meter.begin(4096, 10).unwrap();
        assert_eq!(
            (read("memory.max"), read("memory.swap.max"), read("pids.max")),
            ("4096".into(), "0".into(), "11".into())
        );
        file("memory.max", "untouched");
        meter.begin(4096, 10).unwrap();
        assert_eq!(read("memory.max"), "untouched");
        file("memory.events", "oom_kill 3\n");
        assert_eq!(meter.end(), CgroupUsage { peak_bytes: None, oom_kills: 2 }, "there is no file of a peak");
        file("memory.max", "");
        file("pids.max", "");
        meter.begin(0, 0).unwrap();
        assert_eq!((read("memory.max"), read("pids.max")), ("max".into(), "max".into()));
    }
}
