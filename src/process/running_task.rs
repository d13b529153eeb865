//! The task that runs in a keeper: its output, usage and deadline so far, and its record at the end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use super::cgroup_meter::CgroupUsage;
use super::confinement::TaskUser;
use super::output::{StdoutCapture, StdoutLimits};
use super::protocol::{Ended, ExitStatus, MAX_SHOWN, Output, RunSpec, TaskKey};
use super::result_file::ResultPlace;
use super::spawn::Spawned;
use super::syscalls::{self, WaitResult};
use super::tail::Tail;
use crate::sys::wall_clock;

/// At most so much is read from a pipe after the task has ended. A process that goes on writing must not occupy the slot.
const DRAIN_BYTES: usize = 2 << 20;
const DRAIN_TIME: Duration = Duration::from_millis(250);
/// The default capacity of a pipe.
const READ_SIZE: usize = 64 * 1024;

/// The time of a start, by the monotonic clock and by the wall clock.
#[derive(Clone, Copy)]
pub(super) struct StartStamp {
    instant: Instant,
    unix_ms: u64,
}

impl StartStamp {
    /// The present time. Take it before the task starts, so that its first instruction is later.
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), unix_ms: wall_clock::unix_ms() }
    }
}

/// A running task.
pub(super) struct RunningTask {
    pub(super) key: TaskKey,
    pub(super) pid: i32,
    pub(super) start_ms: u64,
    pub(super) started: Instant,
    pipes: Spawned,
    stdout: StdoutCapture,
    stderr: Tail,
    /// How the main process ended, and when the keeper noticed (monotonic clock, milliseconds since the epoch).
    end: Option<(ExitStatus, Instant, u64)>,
    /// Set when the task was told to end: the rest of the tree is killed at this time.
    pub(super) deadline: Option<Instant>,
    /// The keeper sent SIGKILL while the main process was running.
    forced: bool,
    killing: bool,
    leftovers_killed: u32,
    peak_bytes: u64,
    cpu_user: Duration,
    cpu_system: Duration,
}

impl RunningTask {
    pub(super) fn new(
        key: TaskKey,
        spec: RunSpec,
        pipes: Spawned,
        started: StartStamp,
        owner: Option<TaskUser>,
    ) -> Self {
        let limits = StdoutLimits {
            max_inline: spec.max_inline,
            head_keep: spec.head_keep,
            tail_keep: spec.tail_keep,
            place: ResultPlace { path: spec.overflow_path, known: spec.result_dir, owner },
        };
        Self {
            key,
            pid: pipes.pid,
            start_ms: started.unix_ms,
            started: started.instant,
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

    /// Whether the task was told to end and the grace is over.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Adds the usage of a process of this tree that has ended.
    pub(super) fn record_exit(&mut self, reaped: WaitResult) {
        self.peak_bytes = self.peak_bytes.max(reaped.peak_bytes);
        self.cpu_user += reaped.cpu_user;
        self.cpu_system += reaped.cpu_system;
        if self.end.is_none() && reaped.pid == self.pid {
            self.end = Some((reaped.status, Instant::now(), wall_clock::unix_ms()));
        } else if self.killing && reaped.status == ExitStatus::Signaled(libc::SIGKILL) {
            self.leftovers_killed += 1;
        }
    }

    /// From now on, processes that end by SIGKILL count as killed by the keeper.
    pub(super) fn begin_killing(&mut self) {
        self.killing = true;
        self.forced |= self.end.is_none();
    }

    /// Reads stdout once; returns whether there may be more.
    pub(super) fn read_stdout(&mut self, scratch: &mut Vec<u8>) -> bool {
        let more = read(&self.pipes.stdout.read, scratch);
        self.stdout.push(scratch);
        more
    }

    /// Reads stderr once; returns whether there may be more.
    pub(super) fn read_stderr(&mut self, scratch: &mut Vec<u8>) -> bool {
        let more = read(&self.pipes.stderr.read, scratch);
        self.stderr.push(scratch);
        more
    }

    /// Reads the rest of both pipes, without waiting for processes that still hold them open.
    pub(super) fn drain(&mut self, scratch: &mut Vec<u8>) {
        for read in [Self::read_stdout, Self::read_stderr] {
            let (mut taken, mut started) = (0, None);
            while read(self, scratch) {
                taken += scratch.len();
                // Read the clock only if there is a second read.
                let started = *started.get_or_insert_with(Instant::now);
                if taken > DRAIN_BYTES || started.elapsed() > DRAIN_TIME {
                    break;
                }
            }
        }
    }

    /// The output so far, from these positions on.
    pub(super) fn output_since(&self, stdout_from: Option<u64>, stderr_from: Option<u64>) -> Output {
        let (stdout, stderr) = (self.stdout.since(stdout_from, MAX_SHOWN), self.stderr.since(stderr_from, MAX_SHOWN));
        Output { key: self.key, stdout, stderr }
    }

    /// Whether its output took much memory.
    pub(super) fn was_large(&self) -> bool {
        self.stdout.was_large()
    }

    /// Whether the task, or the child of its shell, ended by a SIGKILL that the keeper did not send.
    pub(super) fn was_killed(&self) -> bool {
        let killed = [ExitStatus::Signaled(libc::SIGKILL), ExitStatus::Exited(128 + libc::SIGKILL)];
        self.deadline.is_none() && self.end.is_some_and(|(status, ..)| killed.contains(&status))
    }

    /// The record of the run. A main process that could not be killed counts as killed.
    pub(super) fn finish(
        self,
        unkillable: bool,
        used: CgroupUsage,
        is_oom_likely: bool,
        scratch_left: Option<String>,
    ) -> Ended {
        let never = || (ExitStatus::Signaled(libc::SIGKILL), Instant::now(), wall_clock::unix_ms());
        let (status, ended, end_ms) = self.end.unwrap_or_else(never);
        let (stdout, stdout_file) = self.stdout.finish(status == ExitStatus::Exited(0));
        Ended {
            key: self.key,
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
            scratch_left,
        }
    }
}

/// Reads once into `scratch`, replacing its contents. Returns whether there may be more: a read of a pipe is short only if the pipe is empty.
fn read(pipe: &OwnedFd, scratch: &mut Vec<u8>) -> bool {
    scratch.clear();
    scratch.reserve(READ_SIZE);
    match syscalls::read_to_spare(pipe, scratch) {
        Ok(count) => count >= READ_SIZE,
        Err(errno) => errno == Errno::EINTR,
    }
}
