//! The only code that sends signals. It never signals a process that is not ours.
//!
//! A wrong pid is worse than a survivor: `kill(-1, SIGKILL)` kills all processes of the user. So a [`Guard`] checks each target: never 0, 1 or a negative
//! number, never this process, its own process group, or one of its parents.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp};

use super::syscalls::{pidfd_open, pidfd_send_signal};
use super::tree::{self, ProcessIdentity};

/// What gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A child that has not been waited for, so its pid cannot be reused.
    Child(i32),
    /// Any process. The signal goes through a pidfd, after the start time has been compared.
    Process(ProcessIdentity),
    /// A process group whose leader is a child that has not been waited for.
    Group(i32),
}

/// Why a signal was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// The number is 0, 1 or negative.
    #[error("signal {0}: not the id of a process that we may signal")]
    NotAProcess(i32),
    /// The target is this process or its process group.
    #[error("signal {0}: it is this process")]
    Ourselves(i32),
    /// The target is a parent of this process.
    #[error("signal {0}: it is a parent of this process")]
    Ancestor(i32),
    /// The process has ended, or another process has its pid now.
    #[error("signal {0}: it has ended")]
    Gone(i32),
    /// The system refused, for example because the process belongs to another user.
    #[error("signal {0}: {1}")]
    Refused(i32, Errno),
}

/// The processes that must never be signalled, as of now. Create a new one for each round of signals, because parents change.
#[derive(Clone, Debug)]
pub struct Guard {
    own: i32,
    own_group: i32,
    ancestors: Vec<i32>,
}

impl Guard {
    /// Reads the pid, process group and parents of this process.
    #[must_use]
    pub fn current() -> Self {
        let own = Pid::this().as_raw();
        Self { own, own_group: getpgrp().as_raw(), ancestors: tree::ancestors(own) }
    }

    /// Whether `target` may be signalled at all.
    ///
    /// # Errors
    /// Names the rule that forbids it.
    pub fn check(&self, target: Target) -> Result<(), SignalError> {
        let (number, ours) = match target {
            Target::Child(pid) | Target::Process(ProcessIdentity { pid, .. }) => (pid, self.own),
            Target::Group(group) => (group, self.own_group),
        };
        if number <= 1 {
            return Err(SignalError::NotAProcess(number));
        }
        if number == ours || number == self.own {
            return Err(SignalError::Ourselves(number));
        }
        // A process group has the pid of its first member, so this also covers the groups of parents.
        if self.ancestors.contains(&number) {
            return Err(SignalError::Ancestor(number));
        }
        Ok(())
    }

    /// Sends a signal if [`Self::check`] allows it.
    ///
    /// # Errors
    /// [`SignalError::Gone`] is common and harmless: the process has ended.
    pub fn send(&self, target: Target, signal: Signal) -> Result<(), SignalError> {
        self.check(target)?;
        match target {
            Target::Child(pid) => kill(Pid::from_raw(pid), signal).map_err(|errno| failed(pid, errno)),
            Target::Group(group) => killpg(Pid::from_raw(group), signal).map_err(|errno| failed(group, errno)),
            Target::Process(identity) => send_to_identity(identity, signal),
        }
    }
}

/// Opens a pidfd first and compares then. The pidfd stays with its process, so the signal goes to the process that was compared.
fn send_to_identity(identity: ProcessIdentity, signal: Signal) -> Result<(), SignalError> {
    let pid = identity.pid;
    let failed = |errno: Errno| failed(pid, errno);
    match pidfd_open(pid) {
        Ok(pidfd) => {
            if !tree::is_alive(pid, identity.start_ticks) {
                return Err(SignalError::Gone(pid));
            }
            pidfd_send_signal(&pidfd, signal).map_err(failed)
        }
        // Linux before 5.3 has no pidfds, and containers may forbid them. Comparing just before leaves a gap of microseconds.
        Err(Errno::ENOSYS | Errno::EPERM) if tree::is_alive(pid, identity.start_ticks) => {
            kill(Pid::from_raw(pid), signal).map_err(failed)
        }
        Err(Errno::ENOSYS | Errno::EPERM) => Err(SignalError::Gone(pid)),
        Err(errno) => Err(failed(errno)),
    }
}

fn failed(number: i32, errno: Errno) -> SignalError {
    if errno == Errno::ESRCH { SignalError::Gone(number) } else { SignalError::Refused(number, errno) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rstest::rstest;

    use super::*;

    fn every_kind(number: i32) -> [Target; 3] {
        [
            Target::Child(number),
            Target::Group(number),
            Target::Process(ProcessIdentity {
                pid: number,
                start_ticks: tree::identity(number).map_or(0, |id| id.start_ticks),
            }),
        ]
    }

    #[rstest]
    #[case(0)]
    #[case(1)]
    #[case(-1)]
    #[case(-2)]
    #[case(i32::MIN)]
    fn number_of_many_processes_is_refused(#[case] number: i32) {
        for target in every_kind(number) {
            assert_eq!(Guard::current().send(target, Signal::SIGKILL), Err(SignalError::NotAProcess(number)));
        }
    }

    #[test]
    fn own_process_group_and_parents_are_refused() {
        let guard = Guard::current();
        let own = Pid::this().as_raw();
        for target in every_kind(own) {
            assert_eq!(guard.send(target, Signal::SIGKILL), Err(SignalError::Ourselves(own)));
        }
        let group = getpgrp().as_raw();
        assert!(guard.send(Target::Group(group), Signal::SIGKILL).is_err());
        let line = tree::ancestors(own);
        assert!(!line.is_empty());
        for ancestor in line.into_iter().filter(|&pid| pid > 1 && pid != group) {
            for target in every_kind(ancestor) {
                assert_eq!(guard.send(target, Signal::SIGKILL), Err(SignalError::Ancestor(ancestor)));
            }
        }
    }

    #[test]
    fn later_process_with_the_same_pid_is_spared() {
        let mut child = Command::new("/bin/sleep").arg("30").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let known = tree::identity(pid).unwrap();
        let earlier = ProcessIdentity { start_ticks: known.start_ticks - 1, ..known };
        let guard = Guard::current();
        assert_eq!(guard.send(Target::Process(earlier), Signal::SIGKILL), Err(SignalError::Gone(pid)));
        assert_eq!(child.try_wait().unwrap(), None, "still running");
        assert_eq!(guard.send(Target::Process(known), Signal::SIGKILL), Ok(()));
        child.wait().unwrap();
        assert_eq!(guard.send(Target::Process(known), Signal::SIGKILL), Err(SignalError::Gone(pid)));
    }
}
