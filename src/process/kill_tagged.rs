//! Kills processes that survived their worker and its keepers. They are found by a variable in their environment, an inherited descriptor, or a cgroup.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use super::tag_file::TagFile;
use super::terminate::{Guard, SignalError, Target};
use super::tree::{self, ProcessIdentity};
use super::worker_cgroup::members;

/// The longest time for processes that do not die.
const BOUND: Duration = Duration::from_secs(5);

/// How the processes of a worker's tasks are recognised.
#[derive(Clone, Copy, Debug)]
pub struct ProcessTag<'a> {
    /// The beginning of an entry in their environment at `exec`: `NAME=beginning of the value`. A text without a name would match every process, and is
    /// ignored.
    pub environment: &'a str,
    /// The file that one of their descriptors refers to.
    pub tag_file: Option<&'a TagFile>,
    /// A cgroup that contains them, or contains their cgroups.
    pub cgroup: Option<&'a Path>,
    /// Users besides ours whose processes may be killed: those that tasks ran as.
    pub users: &'a [u32],
    /// Only processes that started before this moment, see [`now_ticks`](crate::sys::boot::now_ticks); `None` for all.
    pub before: Option<u64>,
}

/// Sends SIGKILL to every process that matches one part of the tag, except for this process, its parents and those for which `is_protected` is true.
/// Repeats until it finds none, at most for five seconds. Returns the number of processes killed.
///
/// Call this before the first claim, and only when the worker with this tag is known to be dead. Outside of the cgroup, a process that has cleared its
/// environment and closed its descriptors is not found.
pub fn kill_tagged(tag: ProcessTag<'_>, is_protected: impl Fn(i32) -> bool) -> usize {
    let is_named = tag.environment.contains('=') && !tag.environment.starts_with('=');
    let variable = Some(tag.environment.as_bytes()).filter(|_| is_named);
    let mut signalled: HashSet<ProcessIdentity> = HashSet::new();
    let mut refused: HashSet<ProcessIdentity> = HashSet::new();
    let end = Instant::now() + BOUND;
    loop {
        let guard = Guard::current();
        let mut found = false;
        let inside: HashSet<i32> = tag.cgroup.map(members).into_iter().flatten().collect();
        for pid in tree::all_pids().filter(|&pid| guard.check(Target::Child(pid)).is_ok() && !is_protected(pid)) {
            // ProcessIdentity first, tag second: `send` compares the identity, so both are of one process.
            let Some(identity) = tree::identity(pid) else { continue };
            let is_tagged = || {
                inside.contains(&pid)
                    || variable.is_some_and(|variable| carries(pid, variable))
                    || tag.tag_file.is_some_and(|file| file.is_open_in(pid))
            };
            let is_later = tag.before.is_some_and(|before| identity.start_ticks >= before);
            if is_later || refused.contains(&identity) || !is_ours(pid, tag.users) || !is_tagged() {
                continue;
            }
            match guard.send(Target::Process(identity), Signal::SIGKILL) {
                Ok(()) => {
                    found = true;
                    signalled.insert(identity);
                }
                Err(SignalError::Gone(_)) => found = true,
                Err(_) => {
                    refused.insert(identity);
                }
            }
        }
        if !found || Instant::now() >= end {
            return signalled.len();
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Root could kill the processes of all users, but may only kill those of its own and of `users`.
fn is_ours(pid: i32, users: &[u32]) -> bool {
    let is_one = |uid: u32| uid == geteuid().as_raw() || users.contains(&uid);
    // Not the owner of `/proc/PID`, which is root for a process that is not dumpable.
    real_uid(pid).is_some_and(is_one)
}

/// The first of the four user ids in `/proc/PID/status`.
fn real_uid(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_ascii_whitespace().next()?.parse().ok())
}

fn carries(pid: i32, marker: &[u8]) -> bool {
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environ.split(|&byte| byte == 0).any(|entry| entry.starts_with(marker))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper(name: &str, value: &str) -> Child {
        Command::new("/bin/sleep").arg("30").env(name, value).spawn().unwrap()
    }

    fn by_variable(marker: &str) -> ProcessTag<'_> {
        ProcessTag { environment: marker, tag_file: None, cgroup: None, users: &[], before: None }
    }

    #[test]
    fn only_processes_with_the_variable_are_killed() {
        let marker = format!("DISTCOMP_SWEEP_TEST={}:node1:", std::process::id());
        let value = marker.split_once('=').unwrap().1;
        let mut marked = sleeper("DISTCOMP_SWEEP_TEST", &format!("{value}7"));
        let mut protected = sleeper("DISTCOMP_SWEEP_TEST", &format!("{value}8"));
        let mut others =
            [sleeper("DISTCOMP_SWEEP_TEST", "another"), sleeper("OTHER", &format!("{value}7")), sleeper("X", &marker)];
        let keep = i32::try_from(protected.id()).unwrap();
        assert_eq!(kill_tagged(by_variable(&marker), |pid| pid == keep), 1);
        marked.wait().unwrap();
        for child in others.iter_mut().chain([&mut protected]) {
            assert_eq!(child.try_wait().unwrap(), None);
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn process_that_started_later_is_spared() {
        let marker = format!("DISTCOMP_SWEEP_TEST={}:node2:", std::process::id());
        let value = marker.split_once('=').unwrap().1;
        let mut early = sleeper("DISTCOMP_SWEEP_TEST", &format!("{value}7"));
        thread::sleep(Duration::from_millis(30));
        let before = crate::sys::boot::now_ticks();
        thread::sleep(Duration::from_millis(30));
        let mut late = sleeper("DISTCOMP_SWEEP_TEST", &format!("{value}8"));
        assert_eq!(kill_tagged(ProcessTag { before, ..by_variable(&marker) }, |_| false), 1);
        early.wait().unwrap();
        assert_eq!(late.try_wait().unwrap(), None);
        late.kill().unwrap();
        late.wait().unwrap();
    }

    #[test]
    fn variable_without_a_name_matches_no_process() {
        for marker in ["", "=", "DISTCOMP"] {
            assert_eq!(kill_tagged(by_variable(marker), |_| false), 0);
        }
    }

    #[test]
    fn process_with_cleared_environment_is_found_by_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let file = TagFile::open(dir.path(), "w").unwrap();
        let mut holder = Command::new("/bin/sh")
            .args(["-c", &format!("exec 9<{}; exec sleep 30", file.path().display())])
            .env_clear()
            .spawn()
            .unwrap();
        let pid = i32::try_from(holder.id()).unwrap();
        let is_ready = (0..400).any(|_| {
            thread::sleep(Duration::from_millis(5));
            file.is_open_in(pid)
        });
        assert!(is_ready);
        let tag = ProcessTag { tag_file: Some(&file), ..by_variable("") };
        assert_eq!(kill_tagged(tag, |_| false), 1);
        assert!(!holder.wait().unwrap().success());
    }
}
