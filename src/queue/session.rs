//! What a worker does to the queue: attach, beat, claim, settle, reassert, detach.
//!
//! Every write is one script and carries `instance:epoch`, so that a late command of an old connection, a zombie and a twin are refused by one check.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::{Args, Connection};
use super::error::QueueError;
use super::keys::Key;
use super::scripts;
use crate::model::{AttemptRecord, Bytes, FailureKind, MilliCores, TaskId, TaskLine, WorkerName};

/// How long a worker that failed a task leaves it to others that could run it (CONTRACT 4).
pub const AVOID: Duration = Duration::from_secs(60);

/// How long the best waiting task may be passed over for lack of room before a worker reserves for it.
pub const STARVE: Duration = Duration::from_secs(60);

/// What one running process says of itself, so that others can tell whether it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Random identity of the process.
    pub instance: String,
    /// Host name, in full.
    pub host: String,
    /// The kernel's boot id.
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
}

/// The demand of a task as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Demand {
    /// DRAM.
    pub mem: Bytes,
    /// Cores.
    pub cpu: MilliCores,
}

impl Demand {
    /// Nothing.
    pub const NONE: Self = Self { mem: Bytes::ZERO, cpu: MilliCores::ZERO };

    /// The demand of a task.
    #[must_use]
    pub fn of(task: &TaskLine) -> Self {
        Self { mem: task.mem(), cpu: task.cpu() }
    }

    /// The class in the index of a task that nobody has failed.
    pub(super) fn class(self) -> Class {
        Class(self)
    }

    fn capacity(self) -> String {
        format!("{}:{}", self.mem.0, self.cpu.0)
    }
}

/// Shows a class as the index names it.
#[derive(Clone, Copy)]
pub(super) struct Class(Demand);

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.0.mem.0, self.0.cpu.0)
    }
}

/// The score of a priority without a sequence number: smaller is better.
pub(super) fn base_score(prio: u16) -> u64 {
    (u64::from(u16::MAX) - u64::from(prio)) << 37
}

/// What a worker asks for.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Names this call; all its claims carry it.
    pub token: String,
    /// How many may start now.
    pub slots: u32,
    /// What those may need together.
    pub headroom: Demand,
    /// How many more to claim ahead of free slots; 0 = none.
    pub ahead: u32,
    /// The largest demand of one claimed ahead.
    pub ahead_demand: Demand,
    /// What the node has in all.
    pub capacity: Demand,
    /// Silence after which a worker counts as dead.
    pub dead_after: Duration,
    /// How long a task may be passed over before a worker reserves for it.
    pub starve_after: Duration,
    /// Whether to say if anything is left that this node could ever run.
    pub wants_leftovers: bool,
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
    /// When a retry's waiting time ends.
    pub next_timer: Option<Duration>,
    /// How many of the claims may start now; the rest is claimed ahead.
    pub now: usize,
    /// The claims, best first.
    pub claims: Vec<Claim>,
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
        /// The group.
        kind: FailureKind,
        /// The text for `task_fail_reason`, JSON.
        reason: String,
        /// Backoff before it may be claimed again.
        delay: Duration,
        /// Never to be tried again.
        is_final: bool,
    },
    /// Given back.
    Return,
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
    /// Its demand; `None` for a line that is not a task.
    pub demand: Option<Demand>,
    /// The attempt's record; `None` when it never started.
    pub record: Option<AttemptRecord>,
    /// What becomes of it.
    pub settlement: Settlement,
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Recorded.
    Recorded,
    /// Recorded as a failure; it will be tried again.
    WillRetry,
    /// Recorded as a failure; it is out of retries.
    OutOfRetries,
    /// Recorded before; the first answer was lost.
    Duplicate,
    /// The claim is another's now; refused.
    Lost,
    /// The line is nobody's now; refused.
    Gone,
}

/// What a heartbeat carries.
#[derive(Clone, Debug)]
pub struct Beat {
    /// `USEDCORES:TOTALCORES:USEDGB:TOTALGB`, two decimals each.
    pub status: String,
    /// Figures for people, JSON.
    pub load: String,
    /// What the node offers in all; `None` when it takes nothing more.
    pub capacity: Option<Demand>,
    /// Lines that started since the last beat.
    pub started: Vec<Arc<str>>,
    /// Lines whose revocation has been carried out.
    pub stopped: Vec<String>,
}

/// What a heartbeat brings back.
#[derive(Clone, Debug, Default)]
pub struct BeatReply {
    /// An operator asked this worker to drain.
    pub drain: bool,
    /// The stop command is there.
    pub stop: bool,
    /// The queue is paused.
    pub paused: bool,
    /// Lines to stop running; their claims are gone.
    pub revoked: Vec<String>,
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

/// A worker's right to act on the queue under its name.
#[derive(Clone)]
pub struct Session {
    conn: Connection,
    worker: WorkerName,
    instance: String,
    fence: String,
}

impl Session {
    /// Takes the name: from now on the epoch is a new one and older commands are refused.
    ///
    /// `previous` is the owner that the caller has found dead (see [`super::reclaim::owner`]), or our own last fence, or `None` for none. Atomic; may
    /// be repeated.
    ///
    /// # Errors
    /// [`QueueError::Fenced`] when another instance owns the name.
    pub async fn attach(
        conn: Connection,
        worker: WorkerName,
        registration: &Registration,
        previous: Option<&str>,
        capacity: Option<Demand>,
    ) -> Result<Self, QueueError> {
        let json = serde_json::to_string(registration).map_err(|error| QueueError::Protocol(error.to_string()))?;
        let mut args = Args::new();
        args.text(worker.as_str())
            .text(&registration.instance)
            .text(previous.unwrap_or_default())
            .text(json)
            .text(capacity.map(Demand::capacity).unwrap_or_default());
        let (epoch, _): (u64, String) = conn.script(&scripts::ATTACH, Some(&worker), &args).await?;
        if epoch == 0 {
            return Err(QueueError::Fenced);
        }
        let instance = registration.instance.clone();
        let fence = format!("{instance}:{epoch}");
        Ok(Self { conn, worker, instance, fence })
    }

    /// The worker's name.
    #[must_use]
    pub fn worker(&self) -> &WorkerName {
        &self.worker
    }

    /// The connection it uses.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.conn
    }

    /// The identity of this process.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// `instance:epoch`: tells this attachment from earlier ones.
    #[must_use]
    pub fn fence(&self) -> &str {
        &self.fence
    }

    fn args(&self) -> Args {
        let mut args = Args::new();
        args.text(self.worker.as_str()).text(&self.fence);
        args
    }

    /// Proves the worker alive. One round trip; may be repeated.
    ///
    /// # Errors
    /// [`QueueError::Fenced`] when the name is another's or was declared dead.
    pub async fn beat(&self, beat: &Beat) -> Result<BeatReply, QueueError> {
        let mut args = self.args();
        args.text(&beat.status).text(&beat.load).text(beat.capacity.map(Demand::capacity).unwrap_or_default());
        args.number(beat.started.len() as u64);
        for line in &beat.started {
            args.text(line.as_bytes());
        }
        for line in &beat.stopped {
            args.text(line);
        }
        let reply: Vec<redis::Value> = self.conn.script(&scripts::BEAT, Some(&self.worker), &args).await?;
        let reply = Reply::new(reply)?;
        Ok(BeatReply {
            drain: reply.number(1)? == 1,
            stop: reply.number(2)? == 1,
            paused: reply.number(3)? == 1,
            revoked: (4..reply.len()).map(|i| reply.text(i)).collect::<Result<_, _>>()?,
        })
    }

    /// Claims a batch in one round trip, in exact order of priority.
    ///
    /// Atomic for the batch. When the answer is lost the claims are found by [`Session::held`]; never call it again blindly.
    ///
    /// # Errors
    /// Those of any call, and [`QueueError::Fenced`].
    pub async fn claim(&self, request: &ClaimRequest) -> Result<ClaimReply, QueueError> {
        let mut args = self.args();
        args.text(&request.token)
            .number(request.slots)
            .number(request.headroom.mem.0)
            .number(request.headroom.cpu.0)
            .number(request.ahead)
            .number(request.ahead_demand.mem.0)
            .number(request.ahead_demand.cpu.0)
            .number(request.capacity.mem.0)
            .number(request.capacity.cpu.0)
            .number(millis(request.dead_after))
            .number(millis(request.starve_after))
            .number(millis(AVOID))
            .flag(request.wants_leftovers);
        for line in &request.skip {
            args.text(line.as_bytes());
        }
        let reply: Vec<redis::Value> = self.conn.script(&scripts::CLAIM, Some(&self.worker), &args).await?;
        let reply = Reply::new(reply)?;
        let state = match reply.text(0)?.as_str() {
            "OK" => QueueState::Open,
            "STOP" => QueueState::Stopping,
            "PAUSED" => QueueState::Paused,
            "DRAIN" => QueueState::Draining,
            other => return Err(QueueError::Protocol(format!("claim answered {other:?}"))),
        };
        let claims = (7..reply.len().saturating_sub(1))
            .step_by(2)
            .map(|i| {
                Ok(Claim {
                    line: reply.text(i)?.into(),
                    token: request.token.clone(),
                    attempt: u32::try_from(reply.number(i + 1)?).unwrap_or(u32::MAX),
                })
            })
            .collect::<Result<_, QueueError>>()?;
        Ok(ClaimReply {
            state,
            waiting: reply.count(1)?,
            indexed: reply.count(2)?,
            has_leftovers: reply.number(3)? == 1,
            reserved: Some(reply.text(4)?).filter(|line| !line.is_empty()),
            next_timer: u64::try_from(reply.number(5)?).ok().map(Duration::from_millis),
            now: usize::try_from(reply.number(6)?).unwrap_or(0),
            claims,
        })
    }

    /// Settles a batch in one round trip. `keep_results` keeps a result whose line is nowhere: for use after Redis lost data.
    ///
    /// Atomic for the batch, and safe to repeat: what was recorded before answers [`Settled::Duplicate`].
    ///
    /// # Errors
    /// Those of any call, and [`QueueError::Fenced`].
    pub async fn settle(
        &self,
        batch: &[Settle],
        max_retry: u32,
        keep_results: bool,
    ) -> Result<Vec<Settled>, QueueError> {
        let mut args = self.args();
        args.number(max_retry).number(millis(AVOID)).flag(keep_results);
        for entry in batch {
            let record = match &entry.record {
                Some(record) => {
                    serde_json::to_string(record).map_err(|error| QueueError::Protocol(error.to_string()))?
                }
                None => String::new(),
            };
            let (op, value, delay, group) = match &entry.settlement {
                Settlement::Finish { value } => ("F", value.as_str(), Duration::ZERO, String::new()),
                Settlement::Fail { kind, reason, delay, is_final } => {
                    (if *is_final { "I" } else { "X" }, reason.as_str(), *delay, kind.group())
                }
                Settlement::Return => ("R", "", Duration::ZERO, String::new()),
            };
            args.text(op)
                .text(entry.line.as_bytes())
                .text(&entry.token)
                .shown(entry.id)
                .text(value)
                .text(record)
                .text(entry.demand.map(|demand| demand.class().to_string()).unwrap_or_default())
                .number(millis(delay))
                .text(group);
        }
        let reply: Vec<redis::Value> = self.conn.script(&scripts::SETTLE, Some(&self.worker), &args).await?;
        let reply = Reply::new(reply)?;
        if reply.len() != batch.len() {
            return Err(QueueError::Protocol(format!("{} answers to {} settlements", reply.len(), batch.len())));
        }
        (0..reply.len())
            .map(|i| match reply.text(i)?.as_str() {
                "ok" | "late" => Ok(Settled::Recorded),
                "retry" => Ok(Settled::WillRetry),
                "final" => Ok(Settled::OutOfRetries),
                "dup" => Ok(Settled::Duplicate),
                "lost" => Ok(Settled::Lost),
                "gone" => Ok(Settled::Gone),
                other => Err(QueueError::Protocol(format!("settle answered {other:?}"))),
            })
            .collect()
    }

    /// After a reconnect and in the audit: which of the running lines are still ours.
    ///
    /// `data_lost` takes a line again that is nowhere. Atomic; may be repeated.
    ///
    /// # Errors
    /// Those of any call, and [`QueueError::Fenced`].
    pub async fn reassert(&self, running: &[(Claim, Demand)], data_lost: bool) -> Result<Vec<Reasserted>, QueueError> {
        let mut args = self.args();
        args.flag(data_lost);
        for (claim, demand) in running {
            args.text(claim.line.as_bytes()).text(&claim.token).number(claim.attempt).shown(demand.class());
        }
        let reply: Vec<redis::Value> = self.conn.script(&scripts::REASSERT, Some(&self.worker), &args).await?;
        let reply = Reply::new(reply)?;
        (1..reply.len())
            .map(|i| match reply.text(i)?.as_str() {
                "ok" => Ok(Reasserted::Ours),
                "back" => Ok(Reasserted::TakenBack),
                "kill" => Ok(Reasserted::NotOurs),
                other => Err(QueueError::Protocol(format!("reassert answered {other:?}"))),
            })
            .collect()
    }

    /// All claims that Redis holds in our name: as many as this worker runs and has claimed ahead.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn held(&self) -> Result<Vec<Claim>, QueueError> {
        let key = self.conn.keys().name_for(Key::Claims, &self.worker);
        let all: Vec<(String, String)> = self.conn.cmd(redis::cmd("HGETALL").arg(key)).await?;
        Ok(all
            .into_iter()
            .map(|(line, value)| {
                let mut parts = value.split('|');
                let token = parts.next().unwrap_or_default().to_owned();
                let attempt = parts.next().and_then(|n| n.parse().ok()).unwrap_or(1);
                Claim { line: line.into(), token, attempt }
            })
            .collect())
    }

    /// Takes back what an earlier process of this name had in progress. See [`super::reclaim::reclaim_lines`] for the semantics of a loss.
    ///
    /// # Errors
    /// Those of any call, and [`QueueError::Fenced`].
    pub async fn recover(
        &self,
        lines: &[super::reclaim::Orphan],
        max_lost: u32,
    ) -> Result<super::reclaim::Reclaimed, QueueError> {
        super::reclaim::reclaim_lines(
            &self.conn,
            &self.worker,
            super::reclaim::Authority::Owner(&self.fence),
            lines,
            max_lost,
        )
        .await
    }

    /// Frees the name on a clean exit. Claims that are left keep it, so that they can be reclaimed.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn detach(&self) -> Result<(), QueueError> {
        let answer: redis::Value = self.conn.script(&scripts::DETACH, Some(&self.worker), &self.args()).await?;
        if matches!(answer, redis::Value::Int(_)) { Ok(()) } else { Err(QueueError::Fenced) }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 12).min(u64::MAX >> 12)
}

/// A flat array answered by a script.
pub(super) struct Reply(Vec<redis::Value>);

impl Reply {
    /// # Errors
    /// [`QueueError::Fenced`] when the script answered so.
    pub(super) fn new(values: Vec<redis::Value>) -> Result<Self, QueueError> {
        let reply = Self(values);
        if reply.0.first().is_some_and(|first| matches!(first, redis::Value::BulkString(text) if text == b"FENCED")) {
            return Err(QueueError::Fenced);
        }
        Ok(reply)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn text(&self, i: usize) -> Result<String, QueueError> {
        match self.0.get(i) {
            Some(redis::Value::BulkString(bytes)) => {
                String::from_utf8(bytes.clone()).map_err(|_| QueueError::Protocol(format!("answer {i} is not UTF-8")))
            }
            Some(redis::Value::SimpleString(text)) => Ok(text.clone()),
            other => Err(QueueError::Protocol(format!("answer {i} is {other:?}, not text"))),
        }
    }

    pub(super) fn number(&self, i: usize) -> Result<i64, QueueError> {
        match self.0.get(i) {
            Some(redis::Value::Int(number)) => Ok(*number),
            other => Err(QueueError::Protocol(format!("answer {i} is {other:?}, not a number"))),
        }
    }

    pub(super) fn count(&self, i: usize) -> Result<u64, QueueError> {
        Ok(u64::try_from(self.number(i)?).unwrap_or(0))
    }
}
