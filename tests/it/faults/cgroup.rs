//! A limit of the kernel's own: a control group for a worker and all that it starts.
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// A control group of version 1 that is ours, where we may make one.
pub(super) struct Cgroup {
    dir: PathBuf,
    procs: String,
}

impl Cgroup {
    pub(super) fn new(controller: &str, file: &str, value: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dc-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = PathBuf::from(format!("/sys/fs/cgroup/{controller}/{name}"));
        fs::create_dir(&dir).ok()?;
        let group = Self { procs: dir.join("cgroup.procs").display().to_string(), dir };
        fs::write(group.dir.join(file), value).ok()?;
        Some(group)
    }

    pub(super) fn set(&self, file: &str, value: &str) {
        fs::write(self.dir.join(file), value).expect("a file of ours");
    }

    /// How often the kernel has killed for want of memory in it.
    pub(super) fn oom_kills(&self) -> u32 {
        let text = fs::read_to_string(self.dir.join("memory.oom_control")).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }

    /// What puts a program into it.
    pub(super) fn through(&self) -> Vec<&str> {
        vec!["sh", "-c", "echo $$ > \"$0\" && exec \"$@\"", &self.procs]
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..200 {
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
