//! The messages between a worker and its keepers: commands, and the events that answer them. `codec.rs` turns them into bytes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::raw_bytes;
use super::scratch::ScratchPlace;
use crate::safe_dir::DirId;

/// One task to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The program, an absolute path: it is not looked up in `PATH`.
    #[serde(with = "raw_bytes")]
    pub program: PathBuf,
    /// Its arguments, without the program itself.
    #[serde(with = "raw_bytes")]
    pub args: Vec<OsString>,
    /// Variables that are added to those of the worker, or replace them.
    pub env: Vec<(String, String)>,
    /// A stdout of at most so many bytes is returned whole. A longer one goes to `overflow_path`. 0: every output goes to the file.
    pub max_inline: usize,
    /// How many bytes of the beginning of a longer stdout are returned.
    pub head_keep: usize,
    /// How many bytes of the end of a longer stdout are returned.
    pub tail_keep: usize,
    /// How many bytes of the end of stderr are returned. 0: none.
    pub stderr_tail_keep: usize,
    /// The file for a longer stdout, and for the stdout of a successful task that text cannot represent. It is created when needed, and must not
    /// exist before.
    #[serde(with = "raw_bytes")]
    pub overflow_path: PathBuf,
    /// The directory of that file when the worker started; `None` if it did not exist.
    pub result_dir: Option<DirId>,
    /// Memory limit in bytes for the keeper and the task together, if the slot has a cgroup. 0: no limit.
    pub memory_limit: u64,
    /// Limit of processes and threads of the task, if the slot has a cgroup. 0: no limit.
    pub process_limit: u64,
    /// Until when the run may start, by [`boot::clock_ms`](crate::sys::boot::clock_ms). Later the keeper answers `Recalled`. 0: no limit.
    pub start_by_ms: u64,
    /// Devices that the task has until nothing of its tree is left. If somebody else has one of them, the keeper answers `DeviceBusy`.
    pub devices: Vec<DeviceHold>,
    /// The cores on which the task runs, by number; empty: all that the keeper may use.
    pub cores: Vec<usize>,
    /// Where the task gets a directory of its own, named by `DISTCOMP_SCRATCH` and `TMPDIR`; `None`: it gets none.
    pub scratch: Option<ScratchPlace>,
}

/// A device, or a part of it, that a task has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceHold {
    /// The directory of the locks.
    #[serde(with = "raw_bytes")]
    pub dir: PathBuf,
    /// Name of the resource.
    pub resource: String,
    /// Name of the device.
    pub device: String,
    /// Thousandths of it, 1 to 1000.
    pub amount: u64,
}

/// Version of the cgroup hierarchy. The versions name their files differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// One hierarchy for each controller.
    V1,
    /// One hierarchy for all controllers.
    V2,
}

/// The cgroup directories of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupDirs {
    /// The cgroup that limits memory.
    #[serde(with = "raw_bytes")]
    pub memory: PathBuf,
    /// The cgroup that limits the number of processes; `None`: no limit.
    #[serde(with = "raw_bytes")]
    pub pids: Option<PathBuf>,
    /// Selects the names of the files.
    pub version: Version,
}

/// Names one run of a task inside a worker. Never reused by that worker.
pub type TaskKey = u64;

/// A request to a keeper. `key` names a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeeperCommand {
    /// Start this run when the runs before it have ended. Answered by `Started`, then `Ended`; or by `SpawnFailed`, `DeviceBusy` or
    /// `Recalled` alone.
    Run {
        /// The name of this run.
        key: TaskKey,
        /// What to run.
        spec: Box<RunSpec>,
    },
    /// The worker has moved the keeper into the cgroup of its slot: set limits and measure there from the next run on. Not answered. If the cgroup
    /// cannot be used, no run starts.
    Group(CgroupDirs),
    /// Send SIGTERM to the process tree of the run, and SIGKILL after `grace_ms`. 0: SIGKILL at once. A second command may shorten the grace, but not
    /// lengthen it. A run that has not started is recalled. A run that has ended, or is unknown, is ignored.
    Terminate {
        /// The run.
        key: TaskKey,
        /// Milliseconds between SIGTERM and SIGKILL.
        grace_ms: u64,
    },
    /// Send SIGKILL to the process tree of the run now, even within a grace. Otherwise as `Terminate`.
    Kill {
        /// The run.
        key: TaskKey,
    },
    /// Drop the run if it has not started, which is answered by `Recalled`. Otherwise ignored.
    Recall {
        /// The run.
        key: TaskKey,
    },
    /// Return the output so far from these positions on, at most [`MAX_SHOWN`] bytes of each stream. Answered by `Output`, which is empty for a run
    /// that is not running.
    Show {
        /// The run.
        key: TaskKey,
        /// Position in stdout; `None`: its last bytes.
        stdout_from: Option<u64>,
        /// Position in stderr; `None`: its last bytes.
        stderr_from: Option<u64>,
    },
    /// Move the run to these cores. Not answered; ignored for a run that is over.
    Cores {
        /// The run.
        key: TaskKey,
        /// The cores by number; never empty.
        cores: Vec<usize>,
    },
}

/// The most bytes of each stream in one answer to `Show`.
pub const MAX_SHOWN: usize = 48 << 10;

/// An answer of a keeper. The order is that in which things happened in its slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeeperEvent {
    /// The program runs.
    Started {
        /// The run.
        key: TaskKey,
        /// Process id of its main process.
        pid: i32,
        /// Start time in milliseconds since the epoch.
        at_ms: u64,
    },
    /// The program could not be started. No other event follows for this run.
    SpawnFailed {
        /// The run.
        key: TaskKey,
        /// The cause, a lower-case fragment.
        error: String,
        /// The node was short of processes, memory or descriptors: not a fault of the task, and a later start may succeed.
        is_node_fault: bool,
    },
    /// The main process has ended and no process of its tree is left, or `unkillable` is set.
    Ended(Box<Ended>),
    /// The run was not started, because somebody else has one of its devices: another worker of this node, or what an earlier one left running. No other
    /// event follows for it.
    DeviceBusy {
        /// The run.
        key: TaskKey,
        /// Name of the resource.
        resource: String,
        /// Name of the device.
        device: String,
    },
    /// The run was recalled before it started. No other event follows for it.
    Recalled {
        /// The run.
        key: TaskKey,
    },
    /// The output of a run so far: the answer to `Show`.
    Output(Box<Output>),
    /// The keeper ended before its first run. No other event follows.
    SetupFailed {
        /// The system call that failed, and why.
        error: String,
    },
}

/// A part of the output of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The run.
    pub key: TaskKey,
    /// A part of its standard output.
    pub stdout: Part,
    /// A part of its standard error.
    pub stderr: Part,
}

/// A part of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Position of the first byte. It is later than requested if the bytes before it are no longer kept.
    pub at: u64,
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// Length of the stream so far.
    pub total: u64,
}

/// How a main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited with this code; 0 is success.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

/// What was kept of stdout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdout {
    /// All of it.
    Whole(#[serde(with = "serde_bytes")] Vec<u8>),
    /// It was longer than `max_inline`.
    Overflowed {
        /// Its first `head_keep` bytes.
        #[serde(with = "serde_bytes")]
        head: Vec<u8>,
        /// Its last bytes, at most `tail_keep`. Does not overlap `head`.
        #[serde(with = "serde_bytes")]
        tail: Vec<u8>,
        /// Length of the whole in bytes.
        total_bytes: u64,
        /// The file that holds the whole, or why there is none.
        #[serde(with = "raw_bytes")]
        file: Result<PathBuf, String>,
    },
}

impl Stdout {
    /// The last bytes that were kept, at most `limit`.
    #[must_use]
    pub fn tail(&self, limit: usize) -> &[u8] {
        let kept = match self {
            Self::Whole(bytes) => bytes,
            Self::Overflowed { head, tail, .. } if tail.is_empty() => head,
            Self::Overflowed { tail, .. } => tail,
        };
        &kept[kept.len().saturating_sub(limit)..]
    }

    /// The kept bytes from a position on, and the position of the first of them.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The run.
    pub key: TaskKey,
    /// How the main process ended.
    pub status: ExitStatus,
    /// Start time in milliseconds since the epoch.
    pub start_ms: u64,
    /// When the keeper noticed the end, in milliseconds since the epoch.
    pub end_ms: u64,
    /// How long it ran, by the monotonic clock.
    pub duration: Duration,
    /// Peak memory of the largest process of the tree, in bytes. The kernel includes the time before `exec`, so it is at least the resident memory of a
    /// keeper, a few MiB.
    pub peak_bytes: u64,
    /// Peak memory of the whole tree above what was in use before, page cache included, as the slot's cgroup counts it. `None` without a cgroup, or if
    /// the kernel does not tell.
    pub group_peak_bytes: Option<u64>,
    /// Processes of the tree that the OOM killer killed, as the slot's cgroup counts them. 0 without a cgroup.
    pub oom_kills: u64,
    /// The task ended as if by a SIGKILL that the keeper did not send, and the OOM killer has killed a process of this machine in the meantime: most
    /// likely this one.
    pub is_oom_likely: bool,
    /// CPU time in user mode of all processes of the tree that were waited for.
    pub cpu_user: Duration,
    /// CPU time in the kernel of the same processes.
    pub cpu_system: Duration,
    /// Its standard output.
    pub stdout: Stdout,
    /// For a successful task whose stdout is here whole but is no plain text: the file that holds it, or why there is none. Otherwise `None`.
    #[serde(with = "raw_bytes")]
    pub stdout_file: Option<Result<PathBuf, String>>,
    /// The last bytes of its standard error.
    #[serde(with = "serde_bytes")]
    pub stderr_tail: Vec<u8>,
    /// Length of the whole standard error in bytes.
    pub stderr_total: u64,
    /// How many processes of the tree, without the main one, the keeper had to kill at the end.
    pub leftovers_killed: u32,
    /// A process of the tree did not die of SIGKILL within five seconds, because it waits in the kernel. It stays below the keeper.
    pub unkillable: bool,
    /// The keeper's SIGKILL ended the main process: the grace was over, or a `Kill` came.
    pub forced_kill: bool,
    /// Why the task's scratch directory is still there. The next start of the worker tries to remove it again.
    pub scratch_left: Option<String>,
}
