//! The requests of a worker to the queue, and the replies.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    AttemptRecord, Bytes, Class, FieldOrder, Offer, Outcome, Room, Stocks, TaskId, Traits, Upstream, family,
};
use crate::queue::layout::Layouts;

/// What one running process says of itself, so that others can tell whether it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Random identity of the process.
    pub instance: String,
    /// Host name, in full.
    pub host: String,
    /// Within what a process id names one process: the kernel's boot id and the namespace of process ids.
    pub boot_id: String,
    /// Process id.
    pub pid: u32,
    /// Start of the process in clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
    /// Version of the program.
    pub version: String,
    /// Start, seconds since the epoch.
    pub since: u64,
    /// Which layers of containment are on.
    #[serde(default)]
    pub containment: String,
    /// Which versions of the layout it supports.
    #[serde(default)]
    pub layouts: Layouts,
    /// Seconds of silence after which it counts as dead, rounded up: for those who only read. 0 = not told.
    #[serde(default)]
    pub dead_after_seconds: u64,
}

/// As what a worker takes its name.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// What it offers; `None` while it takes nothing.
    pub offer: Option<Offer>,
    /// What it has beside.
    pub traits: Arc<Traits>,
    /// The field order in which it reads lines; it is recorded where none is. `None` asks nothing and records nothing.
    pub order: Option<FieldOrder>,
    /// An operator has drained it, as far as it knows: that is recorded again where others have emptied the server.
    pub is_drained: bool,
}

/// The score of a priority without a sequence number: smaller is better.
pub(in crate::queue) fn base_score(prio: u16) -> u64 {
    (u64::from(u16::MAX) - u64::from(prio)) << 37
}

/// What a worker asks for.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Names this call; all its claims carry it.
    pub token: String,
    /// How many may start now, and what they may need together.
    pub room: Room,
    /// How many more to claim before a slot is free, 0 for none, and the largest demand of one of them.
    pub prefetch: Room,
    /// The most that the node could give to one task; `None` when it could run none.
    pub offer: Option<Offer>,
    /// What the node has beside memory and cores.
    pub traits: Arc<Traits>,
    /// What of its named resources is free.
    pub free: Stocks,
    /// For how long tasks that prefer labels which this node lacks are left to others.
    pub prefer_wait: Duration,
    /// Silence after which a worker counts as dead.
    pub dead_after: Duration,
    /// How long a task may be passed over before a worker reserves for it.
    pub starve_after: Duration,
    /// Whether to say if anything is left that this node could ever run.
    pub wants_leftovers: bool,
    /// Whether to bring the signatures of the claims too.
    pub wants_signatures: bool,
    /// Lines this worker passes over for now.
    pub skip: Vec<Arc<str>>,
}

/// Whether a worker may take tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueState {
    /// It may.
    Open,
    /// An operator paused the queue.
    Paused,
    /// The stop command is in `todo_tasks`.
    Stopping,
    /// This worker was asked to drain.
    Draining,
    /// Its lines are read in another field order than this worker's.
    OtherOrder,
}

/// One claimed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The task line as it stands in the queue.
    pub line: Arc<str>,
    /// Proves a write comes from this claim.
    pub token: String,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// The batch or step that it belongs to, the first of several; `None` for none, or where that was not asked.
    pub batch: Option<Arc<str>>,
    /// How what it waited for has ended; `None` where it waited for nothing, or where that was not asked.
    pub upstream: Option<Upstream>,
    /// The memory that it declares now; `None` where that was not asked.
    pub mem: Option<Bytes>,
}

impl Claim {
    /// One of which nothing more is known.
    #[must_use]
    pub fn new(line: Arc<str>, token: String, attempt: u32) -> Self {
        Self { line, token, attempt, batch: None, upstream: None, mem: None }
    }
}

/// The answer to a claim.
#[derive(Clone, Debug)]
pub struct ClaimReply {
    /// Whether tasks may be taken.
    pub state: QueueState,
    /// Lines left in `todo_tasks`, the stop command not counted.
    pub waiting: u64,
    /// Lines left in the index; differs from `waiting` when others wrote to the hashes.
    pub indexed: u64,
    /// Whether something is left that this node could run, where it was asked.
    pub has_leftovers: bool,
    /// The task this worker keeps room for.
    pub reserved: Option<String>,
    /// The memory that it declares now; `None` for what its line says.
    pub reserved_mem: Option<Bytes>,
    /// When a retry's waiting time ends.
    pub next_timer: Option<Duration>,
    /// How many of the claims may start now; the rest is prefetched.
    pub now: usize,
    /// The claims, best first.
    pub claims: Vec<Claim>,
    /// What lies beside each claim's line, in the same order, where it was asked for; `None` where there is nothing.
    pub signatures: Vec<Option<Vec<u8>>>,
    /// Claims that must not run, with the reason; taken out of `claims` by who judged their signatures.
    pub unsigned: Vec<(Claim, String)>,
}

/// What to do with one claim.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Settlement {
    /// Exit 0; the value for `finished_tasks`.
    Finish {
        /// `WORKER: JSON`.
        value: String,
    },
    /// Failed; counted.
    Fail {
        /// How it ended.
        #[serde(rename = "kind")]
        outcome: Outcome,
        /// The text for `task_fail_reason`, JSON.
        reason: String,
        /// How long it waits before it may be claimed again after a first failure; longer after more.
        delay: Duration,
        /// Never to be tried again.
        is_final: bool,
        /// How much memory the next attempt is to declare; `None`: as much.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        more_memory: Option<MoreMemory>,
    },
    /// Given back.
    Return,
}

/// How much memory the next attempt is to declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoreMemory {
    /// So much.
    pub wanted: Bytes,
    /// The memory of the node that it ran on, where the largest live node is the bound; `None` where `wanted` is within a bound already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Bytes>,
}

impl MoreMemory {
    /// Where in a reason the script says what the next attempt declares, which it alone knows.
    pub const MARK: char = '\u{1}';
}

/// One entry of a batch of settlements.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settle {
    /// The line.
    pub line: Arc<str>,
    /// Its id.
    pub id: TaskId,
    /// The claim it ran under.
    pub token: String,
    /// What it asks for; `None` for a line that is not a task.
    #[serde(rename = "demand", with = "crate::model::demand::on_disk")]
    pub class: Option<Class>,
    /// The attempt's record; `None` when it never started.
    pub record: Option<AttemptRecord>,
    /// What becomes of it.
    pub settlement: Settlement,
}

impl Settle {
    /// How the attempt ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match (&self.settlement, &self.record) {
            (Settlement::Finish { .. }, _) => Outcome::Exit(0),
            (Settlement::Fail { outcome, .. }, _) => *outcome,
            (Settlement::Return, Some(_)) => Outcome::Returned,
            (Settlement::Return, None) => Outcome::Unstarted,
        }
    }

    /// How much memory the next attempt is to declare; `None`: as much.
    #[must_use]
    pub fn more_memory(&self) -> Option<MoreMemory> {
        match &self.settlement {
            Settlement::Fail { more_memory, .. } => *more_memory,
            Settlement::Finish { .. } | Settlement::Return => None,
        }
    }

    /// The peak in bytes of an attempt that finished, where it was measured.
    pub(super) fn finished_peak(&self) -> Option<u64> {
        let record = self.record.as_ref().filter(|_| matches!(self.settlement, Settlement::Finish { .. }));
        record.and_then(|record| record.peak_bytes)
    }

    /// How long the attempt ran, in milliseconds, if it finished or failed.
    pub(super) fn run_ms(&self) -> Option<u64> {
        let record = self.record.as_ref().filter(|_| !matches!(self.settlement, Settlement::Return))?;
        record.start_ms.map(|start| record.end_ms.saturating_sub(start))
    }

    /// The peak of a finished task in thousandths of the memory that it declared, where both are known.
    pub(super) fn memory_part(&self) -> Option<u64> {
        let record = self.record.as_ref()?;
        let declared = record.declared_bytes.or_else(|| self.class.as_ref().map(|class| class.demand.mem().0))?;
        self.finished_peak()?.saturating_mul(1000).checked_div(declared)
    }

    /// The family of its task, should that belong to no batch; after `=` where its line names it.
    pub(super) fn family(&self) -> String {
        match self.class.as_ref().and_then(|class| class.needs.learn()) {
            Some(family) => format!("={family}"),
            None => family::of_line(&self.line),
        }
    }

    /// Bytes of it in a call, about.
    #[must_use]
    pub fn size(&self) -> usize {
        let text = match &self.settlement {
            Settlement::Finish { value } => value.len(),
            Settlement::Fail { reason, .. } => reason.len(),
            Settlement::Return => 0,
        };
        let tails = self.record.as_ref().map_or(0, |record| record.stdout_tail.len() + record.stderr_tail.len());
        self.line.len() + text + tails
    }
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Recorded as finished or returned.
    Recorded,
    /// Recorded as a failure; it will be tried again.
    WillRetry,
    /// The same, and the next attempt declares more memory.
    WillRetryLarger,
    /// Recorded as a failure; it is out of retries.
    OutOfRetries,
    /// Recorded before; the first answer was lost.
    Duplicate,
    /// The claim is another's now; refused.
    Lost,
    /// The line is nobody's now; refused.
    Gone,
    /// An operator had ordered the task away; that was carried out, and the outcome refused.
    Ordered,
}

/// A claim that an operator's order ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The line.
    pub line: String,
    /// The token of the claim: of a later claim of the same line the order says nothing.
    pub token: String,
}

/// What a heartbeat carries.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// `USEDCORES:TOTALCORES:USEDGB:TOTALGB`, two decimals each.
    pub status: String,
    /// Figures for people, JSON.
    pub load: String,
    /// The most that the node could give to one task; `None` when it takes nothing.
    pub offer: Option<Offer>,
    /// What it has beside.
    pub traits: Arc<Traits>,
    /// Lines that started since the last heartbeat.
    pub started: Vec<Arc<str>>,
    /// Claims ended by an operator's order of which nothing runs here any more.
    pub stopped: Vec<Revoked>,
    /// How many tasks may speak against this worker before it is to pause itself; 0 for any number.
    pub suspect_after: u32,
}

/// What a heartbeat brings back.
#[derive(Clone, Debug, Default)]
pub struct HeartbeatReply {
    /// An operator asked this worker to drain.
    pub drain: bool,
    /// The stop command is there.
    pub stop: bool,
    /// The lines of the queue are read in another field order than this worker's.
    pub other_order: bool,
    /// How many tasks speak against this worker, which is to pause itself; 0 while it is trusted.
    pub suspect: u64,
    /// It may try one task all the same.
    pub may_try: bool,
    /// What to stop running, and then to say so.
    pub revoked: Vec<Revoked>,
}

/// What to do with a line that was running when the connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reasserted {
    /// Still ours.
    Ours,
    /// It had been put back; taken again.
    TakenBack,
    /// No longer ours: kill it, drop its result.
    NotOurs,
}
