//! What people and programs are shown: the state of the queue at one moment. Field names are those of `--json`.

use serde::{Deserialize, Serialize};

use super::evidence::AttemptRecord;

/// The state a task line is in, in the words of the hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waiting.
    Todo,
    /// Claimed by a worker.
    InProgress,
    /// Done.
    Finished,
    /// Has failed; while it is in todo as well, it will be tried again.
    Failed,
}

impl TaskState {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Todo, Self::InProgress, Self::Finished, Self::Failed];

    /// `todo`, `in_progress`, `finished`, `failed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::InProgress => "in_progress",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// How many lines are in each hash; the stop command is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// In `todo_tasks`.
    pub todo: u64,
    /// In `in_progress_tasks`.
    pub in_progress: u64,
    /// In `finished_tasks`.
    pub finished: u64,
    /// In `failed_tasks`, those that will be tried again included, as Python DistComp counts them.
    pub failed: u64,
    /// Lines that are not UTF-8, set aside.
    #[serde(default)]
    pub quarantined: u64,
}

impl Counts {
    /// How many are in this state.
    #[must_use]
    pub fn of(&self, state: TaskState) -> u64 {
        match state {
            TaskState::Todo => self.todo,
            TaskState::InProgress => self.in_progress,
            TaskState::Finished => self.finished,
            TaskState::Failed => self.failed,
        }
    }
}

/// The whole queue at a glance. Reading it costs the same at any depth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// How many tasks are where.
    pub counts: Counts,
    /// The workers, by name.
    pub workers: Vec<WorkerView>,
    /// Tasks finished per second over the last minute.
    pub rate_per_second: f64,
    /// Seconds until todo and in progress are empty at that rate; `None` without a rate or without work.
    pub eta_seconds: Option<u64>,
    /// The commonest groups of failures, largest first.
    pub failures: Vec<FailureGroup>,
    /// Whether an operator paused the queue; who and when.
    pub paused: Option<String>,
    /// Whether the stop command is there.
    pub stopping: bool,
    /// Tasks for which a worker keeps room, and since when they wait.
    pub reservations: Vec<Reservation>,
    /// What waits, by what it needs, in the order in which it is to run; at most [`Overview::NEEDS`] kinds.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Kinds of need that are not listed.
    #[serde(default)]
    pub needs_left_out: u64,
    /// Tasks in todo that wait for the end of their backoff.
    #[serde(default)]
    pub backing_off: u64,
    /// Tasks in todo that have failed and will be tried again; those whose time to be passed over has run out are not counted.
    #[serde(default)]
    pub retries: u64,
    /// Totals since the queue began.
    pub totals: Totals,
    /// The server.
    pub redis: RedisHealth,
}

impl Overview {
    /// How many kinds of need are looked at: a sweep has one, few queues have more than some.
    pub const NEEDS: usize = 64;
}

/// Waiting tasks that ask for the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Need {
    /// Memory each asks for, GB.
    pub mem_gb: f64,
    /// Cores each asks for.
    pub cores: f64,
    /// Workers that have failed them, and leave them to others for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_on: Vec<String>,
    /// How many there are.
    pub waiting: u64,
}

/// What holds one task back, as the queue knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Seconds until the end of its backoff.
    pub backoff_seconds: Option<u64>,
    /// Seconds for which the workers that have failed it leave it to others.
    pub left_to_others_seconds: Option<u64>,
    /// Of one in progress: whether it has a slot; `false` for one claimed ahead of one.
    pub has_slot: Option<bool>,
}

/// A task that waits for room, and the worker that keeps it free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The worker.
    pub worker: String,
    /// The task line.
    pub line: String,
}

/// Totals since the queue began; requeued and purged tasks stay counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Attempts that finished.
    pub finished: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that timed out, counted in `failed` too.
    pub timed_out: u64,
    /// Attempts given back.
    pub returned: u64,
    /// Attempts whose worker died.
    pub lost: u64,
    /// Late results that were refused.
    pub fenced: u64,
    /// Lines that were not tasks.
    pub invalid: u64,
}

/// Whether a worker can be expected to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Beats and takes tasks.
    Live,
    /// Beats and takes nothing new.
    Draining,
    /// No heartbeat for a while, not yet declared dead.
    Silent,
    /// Declared dead; its tasks are being taken over.
    Dead,
    /// Known by its `worker_status` alone: a Python worker.
    Python,
}

impl WorkerState {
    /// For tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Draining => "draining",
            Self::Silent => "silent",
            Self::Dead => "dead",
            Self::Python => "python",
        }
    }
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// Whether it can be expected to act.
    pub state: WorkerState,
    /// Seconds since the last heartbeat; `None` when there is none.
    pub heartbeat_age_seconds: Option<u64>,
    /// Cores in use on its node.
    pub cores_used: f64,
    /// Cores of its node.
    pub cores_total: f64,
    /// Memory in use on its node, GB.
    pub mem_used_gb: f64,
    /// Memory of its node, GB.
    pub mem_total_gb: f64,
    /// Attempts it finished since the queue began.
    pub finished: u64,
    /// Attempts that failed on it.
    pub failed: u64,
    /// Attempts it gave back.
    pub returned: u64,
    /// Attempts that timed out on it, counted in `failed` too.
    pub timed_out: u64,
    /// What it said of itself at its last heartbeat; `None` for a Python worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<WorkerLoad>,
    /// Its host and version; `None` for a Python worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<WorkerProcess>,
}

/// What a worker says of itself at each heartbeat, kept as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerLoad {
    /// Tasks running.
    pub running: u32,
    /// Slots.
    pub slots: u32,
    /// Tasks claimed and not started.
    #[serde(default)]
    pub held: u32,
    /// Why it takes nothing now, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// The task it keeps room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<String>,
    /// Results refused because the claim was lost.
    #[serde(default)]
    pub fenced: u64,
    /// Reconnects to Redis.
    #[serde(default)]
    pub reconnects: u64,
    /// Tasks that have run for a while, longest first; of many, the first [`WorkerLoad::TASKS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<RunningTask>,
}

impl WorkerLoad {
    /// Running tasks that a heartbeat names at most.
    pub const TASKS: usize = 64;
}

/// A task that runs, as its worker saw it at its last heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningTask {
    /// Its id.
    pub id: String,
    /// The first 200 characters of its line.
    pub line: String,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Seconds it had run by then.
    pub seconds: u64,
    /// Its limit in seconds; 0 = none.
    pub limit: u64,
    /// Memory that its tree held, bytes; 0 before the first look.
    pub mem_bytes: u64,
}

/// The process of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProcess {
    /// Its host.
    pub host: String,
    /// Process id there.
    pub pid: u32,
    /// Version of the program.
    pub version: String,
    /// Start, seconds since the epoch.
    pub since: u64,
    /// Which layers of containment are on.
    pub containment: String,
}

/// The server's own state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisHealth {
    /// Version of the server.
    pub version: String,
    /// Bytes of memory in use.
    pub used_memory: u64,
    /// Limit in bytes; 0 = none.
    pub max_memory: u64,
    /// What it does at the limit; anything but `noeviction` loses tasks.
    pub eviction_policy: String,
    /// Whether an append-only file is kept.
    pub append_only: bool,
    /// Connections.
    pub clients: u64,
    /// It is a replica: nothing can be written here.
    #[serde(default)]
    pub is_replica: bool,
    /// The last write of its append-only file or of a snapshot failed.
    #[serde(default)]
    pub cannot_save: bool,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureGroup {
    /// The kind, such as `exit 3` or `timed out`.
    pub kind: String,
    /// How many lines.
    pub count: u64,
    /// The workers, where they were looked up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<String>,
    /// One of the lines.
    pub sample: String,
    /// The reason recorded for that line, where it was looked up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl FailureGroup {
    /// Failures that are looked at for the names of workers, where all would be too many.
    pub const LOOKED_AT: usize = 500;
}

/// Everything known about one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// Its id.
    pub id: String,
    /// Its line.
    pub line: String,
    /// Where it is. A task to be tried again is in todo and in failed; an unknown one nowhere.
    pub states: Vec<TaskState>,
    /// The worker that has it in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// `WORKER: JSON` of a finished one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The workers it failed on, with repeats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_on: Vec<String>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often a worker was lost while running it.
    #[serde(default)]
    pub lost: u64,
    /// Every attempt kept, oldest first.
    pub attempts: Vec<AttemptView>,
}

/// One attempt, in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Attempt number, from 1.
    pub attempt: u32,
    /// The worker.
    pub worker: String,
    /// How it ended: `exit 0`, `signal 9 (SIGKILL)`, `timed out after 300 s`, `returned`, ….
    pub result: String,
    /// Exit code, where it exited.
    pub exit_code: Option<i32>,
    /// Signal, where one ended it.
    pub signal: Option<i32>,
    /// Start, seconds since the epoch.
    pub start: Option<f64>,
    /// End, seconds since the epoch.
    pub end: f64,
    /// Peak memory in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Where that was read: `cgroup` or `largest_process`.
    pub peak_memory_source: Option<String>,
    /// The last 4 KiB of stdout, of a failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout_tail: String,
    /// The last 4 KiB of stderr, of a failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr_tail: String,
}

impl From<AttemptRecord> for AttemptView {
    fn from(record: AttemptRecord) -> Self {
        use super::evidence::{AttemptEnd, PeakSource};
        use super::outcome::FailureKind;
        let (result, exit_code, signal) = match record.end {
            AttemptEnd::Exit(code) => (FailureKind::Exit(code).to_string(), Some(code), None),
            AttemptEnd::Signal(number) => (FailureKind::Signal(number).to_string(), None, Some(number)),
            AttemptEnd::TimedOut(limit) => (FailureKind::TimedOut(limit).to_string(), None, None),
            AttemptEnd::Spawn => (FailureKind::Spawn.to_string(), None, None),
            AttemptEnd::Returned => ("returned".to_owned(), None, None),
            AttemptEnd::Memory => (FailureKind::Memory.to_string(), None, None),
            AttemptEnd::Lost => ("worker lost".to_owned(), None, None),
            AttemptEnd::Cancelled => (FailureKind::Cancelled.to_string(), None, None),
            AttemptEnd::Invalid => (FailureKind::Invalid.to_string(), None, None),
        };
        let seconds = |ms: u64| ms as f64 / 1000.0;
        Self {
            attempt: record.attempt,
            worker: record.worker.to_string(),
            result,
            exit_code,
            signal,
            start: record.start_ms.map(seconds),
            end: seconds(record.end_ms),
            peak_memory_bytes: record.peak_bytes,
            peak_memory_source: record.peak_source.map(|source| {
                match source {
                    PeakSource::Cgroup => "cgroup",
                    PeakSource::LargestProcess => "largest_process",
                }
                .to_owned()
            }),
            stdout_tail: record.stdout_tail,
            stderr_tail: record.stderr_tail,
        }
    }
}
