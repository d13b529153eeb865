//! Finding processes by a marker in their environment or arguments, as a user would with `ps`.
use std::fmt;
use std::fs;
use std::ops::Deref;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One living process (zombies have no arguments and are not listed).
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) argv: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.argv)
    }
}

fn processes() -> Vec<Process> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(argv) = fs::read(entry.path().join("cmdline")) else { continue };
        if argv.is_empty() || u32::try_from(pid) == Ok(process::id()) {
            continue;
        }
        let argv = String::from_utf8_lossy(&argv).replace('\0', " ");
        found.push(Process { pid, argv });
    }
    found
}

/// Processes whose environment at exec held `mark`.
pub(crate) fn with_mark(mark: &str) -> Vec<Process> {
    let mark = mark.as_bytes();
    let mut found = processes();
    found.retain(|one| {
        let environ = fs::read(format!("/proc/{}/environ", one.pid)).unwrap_or_default();
        environ.windows(mark.len()).any(|window| window == mark)
    });
    found
}

/// Processes with `text` in their arguments, other than our own four commands.
pub(crate) fn with_argv(text: &str) -> Vec<Process> {
    let mut found = processes();
    found.retain(|one| {
        let program = one.argv.split(' ').next().unwrap_or_default();
        one.argv.contains(text) && !program.contains("distcomp-")
    });
    found
}

/// Those of [`with_argv`] that run what their arguments say. A fork on its way to exec has the arguments of its parent:
/// with it, a shell that starts its first child would be two. A subshell stays such a fork and is not counted.
pub(crate) fn begun(text: &str) -> Vec<Process> {
    /// "Forked but didn't exec": `include/linux/sched.h`.
    const PF_FORKNOEXEC: u64 = 0x40;
    /// The place of `flags` behind the name of the program: proc_pid_stat(5).
    const FLAGS: usize = 6;
    let mut found = with_argv(text);
    found.retain(|one| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", one.pid)).unwrap_or_default();
        let flags = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(FLAGS)?.parse::<u64>().ok());
        flags.is_some_and(|flags| flags & PF_FORKNOEXEC == 0)
    });
    found
}

/// SIGKILL to each; for cleaning up after a promise was broken.
pub(crate) fn kill_all(list: &[Process]) {
    for one in list {
        if one.pid > 1 {
            let _ = kill(Pid::from_raw(one.pid), Signal::SIGKILL);
        }
    }
}

/// An argument for `sleep` of at least two hours that no other process on this machine has. Dropped, it kills what still
/// sleeps so, for a test that fails must leave nothing behind either.
pub(crate) struct UniqueSleep(String);

pub(crate) fn unique_sleep() -> UniqueSleep {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    UniqueSleep(format!("72{:02}.{:07}1", NEXT.fetch_add(1, Ordering::Relaxed) % 100, process::id()))
}

impl Deref for UniqueSleep {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UniqueSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Drop for UniqueSleep {
    fn drop(&mut self) {
        kill_all(&with_argv(&self.0));
    }
}
