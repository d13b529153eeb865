//! One task in its keeper: what it has said, used and been told so far, and the record of it at the end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::libc;
use rustix::buffer::spare_capacity;

use super::cgroup_meter::CgroupUsage;
use super::command::{Ended, ExitStatus, MOST_SHOWN, Output, RunSpec};
use super::confinement::TaskUser;
use super::output::{StdoutCapture, StdoutLimits, Tail};
use super::result_file::ResultPlace;
use super::spawn::Spawned;
use super::syscalls::WaitResult;
use crate::sys::wall_clock;

/// What a pipe may still hold when its task has ended; somebody who goes on writing must not hold the slot.
const DRAIN_BYTES: usize = 2 << 20;
const DRAIN_TIME: Duration = Duration::from_millis(250);
/// As much as a pipe holds by default.
const READ_SIZE: usize = 64 * 1024;

/// A moment, by the clock that intervals are measured with and by that of the wall.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    instant: Instant,
    unix_ms: u64,
}

impl Begun {
    /// This one. Taken before a task is started: its own first instructions are later than that.
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), unix_ms: wall_clock::unix_ms() }
    }
}

/// A running task.
pub(super) struct Slot {
    pub(super) seq: u64,
    pub(super) pid: i32,
    pub(super) start_ms: u64,
    pub(super) started: Instant,
    pipes: Spawned,
    stdout: StdoutCapture,
    stderr: Tail,
    /// How the main process ended, and when that was seen.
    end: Option<(ExitStatus, Instant, u64)>,
    /// It was told to end: what is left at this moment is killed.
    pub(super) deadline: Option<Instant>,
    /// We have sent SIGKILL while the main process was running.
    forced: bool,
    killing: bool,
    leftovers_killed: u32,
    peak_bytes: u64,
    cpu_user: Duration,
    cpu_system: Duration,
}

impl Slot {
    pub(super) fn new(seq: u64, spec: RunSpec, pipes: Spawned, begun: Begun, owner: Option<TaskUser>) -> Self {
        let limits = StdoutLimits {
            max_inline: spec.max_inline,
            head_keep: spec.head_keep,
            tail_keep: spec.tail_keep,
            place: ResultPlace { path: spec.overflow_path, known: spec.result_dir, owner },
        };
        Self {
            seq,
            pid: pipes.pid,
            start_ms: begun.unix_ms,
            started: begun.instant,
            pipes,
            stdout: StdoutCapture::new(limits),
            stderr: Tail::new(spec.stderr_tail_keep),
            end: None,
            deadline: None,
            forced: false,
            killing: false,
            leftovers_killed: 0,
            peak_bytes: 0,
            cpu_user: Duration::ZERO,
            cpu_system: Duration::ZERO,
        }
    }

    /// Stdout and stderr, to be polled.
    pub(super) fn outputs(&self) -> [BorrowedFd<'_>; 2] {
        [self.pipes.stdout.read.as_fd(), self.pipes.stderr.read.as_fd()]
    }

    /// The pid of the main process while it has not been waited for.
    pub(super) fn main(&self) -> Option<i32> {
        self.end.is_none().then_some(self.pid)
    }

    /// Whether the slot's time is over: it was told to end, and the grace has passed.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Counts in a process of this tree that has ended.
    pub(super) fn note(&mut self, reaped: WaitResult) {
        self.peak_bytes = self.peak_bytes.max(reaped.peak_bytes);
        self.cpu_user += reaped.cpu_user;
        self.cpu_system += reaped.cpu_system;
        if self.end.is_none() && reaped.pid == self.pid {
            self.end = Some((reaped.status, Instant::now(), wall_clock::unix_ms()));
        } else if self.killing && reaped.status == ExitStatus::Signaled(libc::SIGKILL) {
            self.leftovers_killed += 1;
        }
    }

    /// From now on what ends has been killed by us.
    pub(super) fn begin_killing(&mut self) {
        self.killing = true;
        self.forced |= self.end.is_none();
    }

    /// Takes what stdout holds now, one read of it.
    pub(super) fn read_stdout(&mut self, scratch: &mut Vec<u8>) -> bool {
        let more = read(&self.pipes.stdout.read, scratch);
        self.stdout.push(scratch);
        more
    }

    /// Takes what stderr holds now, one read of it.
    pub(super) fn read_stderr(&mut self, scratch: &mut Vec<u8>) -> bool {
        let more = read(&self.pipes.stderr.read, scratch);
        self.stderr.push(scratch);
        more
    }

    /// Takes what is left in both pipes, but does not wait for anybody who still holds them.
    pub(super) fn drain(&mut self, scratch: &mut Vec<u8>) {
        for read in [Self::read_stdout, Self::read_stderr] {
            let (mut taken, mut begun) = (0, None);
            while read(self, scratch) {
                taken += scratch.len();
                // The clock is asked only by those who have much to say.
                let begun = *begun.get_or_insert_with(Instant::now);
                if taken > DRAIN_BYTES || begun.elapsed() > DRAIN_TIME {
                    break;
                }
            }
        }
    }

    /// What it has said so far, from these positions on.
    pub(super) fn said(&self, stdout_from: Option<u64>, stderr_from: Option<u64>) -> Output {
        let (stdout, stderr) = (self.stdout.since(stdout_from, MOST_SHOWN), self.stderr.since(stderr_from, MOST_SHOWN));
        Output { seq: self.seq, stdout, stderr }
    }

    /// Whether its output took more than a little memory.
    pub(super) fn was_large(&self) -> bool {
        self.stdout.was_large()
    }

    /// Whether it ended as by a SIGKILL that was not ours: itself, or the child of a shell.
    pub(super) fn was_killed(&self) -> bool {
        let killed = [ExitStatus::Signaled(libc::SIGKILL), ExitStatus::Exited(128 + libc::SIGKILL)];
        self.deadline.is_none() && self.end.is_some_and(|(status, ..)| killed.contains(&status))
    }

    /// The record. A main process that would not die is taken to be as good as killed.
    pub(super) fn finish(self, unkillable: bool, used: CgroupUsage, is_oom_likely: bool) -> Ended {
        let never = || (ExitStatus::Signaled(libc::SIGKILL), Instant::now(), wall_clock::unix_ms());
        let (status, ended, end_ms) = self.end.unwrap_or_else(never);
        let (stdout, stdout_file) = self.stdout.finish(status == ExitStatus::Exited(0));
        Ended {
            seq: self.seq,
            status,
            start_ms: self.start_ms,
            end_ms,
            duration: ended.duration_since(self.started),
            peak_bytes: self.peak_bytes,
            group_peak_bytes: used.peak_bytes,
            oom_kills: used.oom_kills,
            is_oom_likely,
            cpu_user: self.cpu_user,
            cpu_system: self.cpu_system,
            stdout,
            stdout_file,
            stderr_total: self.stderr.total(),
            stderr_tail: self.stderr.finish(),
            leftovers_killed: self.leftovers_killed,
            unkillable,
            forced_kill: self.forced && status == ExitStatus::Signaled(libc::SIGKILL),
        }
    }
}

/// One read into `scratch`, in place of what it held. Answers whether there may be more: a pipe gives all it has, up to what was asked for.
fn read(pipe: &OwnedFd, scratch: &mut Vec<u8>) -> bool {
    scratch.clear();
    scratch.reserve(READ_SIZE);
    match rustix::io::read(pipe, spare_capacity(scratch)) {
        Ok(count) => count >= READ_SIZE,
        Err(error) => error == rustix::io::Errno::INTR,
    }
}
