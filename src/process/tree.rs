//! Reads parents, children and identities of processes from `/proc`.
//!
//! A pid alone does not identify a process, because the kernel reuses pids. The pid **and** the start time do.

use std::collections::HashMap;
use std::fs;

use crate::sys::stat::Stat;

/// Identifies a process, even if its pid is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
}

/// The identity of a running process; `None` if no process with this pid runs, or `/proc` hides it.
#[must_use]
pub fn identity(pid: i32) -> Option<ProcessIdentity> {
    let stat = Stat::read(pid)?;
    stat.is_running().then_some(ProcessIdentity { pid, start_ticks: stat.start_ticks })
}

/// Whether the process with this pid and start time still runs. A later process with the same pid, or a zombie, does not count.
#[must_use]
pub fn is_alive(pid: i32, start_ticks: u64) -> bool {
    identity(pid).is_some_and(|now| now.start_ticks == start_ticks)
}

/// Whether a process is one of `roots` or descends from one, as far as its parents are alive.
#[must_use]
pub fn descends_from(pid: i32, roots: &[u32]) -> bool {
    let mut next = Some(pid);
    // Bounded, because reused pids could form a circle. A longer chain of parents does not occur by accident.
    for _ in 0..4096 {
        let Some(pid) = next.filter(|pid| *pid > 1) else { return false };
        if roots.iter().any(|root| i32::try_from(*root) == Ok(pid)) {
            return true;
        }
        next = Stat::read(pid).map(|stat| stat.parent);
    }
    true
}

/// The direct children of all threads of a process, including zombies; empty if the process has gone.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    match listed_children(pid) {
        Some(children) => children,
        None => parents().into_iter().filter(|&(_, parent)| parent == pid).map(|(child, _)| child).collect(),
    }
}

/// All descendants of a process, including zombies, nearest first. Processes that are forked in the meantime may be missing: a caller that needs all of
/// them must repeat the call until none is left.
#[must_use]
pub fn descendants(pid: i32) -> Vec<i32> {
    let by_scan = if listed_children(pid).is_some() { None } else { Some(parents()) };
    let mut found: Vec<i32> = Vec::new();
    let mut next = 0;
    let mut above = pid;
    loop {
        let children = match &by_scan {
            None => listed_children(above).unwrap_or_default(),
            Some(parents) => parents.iter().filter(|&(_, &parent)| parent == above).map(|(&child, _)| child).collect(),
        };
        // A pid that is reused between two reads could close a circle.
        found.extend(children.into_iter().filter(|child| *child != pid).collect::<Vec<_>>());
        let Some(&following) = found.get(next) else { break };
        if found.len() > 1 << 22 {
            break;
        }
        (above, next) = (following, next + 1);
    }
    found
}

/// Children from `/proc/PID/task/*/children`; `None` if the kernel has no such files (`CONFIG_PROC_CHILDREN`) or the process has gone.
fn listed_children(pid: i32) -> Option<Vec<i32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(|child| child.parse::<i32>().ok())),
            // A thread may end between two reads. If the thread is alive, the kernel has no such file.
            Err(_) if thread.path().exists() => return None,
            Err(_) => {}
        }
    }
    Some(children)
}

/// The parent of every process in `/proc`.
fn parents() -> HashMap<i32, i32> {
    all_pids().filter_map(|pid| Some((pid, Stat::read(pid)?.parent))).collect()
}

/// Every pid in `/proc`.
pub(super) fn all_pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The parent, grandparent and so on of a process, without 0.
pub(super) fn ancestors(pid: i32) -> Vec<i32> {
    let mut line: Vec<i32> = Vec::new();
    let mut below = pid;
    while let Some(parent) = Stat::read(below).map(|stat| stat.parent) {
        if parent <= 0 || line.contains(&parent) {
            break;
        }
        line.push(parent);
        below = parent;
    }
    line
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn own_pid() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn own_process_is_alive_and_same_pid_of_other_start_is_not() {
        let me = identity(own_pid()).unwrap();
        assert!(is_alive(me.pid, me.start_ticks));
        assert!(!is_alive(me.pid, me.start_ticks + 1));
        assert!(!is_alive(0, 0) && !is_alive(-1, 0));
    }

    #[test]
    fn child_is_found_and_zombie_counts_as_dead() {
        let mut child = Command::new("/bin/sh").args(["-c", "read x"]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(children(own_pid()).contains(&pid) && descendants(own_pid()).contains(&pid));
        assert!(parents().get(&pid) == Some(&own_pid()), "the fall-back sees the same");
        let known = identity(pid).unwrap();
        drop(child.stdin.take());
        let gone = (0..400).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            !is_alive(known.pid, known.start_ticks)
        });
        assert!(gone && Stat::read(pid).is_some(), "a zombie is not alive");
        child.wait().unwrap();
    }

    #[test]
    fn ancestors_begin_with_the_parent() {
        assert_eq!(ancestors(own_pid()).first().copied(), i32::try_from(std::os::unix::process::parent_id()).ok());
    }
}
