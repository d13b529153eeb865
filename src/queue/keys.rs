//! The only place that knows the names of keys: the six hashes shared with Python DistComp, and ours under `distcomp:`.

use crate::model::WorkerName;

/// The field in `todo_tasks` that tells every worker to stop. Never a task, never counted.
pub const STOP_FIELD: &str = "WORKER_COMMAND_CLOSE";

/// A key of the queue. Each script declares the ones it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// `todo_tasks`: line → `""`.
    Todo,
    /// Hash line → `""`: lines with needs wait here, where no Python worker looks.
    Waiting,
    /// `in_progress_tasks`: line → worker.
    InProgress,
    /// `finished_tasks`: line → `WORKER: JSON`.
    Finished,
    /// `failed_tasks`: line → `w1,w2,`.
    Failed,
    /// Hash line → `""`: the lines of `failed_tasks` that wait or run again, see `lua/shared/failures.lua`.
    Retrying,
    /// `task_fail_reason`: line → JSON string.
    Reason,
    /// `worker_status`: worker → `UNIXSECONDS:USEDCORES:TOTALCORES:USEDGB:TOTALGB`.
    Status,
    /// String: version of the layout, see [`super::layout`].
    Format,
    /// String: the field order in use.
    FieldOrder,
    /// String that exists while the queue is paused: who and when.
    Paused,
    /// Hash worker → `instance:epoch`, the fence.
    Owner,
    /// Hash worker → registration (JSON).
    Workers,
    /// Hash worker → load at the last heartbeat (JSON).
    Load,
    /// Hash worker → `MEM:CPU:RESOURCES:LABELS:END` of live workers that take tasks.
    Capacity,
    /// Hash worker → when it was asked to drain.
    Drain,
    /// Hash worker → `DECLARED|BEAT|RETURNED|FAILED`: workers that were declared dead, see `lua/shared/deaths.lua`.
    Died,
    /// Hash of one worker: line → `TOKEN|ATTEMPT|STARTED|SCORE|MS`.
    Claims,
    /// Prefix of all [`Key::Claims`].
    ClaimsOf,
    /// Hash of one worker: line → token of the claim under which it must stop running it.
    Revoked,
    /// Prefix of all [`Key::Revoked`].
    RevokedOf,
    /// Hash line → what an operator ordered for it while it ran, until its worker has stopped it: `OP|WORKER|TOKEN|ID|CLASS|SCORE|RECORD`.
    Marks,
    /// Hash `TOKEN|LINE` → second in which that attempt was given up for an order while its worker was silent: its result is refused.
    Refused,
    /// Hash line → how often a worker was lost while running it.
    Lost,
    /// Hash line → `LEVEL|MS`: a suspect, what had or may have had a slot when its worker was lost, and how long it had run at most.
    Apart,
    /// Hash worker → `SINCE|MS|LINE`, the suspect that it runs apart and for how long; while it is reclaimed `WHO|LINE`. Field `""` → `WORKER|UNTIL|SINCE`,
    /// the one that makes room to run one.
    ApartBy,
    /// Hash line → attempts so far, for lines with more than none.
    Attempts,
    /// Hash line → bytes that its next attempt declares, after attempts that were killed for memory.
    Grown,
    /// Hash family → what its tasks have been seen to need, see `lua/shared/learnt.lua`.
    Learnt,
    /// Hash task id → attempts' records, one JSON object a line.
    Evidence,
    /// Hash line → reason, for lines that are not UTF-8.
    Quarantine,
    /// Hash line → its score: waiting lines of other command lines, in a queue of `--local`, see [`super::aside`].
    Aside,
    /// Hash line → `FLAG NAMES[ TAGS]`: which batches it belongs to, see `lua/shared/members.lua`.
    Member,
    /// Hash batch → its record (JSON), see [`super::batches`].
    Batches,
    /// Hash of counters of members, by name and suffix.
    BatchN,
    /// Hash batch → why it is held: `paused by ann`, `stopped: 101 failed, --max-fails 100`.
    BatchHeld,
    /// Hash `BATCH<tab>ID` → `START:LAST` in seconds, of a submission under way; `ended`, or `over` where its batch ended with it,
    /// until a worker takes it away.
    BatchSubmits,
    /// Hash name → by whom: what waits for it need not.
    BatchWaived,
    /// Hash batch → how many of its tasks have failed for good by themselves.
    BatchFails,
    /// Hash batch → `BUCKET:COUNT,…`, finished tasks of the last buckets of five seconds.
    BatchRate,
    /// Hash of what an operator has decided for the queue: `fair_share`, `weight:OWNER`, see [`super::share`].
    Policy,
    /// Hash limit → `MAX` or `MAX/PER_NODE`.
    Limits,
    /// Prefix of sets by limit: the lines that count against it now, see `lua/shared/limits.lua`.
    LimitsIn,
    /// Hash line → `HOST<tab>WORKER`: where a line counts that is in one of those sets.
    LimitsAt,
    /// Hash line → its signature, for lines that were submitted signed.
    Signatures,
    /// Hash line → `ID,…`: the ids that a task had before an operator edited its line, the last first; `+ID,…` while that is done.
    Edited,
    /// Hash worker → JSON, tasks that failed there and then finished elsewhere; see `lua/shared/blame.lua`.
    Blamed,
    /// String: the random identity of the queue that signatures are made for.
    QueueId,
    /// Hash of histograms of times and memory, see `lua/shared/spread.lua`.
    Spread,
    /// Hash of counters: `finished`, `failed:WORKER`, ….
    Tally,
    /// Hash, a ring of 16 five-second buckets of finished tasks.
    Rate,
    /// Hash group of failures → how many lines.
    Groups,
    /// Hash group of failures → one line.
    Samples,
    /// Hash line → its group of failures.
    Kinds,
    /// Prefix of sorted sets by group of failures: line → when it failed last, ms; see `lua/shared/failures.lua`.
    KindsOf,
    /// Stream: the lines that have finished, in the order in which they did; see `lua/settle.lua`.
    Ended,
    /// Prefix of the index.
    Ready,
    /// String: last sequence number.
    Sequence,
    /// String: lines in the index.
    Count,
    /// Sorted set cell → best score in it; a cell is lanes of like size.
    Cells,
    /// Hash line → `PHASE|SCORE|LANE`, for retries.
    Held,
    /// Sorted set line → end of its backoff, ms.
    Delayed,
    /// Sorted set line → until when failed workers pass it over, ms.
    RetryElsewhere,
    /// Hash lane → `SINCE|LINE`: passed over since.
    Blocked,
    /// Hash lane → `WORKER|UNTIL`: reserved by.
    Reserved,
    /// String with an expiry, there while the last pass over `todo_tasks` is fresh.
    Scan,
    /// String with an expiry: who scans.
    ScanLock,
    /// String with an expiry: who compares what is derived with the truth, or has done so a moment ago.
    MendLock,
    /// String with an expiry: who does what is to be done about batches.
    ReleaseLock,
    /// String with an expiry: who looks for dead workers.
    ReclaimLock,
    /// Hash autoscaler → JSON, how it stands; see [`super::autoscale`].
    Autoscale,
    /// Prefix of strings with an expiry, by autoscaler: who is the one of that name.
    AutoscaleLocks,
    /// Hash worker → `MEM:CPU:SLOTS:RESOURCES`, the room of those that found nothing for it.
    Idle,
    /// Stream: the event log, see [`super::events`].
    Events,
    /// Stream: the history of the queue, see [`super::history`].
    History,
    /// Prefix of the channels on which a worker answers those who follow a task's output, see [`super::follow`]. Not a key.
    Output,
    /// Prefix of the channels on which each worker hears from those who follow a task's output. Not a key.
    Follow,
    /// Channel, not a key: `todo` when there is something for everybody, `beat:WORKER` when a worker is wanted. Each worker listens on one of its
    /// own besides, this name and `:WORKER`.
    Wake,
}

impl Key {
    /// The hashes that are Python DistComp's too, and that anybody may write to.
    pub(super) const SHARED: [Self; 6] =
        [Self::Todo, Self::InProgress, Self::Finished, Self::Failed, Self::Reason, Self::Status];

    /// The name of the local variable that holds this key in a script.
    pub(super) fn lua(self) -> &'static str {
        match self {
            Self::Todo => "TODO",
            Self::Waiting => "WAITING",
            Self::InProgress => "IN_PROGRESS",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Retrying => "RETRYING",
            Self::Reason => "REASON",
            Self::Status => "STATUS",
            Self::Format => "FORMAT",
            Self::FieldOrder => "FIELD_ORDER",
            Self::Paused => "PAUSED",
            Self::Owner => "OWNER",
            Self::Workers => "WORKERS",
            Self::Load => "LOAD",
            Self::Capacity => "CAPACITY",
            Self::Drain => "DRAIN",
            Self::Died => "DIED",
            Self::Claims => "CLAIMS",
            Self::ClaimsOf => "CLAIMS_OF",
            Self::Revoked => "REVOKED",
            Self::RevokedOf => "REVOKED_OF",
            Self::Marks => "MARKS",
            Self::Refused => "REFUSED",
            Self::Lost => "LOST",
            Self::Apart => "APART",
            Self::ApartBy => "APART_BY",
            Self::Attempts => "ATTEMPTS",
            Self::Grown => "GROWN",
            Self::Learnt => "LEARNT",
            Self::Evidence => "EVIDENCE",
            Self::Quarantine => "QUARANTINE",
            Self::Aside => "ASIDE",
            Self::Member => "MEMBER",
            Self::Batches => "BATCHES",
            Self::BatchN => "BATCH_N",
            Self::BatchHeld => "BATCH_HELD",
            Self::BatchSubmits => "BATCH_SUBMITS",
            Self::BatchWaived => "BATCH_WAIVED",
            Self::BatchFails => "BATCH_FAILS",
            Self::BatchRate => "BATCH_RATE",
            Self::Policy => "POLICY",
            Self::Limits => "LIMITS",
            Self::LimitsIn => "LIMITS_IN",
            Self::LimitsAt => "LIMITS_AT",
            Self::Signatures => "SIGNATURES",
            Self::Edited => "EDITED",
            Self::Blamed => "BLAMED",
            Self::QueueId => "QUEUE_ID",
            Self::Spread => "SPREAD",
            Self::Tally => "TALLY",
            Self::Rate => "RATE",
            Self::Groups => "GROUPS",
            Self::Samples => "SAMPLES",
            Self::Kinds => "KINDS",
            Self::KindsOf => "KINDS_OF",
            Self::Ended => "ENDED",
            Self::Ready => "READY",
            Self::Sequence => "SEQ",
            Self::Count => "COUNT",
            Self::Cells => "CELLS",
            Self::Held => "HELD",
            Self::Delayed => "DELAYED",
            Self::RetryElsewhere => "RETRY_ELSEWHERE",
            Self::Blocked => "BLOCKED",
            Self::Reserved => "RESERVED",
            Self::Scan => "SCAN",
            Self::ScanLock => "SCAN_LOCK",
            Self::MendLock => "MEND_LOCK",
            Self::ReleaseLock => "RELEASE_LOCK",
            Self::ReclaimLock => "RECLAIM_LOCK",
            Self::Autoscale => "AUTOSCALE",
            Self::AutoscaleLocks => "AUTOSCALE_LOCKS",
            Self::Idle => "IDLE",
            Self::Events => "EVENTS",
            Self::History => "HISTORY",
            Self::Output => "OUTPUT",
            Self::Follow => "FOLLOW",
            Self::Wake => "WAKE",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Todo => "todo_tasks",
            Self::Waiting => "distcomp:waiting",
            Self::InProgress => "in_progress_tasks",
            Self::Finished => "finished_tasks",
            Self::Failed => "failed_tasks",
            Self::Retrying => "distcomp:failures:retrying",
            Self::Reason => "task_fail_reason",
            Self::Status => "worker_status",
            Self::Format => "distcomp:format",
            Self::FieldOrder => "distcomp:field_order",
            Self::Paused => "distcomp:paused",
            Self::Owner => "distcomp:owner",
            Self::Workers => "distcomp:workers",
            Self::Load => "distcomp:load",
            Self::Capacity => "distcomp:capacity",
            Self::Drain => "distcomp:drain",
            Self::Died => "distcomp:died",
            Self::Claims | Self::ClaimsOf => "distcomp:claims:",
            Self::Revoked | Self::RevokedOf => "distcomp:revoked:",
            Self::Marks => "distcomp:marks",
            Self::Refused => "distcomp:refused",
            Self::Lost => "distcomp:lost",
            Self::Apart => "distcomp:apart",
            Self::ApartBy => "distcomp:apart:by",
            Self::Attempts => "distcomp:attempts",
            Self::Grown => "distcomp:grown",
            Self::Learnt => "distcomp:learnt",
            Self::Evidence => "distcomp:evidence",
            Self::Quarantine => "distcomp:quarantine",
            Self::Aside => "distcomp:aside",
            Self::Member => "distcomp:member",
            Self::Batches => "distcomp:batches",
            Self::BatchN => "distcomp:batch:n",
            Self::BatchHeld => "distcomp:batch:held",
            Self::BatchSubmits => "distcomp:batch:submits",
            Self::BatchWaived => "distcomp:batch:waived",
            Self::BatchFails => "distcomp:batch:fails",
            Self::BatchRate => "distcomp:batch:rate",
            Self::Policy => "distcomp:policy",
            Self::Limits => "distcomp:limits",
            Self::LimitsIn => "distcomp:limits:in:",
            Self::LimitsAt => "distcomp:limits:at",
            Self::Signatures => "distcomp:signatures",
            Self::Edited => "distcomp:edited",
            Self::Blamed => "distcomp:suspects",
            Self::QueueId => "distcomp:queue_id",
            Self::Spread => "distcomp:spread",
            Self::Tally => "distcomp:tally",
            Self::Rate => "distcomp:rate",
            Self::Groups => "distcomp:failures:groups",
            Self::Samples => "distcomp:failures:samples",
            Self::Kinds => "distcomp:failures:kinds",
            Self::KindsOf => "distcomp:failures:of:",
            Self::Ended => "distcomp:ended",
            Self::Ready => "distcomp:ready:",
            Self::Sequence => "distcomp:ready:sequence",
            Self::Count => "distcomp:ready:count",
            Self::Cells => "distcomp:ready:cells",
            Self::Held => "distcomp:ready:held",
            Self::Delayed => "distcomp:ready:delayed",
            Self::RetryElsewhere => "distcomp:ready:avoided",
            Self::Blocked => "distcomp:ready:blocked",
            Self::Reserved => "distcomp:ready:reserved",
            Self::Scan => "distcomp:ready:scan",
            Self::ScanLock => "distcomp:ready:scan_lock",
            Self::MendLock => "distcomp:ready:mend_lock",
            Self::ReleaseLock => "distcomp:ready:release_lock",
            Self::ReclaimLock => "distcomp:reclaim_lock",
            Self::Autoscale => "distcomp:autoscale",
            Self::AutoscaleLocks => "distcomp:autoscale:lock:",
            Self::Idle => "distcomp:ready:idle",
            Self::Events => "distcomp:events",
            Self::History => "distcomp:history",
            Self::Output => "distcomp:output:",
            Self::Follow => "distcomp:follow:",
            Self::Wake => "distcomp:wake",
        }
    }
}

/// Where a line waits: with a comma in its type field it has needs. The scripts say the same (`lua/shared/home.lua`).
pub(super) fn home(line: &str) -> Key {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    if rest.len() < line.len() && rest.starts_with(',') { Key::Waiting } else { Key::Todo }
}

/// Names of keys under one `redis_key_prefix`.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Keys under `prefix`, which may be empty.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The full name of a key that belongs to no worker in particular.
    #[must_use]
    pub fn name(&self, key: Key) -> String {
        format!("{}{}", self.prefix, key.suffix())
    }

    /// Appends what [`Self::name`] answers, or with a worker [`Self::name_for`].
    pub(super) fn write_for(&self, key: Key, worker: Option<&WorkerName>, out: &mut String) {
        out.push_str(&self.prefix);
        out.push_str(key.suffix());
        if let (Some(worker), Key::Claims | Key::Revoked) = (worker, key) {
            out.push_str(worker.as_str());
        }
    }

    /// The full name of a key, a worker's own where [`Key::Claims`] or [`Key::Revoked`] is asked for.
    #[must_use]
    pub fn name_for(&self, key: Key, worker: &WorkerName) -> String {
        if matches!(key, Key::Claims | Key::Revoked) {
            format!("{}{}{worker}", self.prefix, key.suffix())
        } else {
            self.name(key)
        }
    }
}
