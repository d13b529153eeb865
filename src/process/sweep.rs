//! The last resort: processes of an earlier worker that lost worker and keepers at one moment, found by a marker in their environment or by a
//! descriptor that they inherited.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use super::mark::Mark;
use super::terminate::{Guard, SignalError, Target};
use super::tree::{self, Identity};
use super::worker_cgroup::members;

/// How long a sweep may take over processes that do not die.
const BOUND: Duration = Duration::from_secs(5);

/// How the processes of a worker are known.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// What an entry of their environment, as it was given at `exec`, begins with: `NAME=beginning of the value`. An empty one would mean
    /// everybody and finds nobody.
    pub environment: &'a str,
    /// The file that one of their descriptors refers to.
    pub descriptor: Option<&'a Mark>,
    /// The cgroup in which, or below which, they are.
    pub group: Option<&'a Path>,
    /// Whose processes may be meant besides our user's: those that tasks ran as.
    pub users: &'a [u32],
    /// Only those that started before this moment, see [`now_ticks`](crate::sys::boot::now_ticks); `None` for all.
    pub before: Option<u64>,
}

/// SIGKILL to every process that has one of the marks, but ourselves, those above us and those that `is_protected` names; again until none is
/// found, at most five seconds. Answers how many were killed.
///
/// To be called before the first claim, and only when the worker whose marks they are has been proved dead. A process that has
/// cleared its environment and closed its descriptors is not found.
pub fn sweep_marked(marks: Marks<'_>, is_protected: impl Fn(i32) -> bool) -> usize {
    let is_named = marks.environment.contains('=') && !marks.environment.starts_with('=');
    let variable = Some(marks.environment.as_bytes()).filter(|_| is_named);
    let mut signalled: HashSet<Identity> = HashSet::new();
    let mut refused: HashSet<Identity> = HashSet::new();
    let end = Instant::now() + BOUND;
    loop {
        let guard = Guard::current();
        let mut found = false;
        let inside: HashSet<i32> = marks.group.map(members).into_iter().flatten().collect();
        for pid in tree::all_pids().filter(|&pid| guard.check(Target::Child(pid)).is_ok() && !is_protected(pid)) {
            // First who it is, then what it carries: the kill compares, so that both are of one process.
            let Some(identity) = tree::identity(pid) else { continue };
            let has_mark = || {
                inside.contains(&pid)
                    || variable.is_some_and(|variable| carries(pid, variable))
                    || marks.descriptor.is_some_and(|mark| mark.is_held_by(pid))
            };
            let is_later = marks.before.is_some_and(|before| identity.start_ticks >= before);
            if is_later || refused.contains(&identity) || !is_ours(pid, marks.users) || !has_mark() {
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

/// Root can read everybody's environment and kill everybody; what it must kill is its own all the same.
fn is_ours(pid: i32, users: &[u32]) -> bool {
    let is_one = |uid: u32| uid == geteuid().as_raw() || users.contains(&uid);
    // The owner of the directory is root where a process hides itself; the status tells all the same.
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

    fn by_environment(marker: &str) -> Marks<'_> {
        Marks { environment: marker, descriptor: None, group: None, users: &[], before: None }
    }

    #[test]
    fn only_what_carries_the_marker_is_swept() {
        let marker = format!("DISTCOMP_SWEEP_TEST={}:node1:", std::process::id());
        let value = marker.split_once('=').unwrap().1;
        let mut marked = sleeper("DISTCOMP_SWEEP_TEST", &format!("{value}7"));
        let mut protected = sleeper("DISTCOMP_SWEEP_TEST", &format!("{value}8"));
        let mut others =
            [sleeper("DISTCOMP_SWEEP_TEST", "another"), sleeper("OTHER", &format!("{value}7")), sleeper("X", &marker)];
        let keep = i32::try_from(protected.id()).unwrap();
        assert_eq!(sweep_marked(by_environment(&marker), |pid| pid == keep), 1);
        marked.wait().unwrap();
        for child in others.iter_mut().chain([&mut protected]) {
            assert_eq!(child.try_wait().unwrap(), None);
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn what_started_later_is_spared() {
        let marker = format!("DISTCOMP_SWEEP_TEST={}:node2:", std::process::id());
        let value = marker.split_once('=').unwrap().1;
        let mut early = sleeper("DISTCOMP_SWEEP_TEST", &format!("{value}7"));
        thread::sleep(Duration::from_millis(30));
        let before = crate::sys::boot::now_ticks();
        thread::sleep(Duration::from_millis(30));
        let mut late = sleeper("DISTCOMP_SWEEP_TEST", &format!("{value}8"));
        assert_eq!(sweep_marked(Marks { before, ..by_environment(&marker) }, |_| false), 1);
        early.wait().unwrap();
        assert_eq!(late.try_wait().unwrap(), None);
        late.kill().unwrap();
        late.wait().unwrap();
    }

    #[test]
    fn a_marker_that_would_mean_everybody_means_nobody() {
        for marker in ["", "=", "DISTCOMP"] {
            assert_eq!(sweep_marked(by_environment(marker), |_| false), 0);
        }
    }

    #[test]
    fn what_has_cleared_its_environment_and_kept_a_descriptor_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark::open(dir.path(), "w").unwrap();
        let mut holder = Command::new("/bin/sh")
            .args(["-c", &format!("exec 9<{}; exec sleep 30", mark.path().display())])
            .env_clear()
            .spawn()
            .unwrap();
        let pid = i32::try_from(holder.id()).unwrap();
        let held = (0..400).any(|_| {
            thread::sleep(Duration::from_millis(5));
            mark.is_held_by(pid)
        });
        assert!(held);
        let marks = Marks { descriptor: Some(&mark), ..by_environment("") };
        assert_eq!(sweep_marked(marks, |_| false), 1);
        assert!(!holder.wait().unwrap().success());
    }
}
