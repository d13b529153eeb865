//! The last resort: processes of an earlier worker that lost worker and keepers at one moment, found by a marker in their environment.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use super::terminate::{Guard, SignalError, Target};
use super::tree::{self, Identity};

/// How long a sweep may take over processes that do not die.
const BOUND: Duration = Duration::from_secs(5);

/// SIGKILL to every process of our user whose environment, as it was given at `exec`, holds an entry that begins with `marker_env`
/// (`NAME=beginning of the value`), but ourselves, those above us and those that `is_protected` names; again until none is found, at most five
/// seconds. Answers how many were killed.
///
/// To be called before the first claim, and only when the worker whose marker it is has been proved dead. A process that has
/// cleared its environment is not found. An empty marker would mean everybody and finds nobody.
pub fn sweep_marked(marker_env: &str, is_protected: impl Fn(i32) -> bool) -> usize {
    let marker = marker_env.as_bytes();
    let mut signalled: HashSet<Identity> = HashSet::new();
    let mut refused: HashSet<Identity> = HashSet::new();
    let end = Instant::now() + BOUND;
    if !marker_env.contains('=') || marker_env.starts_with('=') {
        return 0;
    }
    loop {
        let guard = Guard::current();
        let mut found = false;
        for pid in tree::all_pids().filter(|&pid| guard.check(Target::Child(pid)).is_ok() && !is_protected(pid)) {
            // First who it is, then what it carries: the kill compares, so that both are of one process.
            let Some(identity) = tree::identity(pid) else { continue };
            if refused.contains(&identity) || !is_ours(pid) || !carries(pid, marker) {
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
fn is_ours(pid: i32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok_and(|metadata| metadata.uid() == geteuid().as_raw())
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

    #[test]
    fn only_what_carries_the_marker_is_swept() {
        let marker = format!("DISTCOMP_SWEEP_TEST={}:node1:", std::process::id());
        let value = marker.split_once('=').unwrap().1;
        let mut marked = sleeper("DISTCOMP_SWEEP_TEST", &format!("{value}7"));
        let mut protected = sleeper("DISTCOMP_SWEEP_TEST", &format!("{value}8"));
        let mut others =
            [sleeper("DISTCOMP_SWEEP_TEST", "another"), sleeper("OTHER", &format!("{value}7")), sleeper("X", &marker)];
        let keep = i32::try_from(protected.id()).unwrap();
        assert_eq!(sweep_marked(&marker, |pid| pid == keep), 1);
        marked.wait().unwrap();
        for child in others.iter_mut().chain([&mut protected]) {
            assert_eq!(child.try_wait().unwrap(), None);
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_marker_that_would_mean_everybody_means_nobody() {
        assert_eq!(sweep_marked("", |_| false), 0);
        assert_eq!(sweep_marked("=", |_| false), 0);
        assert_eq!(sweep_marked("DISTCOMP", |_| false), 0);
    }
}
