//! Waiting for children, and killing until there are none: what makes a subreaper's promise true.

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

/// How long a tree may take to die of SIGKILL before its slot goes on without it.
pub(super) const KILL_BOUND: Duration = Duration::from_secs(5);
/// Longest pause between two rounds of killing when nothing dies: the rest waits in the kernel.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The children of this process: those it started, and those that became its own as the nearest subreaper.
pub(super) struct Reaper {
    /// Readable when a child has ended. One for the life of the process: a pidfd for each task would cost two calls more, and tell
    /// nothing of orphans.
    child_ended: SignalFd,
    /// Children that SIGKILL did not end in time. They are killed again each time, and no longer waited for.
    stuck: Vec<i32>,
}

impl Reaper {
    /// SIGCHLD must be blocked already.
    pub(super) fn new() -> Result<Self, Errno> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        let child_ended = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { child_ended, stuck: Vec::new() })
    }

    /// To be polled: readable when a child has ended.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.child_ended.as_fd()
    }

    /// Takes note of the ends announced so far. Signals of one kind merge, so one read is all there is.
    pub(super) fn acknowledge(&self) {
        let _ = self.child_ended.read_signal();
    }

    /// Waits for every child that has ended, without blocking. Answers whether any are left, the stuck ones aside.
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

    /// SIGKILL to everything below this process but the spared children and what is below those, again and again until nothing is left.
    /// Answers whether something would not die within `bound`.
    ///
    /// Once is never enough: a process forks between being listed and being killed, and a killed parent's children turn up as ours only
    /// then. A chain of processes that each live for microseconds is beaten by looking again at once as long as something dies.
    pub(super) fn kill_all(&mut self, bound: Duration, spared: &[i32], on_reaped: &mut dyn FnMut(WaitResult)) -> bool {
        let end = Instant::now() + bound;
        // Looked up only when there is somebody to kill.
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
            // The whole tree at first, so that it cannot grow faster than one level a round; then the children alone, which is quicker than
            // a process can fork and is where every orphan arrives; and the whole again now and then.
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

    /// Until a child has ended, at most `limit`.
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
        // Gone is as good as killed, and a refusal (a set-uid program) shows as a process that would not die.
        let _ = guard.send(Target::Child(child), Signal::SIGKILL);
    }
    for identity in deeper {
        let _ = guard.send(Target::Process(identity), Signal::SIGKILL);
    }
}

/// SIGTERM to everything below this process: once to the group of `main`, if it has not been waited for, and once to each process outside that
/// group, so that nobody is asked twice. Stopped ones are continued, or they could not obey.
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

/// As `poll` wants it: rounded up, so that a wait never ends just before its time and spins; `None` waits for ever.
pub(super) fn timeout(limit: Option<Duration>) -> PollTimeout {
    let Some(limit) = limit else { return PollTimeout::NONE };
    let millis = limit.as_micros().div_ceil(1000);
    PollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
}
