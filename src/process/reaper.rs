//! Waits for the children of a subreaper, and kills them until none is left.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::syscalls::{self, WaitResult};
use super::terminate::{Guard, Target};
use super::tree::{self, ProcessIdentity};
use crate::sys::stat::Stat;

/// How long a process tree may take to die of SIGKILL. After that its slot goes on without it.
pub(super) const KILL_BOUND: Duration = Duration::from_secs(5);
/// The longest pause between two rounds of SIGKILL. If nothing dies, the rest waits in the kernel.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The children of this process: those that it started, and orphans, whose nearest subreaper it is.
pub(super) struct Reaper {
    /// Readable when a child has ended. A pidfd for each task instead would cost two more calls, and would not cover orphans.
    child_ended: SignalFd,
    /// Children that did not die in time. They get SIGKILL again each time, and are no longer waited for.
    stuck: Vec<i32>,
}

impl Reaper {
    /// SIGCHLD must be blocked.
    pub(super) fn new() -> Result<Self, Errno> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        let child_ended = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { child_ended, stuck: Vec::new() })
    }

    /// To be polled. Readable when a child has ended.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.child_ended.as_fd()
    }

    /// Clears the signal. Signals of one kind merge, so one read is enough.
    pub(super) fn acknowledge(&self) {
        let _ = self.child_ended.read_signal();
    }

    /// Waits for every child that has ended, without blocking. Returns whether children other than the stuck ones are left.
    pub(super) fn reap(&mut self, on_reaped: &mut dyn FnMut(WaitResult)) -> bool {
        loop {
            match syscalls::wait_any() {
                Ok(Some(reaped)) => {
                    self.stuck.retain(|&pid| pid != reaped.pid);
                    on_reaped(reaped);
                }
                Ok(None) => return self.stuck.is_empty() || !self.remaining(&[]).is_empty(),
                Err(Errno::EINTR) => {}
                Err(_) => {
                    self.stuck.clear();
                    return false;
                }
            }
        }
    }

    /// Children other than the spared and the stuck ones.
    pub(super) fn remaining(&self, spared: &[i32]) -> Vec<i32> {
        let mut children = tree::children(Pid::this().as_raw());
        children.retain(|pid| !spared.contains(pid) && !self.stuck.contains(pid));
        children
    }

    /// Sends SIGKILL to everything below this process, except for the spared children and what is below them, until nothing is left. Returns whether
    /// a process did not die within `bound`.
    ///
    /// One round is not enough: a process can fork after it was listed and before it is killed, and orphans become our children only after the
    /// death of their parent. As long as something dies, the next round begins at once. This also ends a chain of processes that each live for
    /// microseconds.
    pub(super) fn kill_all(&mut self, bound: Duration, spared: &[i32], on_reaped: &mut dyn FnMut(WaitResult)) -> bool {
        let end = Instant::now() + bound;
        // Created only if there is a process to kill.
        let mut guard = None;
        let mut pause = Duration::from_millis(1);
        for round in 0_u32.. {
            let mut progress = false;
            let children = self.reap(&mut |reaped| {
                progress = true;
                on_reaped(reaped);
            });
            if !children || (!spared.is_empty() || !self.stuck.is_empty()) && self.remaining(spared).is_empty() {
                break;
            }
            if Instant::now() >= end {
                self.stuck.extend(self.remaining(spared));
                return true;
            }
            // First the whole tree, so that it grows by at most one level in a round. Then the children alone: this is faster than a process can
            // fork, and every orphan becomes a child. Every fourth round takes the whole tree again.
            signal_round(guard.get_or_insert_with(Guard::current), spared, round % 4 == 0);
            if progress || round == 0 {
                pause = Duration::from_millis(1);
            } else {
                self.wait(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        false
    }

    /// Waits until a child has ended, at most `limit`.
    pub(super) fn wait(&self, limit: Duration) {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, timeout(Some(limit)));
        self.acknowledge();
    }
}

fn signal_round(guard: &Guard, spared: &[i32], whole_tree: bool) {
    let mut children = tree::children(Pid::this().as_raw());
    children.retain(|pid| !spared.contains(pid));
    let deeper: Vec<ProcessIdentity> = if whole_tree {
        children.iter().flat_map(|&child| tree::descendants(child)).filter_map(tree::identity).collect()
    } else {
        Vec::new()
    };
    for child in children {
        // A child that is gone needs no signal. One that refuses it (a set-uid program) counts as one that does not die.
        let _ = guard.send(Target::Child(child), Signal::SIGKILL);
    }
    for identity in deeper {
        let _ = guard.send(Target::Process(identity), Signal::SIGKILL);
    }
}

/// Sends SIGTERM to everything below this process: once to the process group of `main`, if it has not been waited for, and once to each process outside
/// of it, so that no process gets it twice. It also sends SIGCONT, because a stopped process cannot react.
pub(super) fn ask_to_end(main: Option<i32>) {
    let guard = Guard::current();
    let signal = |target| {
        let _ = guard.send(target, Signal::SIGTERM);
        let _ = guard.send(target, Signal::SIGCONT);
    };
    let below = tree::descendants(Pid::this().as_raw());
    if let Some(main) = main {
        signal(Target::Group(main));
    }
    for pid in below {
        let Some(stat) = Stat::read(pid).filter(Stat::is_running) else { continue };
        if main != Some(stat.group) {
            signal(Target::Process(ProcessIdentity { pid, start_ticks: stat.start_ticks }));
        }
    }
}

/// A timeout for `poll`, rounded up: a wait that ends just before its time would repeat in a busy loop. `None` waits for ever.
pub(super) fn timeout(limit: Option<Duration>) -> PollTimeout {
    let Some(limit) = limit else { return PollTimeout::NONE };
    let millis = limit.as_micros().div_ceil(1000);
    PollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
}
