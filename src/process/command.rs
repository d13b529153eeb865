//! What the worker asks of a keeper, and what a keeper answers.
//!
//! A command is its own header on the wire. Strings need not be UTF-8: serde skips them here, and `message.rs` sends them beside the header.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::slot_cgroups::CgroupDirs;

/// One task to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The program, an absolute path: it is not looked up in `PATH`.
    #[serde(skip)]
    pub program: PathBuf,
    /// Its arguments, without the program itself.
    #[serde(skip)]
    pub args: Vec<OsString>,
    /// Variables added to, or put in place of, those of the worker.
    #[serde(skip)]
    pub env: Vec<(String, String)>,
    /// Bytes of stdout kept in memory and answered whole; beyond, it goes to `overflow_path`. 0: anything goes to the file.
    pub max_inline: usize,
    /// Of a stdout beyond `max_inline`, how many bytes of its beginning are answered.
    pub head_keep: usize,
    /// Of a stdout beyond `max_inline`, how many bytes of its end are answered.
    pub tail_keep: usize,
    /// How many bytes of the end of stderr are answered. 0: none.
    pub stderr_tail_keep: usize,
    /// The file for a stdout beyond `max_inline`, and for one of a task that exits with 0 and is more than its text. It is created only then, and must
    /// not exist.
    #[serde(skip)]
    pub overflow_path: PathBuf,
    /// The directory of that file as the worker found it at its start; `None` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_dir: Option<crate::safe_dir::DirId>,
    /// Where the keeper has a cgroup: how much memory it and the task may use, in bytes. 0: no limit of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_limit: u64,
    /// Where the keeper has a cgroup: how many processes and threads the task may be. 0: no limit of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub process_limit: u64,
    /// When the right to start it ends, as [`boot::clock_ms`](crate::sys::boot::clock_ms) counts: later its keeper answers `Withdrawn` instead. 0: never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_by_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A request to a keeper. `seq` names the run that is meant; the worker numbers its runs and does not use a number twice in one keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeeperCommand {
    /// Run this when the runs before it have ended. Answered by `Started` or `SpawnFailed`, then `Ended`; or by `Withdrawn` alone.
    Run {
        /// The number of this run.
        seq: u64,
        /// What to run.
        spec: Box<RunSpec>,
    },
    /// The keeper has been moved into the cgroup of its slot: limit and measure there from the next run on. Not answered; where it cannot be done
    /// no run starts.
    Group(CgroupDirs),
    /// SIGTERM to the whole tree of that run, and SIGKILL once `grace_ms` have passed. 0 is SIGKILL at once. A second one may shorten the
    /// grace, never lengthen it. A run that has not started is withdrawn; one that has ended, or was never heard of, is ignored.
    Terminate {
        /// The run that is meant.
        seq: u64,
        /// Milliseconds between SIGTERM and SIGKILL.
        grace_ms: u64,
    },
    /// SIGKILL to the whole tree of that run now, whatever grace is running. Otherwise as `Terminate`.
    Kill {
        /// The run that is meant.
        seq: u64,
    },
    /// Forget that run if it has not started: answered by `Withdrawn`. Ignored when it has.
    Withdraw {
        /// The run that is meant.
        seq: u64,
    },
    /// Say what that run has printed so far, from these positions on, at most [`MOST_SHOWN`] bytes of each stream. Answered by `Output`; of a run
    /// that does not run, with nothing in it.
    Show {
        /// The run that is meant.
        seq: u64,
        /// Position in stdout; `None`: the end of it.
        stdout_from: Option<u64>,
        /// Position in stderr; `None`: the end of it.
        stderr_from: Option<u64>,
    },
}

/// The most bytes of each stream in one answer to `Show`.
pub const MOST_SHOWN: usize = 48 << 10;

/// An answer of a keeper, in the order in which things happened in its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeeperEvent {
    /// The program runs.
    Started {
        /// The run.
        seq: u64,
        /// Process id of its main process.
        pid: i32,
        /// When, milliseconds since the epoch.
        at_ms: u64,
    },
    /// The program could not be started; nothing else follows for this run.
    SpawnFailed {
        /// The run.
        seq: u64,
        /// What the system said, a lower-case fragment.
        error: String,
        /// The machine was short of processes, memory or descriptors: it says nothing about the task, and another time it may start.
        is_transient: bool,
    },
    /// The main process has ended and nothing of its tree is left (or `unkillable` says so).
    Ended(Box<Ended>),
    /// The run was withdrawn before it started; nothing else follows for it.
    Withdrawn {
        /// The run.
        seq: u64,
    },
    /// What a run has printed so far: the answer to `Show`.
    Output(Box<Output>),
    /// The keeper ended at its own start, before anything was asked of it; nothing else follows.
    SetupFailed {
        /// The call that it cannot do without, and what the system said.
        error: String,
    },
}

/// A part of what a run has printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The run.
    pub seq: u64,
    /// Of its standard output.
    pub stdout: Part,
    /// Of its standard error.
    pub stderr: Part,
}

/// A part of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Position of the first byte; later than what was asked for where those before are not kept any more.
    pub at: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Length of the stream so far.
    pub total: u64,
}

/// How a main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It exited with this code; 0 is success.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

/// What is left of stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// All of it.
    Whole(Vec<u8>),
    /// It was longer than `max_inline`.
    Overflowed {
        /// Its first bytes, `head_keep` of them.
        head: Vec<u8>,
        /// Its last bytes, at most `tail_keep`. Never overlaps `head`.
        tail: Vec<u8>,
        /// Length of the whole in bytes.
        total_bytes: u64,
        /// The file that holds the whole, or why there is none.
        file: Result<PathBuf, String>,
    },
}

impl Stdout {
    /// The last bytes of stdout, at most `limit`, as far as they were kept.
    #[must_use]
    pub fn tail(&self, limit: usize) -> &[u8] {
        let kept = match self {
            Self::Whole(bytes) => bytes,
            Self::Overflowed { head, tail, .. } if tail.is_empty() => head,
            Self::Overflowed { tail, .. } => tail,
        };
        &kept[kept.len().saturating_sub(limit)..]
    }

    /// The bytes from a position on, as far as they were kept, and the position of the first of them.
    #[must_use]
    pub fn since(&self, from: u64) -> (u64, &[u8]) {
        let cut =
            |kept: &'_ [u8], at: u64| usize::try_from(from.saturating_sub(at)).unwrap_or(usize::MAX).min(kept.len());
        match self {
            Self::Whole(bytes) => {
                let skipped = cut(bytes, 0);
                (skipped as u64, &bytes[skipped..])
            }
            Self::Overflowed { head, .. } if from < head.len() as u64 => {
                let skipped = cut(head, 0);
                (skipped as u64, &head[skipped..])
            }
            Self::Overflowed { tail, total_bytes, .. } => {
                let begin = total_bytes.saturating_sub(tail.len() as u64);
                let skipped = cut(tail, begin);
                (begin + skipped as u64, &tail[skipped..])
            }
        }
    }

    /// Length of the whole in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Overflowed { total_bytes, .. } => *total_bytes,
        }
    }
}

/// The record of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The run.
    pub seq: u64,
    /// How the main process ended.
    pub status: ExitStatus,
    /// When it was started, milliseconds since the epoch.
    pub start_ms: u64,
    /// When its end was seen, milliseconds since the epoch.
    pub end_ms: u64,
    /// How long it ran, by the monotonic clock: right even when somebody set the time.
    pub duration: Duration,
    /// Peak memory of the largest single process of the tree, in bytes. The kernel counts what the process was before it called `exec`, so
    /// it is never less than what a keeper has resident, a few MiB.
    pub peak_bytes: u64,
    /// Peak memory of the whole tree above what was in use before, as the slot's cgroup counts it, cached files included; `None` where there
    /// is no cgroup, or it cannot tell.
    pub group_peak_bytes: Option<u64>,
    /// Processes of the tree that the kernel killed for want of memory, as the slot's cgroup counts them; 0 without one.
    pub oom_kills: u64,
    /// The task ended as if by SIGKILL, not by ours, and the kernel has killed a process of this machine for want of memory since shortly after
    /// the task started: most likely this.
    pub is_oom_likely: bool,
    /// CPU time of the tree in user mode, as far as its processes were waited for.
    pub cpu_user: Duration,
    /// CPU time of the tree in the kernel.
    pub cpu_system: Duration,
    /// Its standard output.
    pub stdout: Stdout,
    /// Of a task that exited with 0, where a stdout that is here whole and is more than its text was written, or why it could not be; `None` where it
    /// had not to be.
    pub stdout_file: Option<Result<PathBuf, String>>,
    /// The last bytes of its standard error.
    pub stderr_tail: Vec<u8>,
    /// Length of the whole standard error in bytes.
    pub stderr_total: u64,
    /// How many processes of the tree, the main one apart, had to be killed at the end.
    pub leftovers_killed: u32,
    /// Something of the tree did not die by SIGKILL within five seconds (it waits in the kernel). It stays below the keeper.
    pub unkillable: bool,
    /// The main process was ended by our SIGKILL, because the grace ran out or a `Kill` came.
    pub forced_kill: bool,
}
