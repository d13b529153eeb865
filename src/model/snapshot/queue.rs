//! What the commands show of the whole queue.

use serde::{Deserialize, Serialize, Serializer};

use super::autoscaler::AutoscalerView;
use super::batch::Awaited;
use super::counts::Counts;
use super::limit::LimitView;
use super::progress::ProgressParts;
use super::share::ShareView;
use super::worker::WorkerView;
use crate::model::spread::Spread;
use crate::model::{BatchHold, Demand, FailureKind, Needs};

/// The whole queue at a glance. Reading it costs the same at any depth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The private queue of a `--local` directory: its tasks are run by `distcomp run` alone.
    #[serde(skip)]
    pub is_local: bool,
    /// How many tasks are where.
    pub counts: Counts,
    /// The workers, by name.
    pub workers: Vec<WorkerView>,
    /// Tasks finished per second over the last minute.
    pub rate_per_second: f64,
    /// Tasks out of retries per second over the last minute.
    #[serde(default)]
    pub failed_per_second: f64,
    /// Seconds until all that the workers there can run has ended; `None` until there is something to go by, and without such work.
    pub eta_seconds: Option<u64>,
    /// The commonest groups of failures, largest first.
    pub failures: Vec<FailureGroup>,
    /// Whether an operator paused the queue; who and when.
    pub paused: Option<String>,
    /// Whether the stop command is there.
    pub stopping: bool,
    /// Tasks in progress that an operator has ordered away and whose worker has not yet stopped them.
    #[serde(default)]
    pub ordered: u64,
    /// Tasks for which a worker keeps room, and since when they wait.
    pub reservations: Vec<ReservationView>,
    /// What waits, by what it needs, in the order in which it is to run; at most [`Overview::NEEDS`] kinds.
    #[serde(default)]
    pub needs: Vec<WaitingGroup>,
    /// Kinds of need that are not listed.
    #[serde(default)]
    pub needs_left_out: u64,
    /// Tasks in todo that wait for the end of their backoff.
    #[serde(default)]
    pub backing_off: u64,
    /// Tasks in todo that have failed and will be tried again; those whose time to be passed over has run out are not counted.
    #[serde(default)]
    pub retries: u64,
    /// Tasks in todo and in progress that have failed before.
    #[serde(default)]
    pub retrying: u64,
    /// What waits of kinds beyond [`Overview::NEEDS`] and fits no worker.
    #[serde(skip)]
    pub rare_needs: Vec<WaitingGroup>,
    /// How many failed tasks there are of each kind, most first; cancelled tasks are not failures.
    #[serde(skip)]
    pub failure_kinds: Vec<(String, u64)>,
    /// How times and memory of tasks are spread.
    #[serde(skip)]
    pub spread: Spread,
    /// What most of the blocked tasks wait for, the most first.
    #[serde(default)]
    pub blocked_on: Vec<BlockedOn>,
    /// Whose tasks come first among those of equal priority, where that is not the order of submission.
    #[serde(default)]
    pub fair_share: Option<ShareView>,
    /// The limits that are set, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitView>,
    /// The autoscalers that are at work, or have ended without saying so; by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub autoscalers: Vec<AutoscalerView>,
    /// Totals since the queue began.
    pub totals: Totals,
    /// The server.
    pub redis: RedisHealth,
    /// When it was read, seconds since the epoch by the server's clock.
    #[serde(skip)]
    pub now: u64,
}

impl Overview {
    /// Whether this is a private queue whose run has ended: nothing in it goes on, whatever the hashes say.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.is_local && self.workers.is_empty()
    }

    /// How far the tasks have come.
    #[must_use]
    pub fn progress(&self) -> ProgressParts {
        ProgressParts::of_queue(&self.counts, self.retrying.max(self.retries))
    }

    /// How many kinds of need are looked at: a sweep has one, few queues have more than some.
    pub const NEEDS: usize = 64;

    /// Tasks that ended for good per second over the last minute: finished, or out of retries.
    #[must_use]
    pub fn ended_per_second(&self) -> f64 {
        self.rate_per_second + self.failed_per_second
    }

    /// Whether a live worker could run what waits so.
    #[must_use]
    pub fn fits_somewhere(&self, need: &WaitingGroup) -> bool {
        let needs = need.needs();
        self.workers.iter().any(|worker| worker.takes_tasks() && worker.could_run(&need.demand, &needs, self.now))
    }

    /// What waits for a node that is not there.
    pub fn fits_nowhere(&self) -> impl Iterator<Item = &WaitingGroup> {
        self.needs.iter().chain(&self.rare_needs).filter(|need| !self.fits_somewhere(need))
    }

    /// How many tasks wait for a node that is not there; `None` where no worker takes any task, and so nothing can be said.
    #[must_use]
    pub fn unrunnable(&self) -> Option<u64> {
        let is_known = self.workers.iter().any(WorkerView::takes_tasks);
        is_known.then(|| self.fits_nowhere().map(|need| need.waiting).fold(0, u64::saturating_add))
    }
}

/// Waiting tasks that ask for the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitingGroup {
    /// What each asks for.
    #[serde(flatten)]
    pub demand: Demand,
    /// What each needs beside, as the index writes it; empty for nothing. In JSON an object, as of a task.
    #[serde(skip_serializing_if = "String::is_empty", skip_deserializing, serialize_with = "as_object")]
    pub needs: String,
    /// Workers that have failed them, and leave them to others for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_on: Vec<String>,
    /// How many there are.
    pub waiting: u64,
}

impl WaitingGroup {
    /// What each needs beside its demand.
    #[must_use]
    pub fn needs(&self) -> Needs {
        Needs::of_class(&self.needs).unwrap_or_default()
    }
}

fn as_object<S: Serializer>(needs: &str, serializer: S) -> Result<S::Ok, S::Error> {
    Needs::of_class(needs).unwrap_or_default().serialize(serializer)
}

/// What holds one task back, as the queue knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReasons {
    /// Seconds until the end of its backoff.
    pub backoff_seconds: Option<u64>,
    /// Seconds for which the workers that have failed it leave it to others.
    pub left_to_others_seconds: Option<u64>,
    /// Of one in progress: whether it has a slot; `false` for one claimed ahead of one.
    pub has_slot: Option<bool>,
    /// Of one that has failed: the group of its failure, of a Python worker's too. See [`HoldReasons::failure_kind`].
    pub failure_group: Option<String>,
    /// The gates that keep it from starting.
    pub waits_for: Vec<BlockedOn>,
    /// Why its batch is held.
    pub held: Option<BatchHold>,
}

impl HoldReasons {
    /// The kind of the failure; `None` where it has none that this build records.
    #[must_use]
    pub fn failure_kind(&self) -> Option<FailureKind> {
        self.failure_group.as_deref().and_then(FailureKind::named)
    }
}

/// What blocked tasks wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedOn {
    /// How many tasks wait behind this gate.
    pub waiting: u64,
    /// The batch or step and how it stands; `None` of a time.
    pub batch: Option<Awaited>,
    /// The time, in seconds since the epoch.
    pub begin: Option<u64>,
}

/// A task that waits for room, and the worker that keeps it free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationView {
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
    /// Failed attempts after which the task was tried again.
    #[serde(default)]
    pub retried: u64,
    /// Tasks that failed for good.
    #[serde(default)]
    pub failed_for_good: u64,
    /// Workers that were declared dead.
    #[serde(default)]
    pub workers_died: u64,
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
    /// Client connections to the server.
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
