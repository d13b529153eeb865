//! What a worker does to the queue: attach, heartbeat, claim, settle, reassert, detach.
//!
//! Every write is one script and carries `instance:epoch`, so that a late command of an old connection, a zombie and a twin are refused by one check.

mod decode;
mod messages;

use std::time::Duration;

#[cfg(any(test, fuzzing))]
pub(super) use decode::fuzz;
pub use messages::*;

use super::args::Args;
use super::call_size::{STEPS, step_after};
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::keys::Key;
use super::layout::{HeldBack, Layout};
use super::records::{
    AttachArgs, AttachReply, ClaimArgs, DetachArgs, HeartbeatArgs, ReassertArgs, RunningLine, SettleArgs, SettleEntry,
    StoppedClaim,
};
use super::reply::Reply;
use super::scripts;
use crate::model::{Class, FieldOrder, WorkerName};

/// How long a worker that failed a task leaves it to others that could run it.
pub const AVOID: Duration = Duration::from_secs(60);

/// How long the best waiting task may be passed over for lack of room before a worker reserves for it.
pub const STARVE: Duration = Duration::from_secs(60);

/// A worker's right to act on the queue under its name.
#[derive(Clone)]
pub struct Session {
    conn: Connection,
    worker: WorkerName,
    instance: String,
    fence: String,
    order: &'static str,
    layout: Layout,
}

impl Session {
    /// Takes the name: from now on the epoch is a new one and older commands are refused.
    ///
    /// `previous` is the owner that the caller has found dead (see [`super::reclaim::owner`]), or our own last fence, or `None` for none. Atomic; may
    /// be repeated.
    ///
    /// # Errors
    /// [`QueueError::Fenced`] when another instance owns the name; [`QueueError::Mismatch`] when the queue has a layout that this build does not support.
    pub async fn attach(
        conn: Connection,
        worker: WorkerName,
        registration: &Registration,
        previous: Option<&str>,
        options: AttachOptions,
    ) -> Result<Self, QueueError> {
        let json = serde_json::to_string(registration).map_err(|error| QueueError::Protocol(error.to_string()))?;
        let order = options.order.map_or("", FieldOrder::as_str);
        let mut args = Args::new();
        args.record(AttachArgs {
            worker: worker.as_str(),
            instance: &registration.instance,
            previous: previous.unwrap_or_default(),
            registration: json,
            offer: options.offer,
            traits: &options.traits,
            newest: registration.layouts.newest(),
            order,
            is_drained: options.is_drained,
            oldest: registration.layouts.oldest(),
        });
        let reply = Reply::new(conn.script(&scripts::ATTACH, Some(&worker), &args).await?)?;
        let AttachReply { epoch, layout: found, behind, refusal } = reply.head()?;
        if epoch == 0 {
            return Err(QueueError::Fenced);
        }
        registration.layouts.check(&found)?;
        let version =
            found.parse().map_err(|_| QueueError::Protocol(format!("{found:?} is no version of a layout")))?;
        let held_back = match (behind.is_empty(), refusal.is_empty()) {
            (false, _) => Some(HeldBack::ByWorker(behind)),
            (true, false) => Some(HeldBack::ByServer(refusal)),
            (true, true) => None,
        };
        let layout = Layout { version, held_back };
        let instance = registration.instance.clone();
        let fence = format!("{instance}:{epoch}");
        Ok(Self { conn, worker, instance, fence, order, layout })
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

    /// The layout that the queue had when it attached.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Proves the worker alive. One round trip; may be repeated.
    ///
    /// # Errors
    /// [`QueueError::Fenced`] when the name is another's or was declared dead.
    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatReply, QueueError> {
        let mut args = Args::new();
        args.record(HeartbeatArgs {
            worker: self.worker.as_str(),
            fence: &self.fence,
            usage: &heartbeat.status,
            load: &heartbeat.load,
            offer: heartbeat.offer,
            traits: &heartbeat.traits,
            order: self.order,
            started: heartbeat.started.len(),
            suspect_after: heartbeat.suspect_after,
        });
        args.list(heartbeat.started.iter().map(|line| &**line));
        for Revoked { line, token } in &heartbeat.stopped {
            args.record(StoppedClaim { line, token });
        }
        decode::heartbeat(self.conn.script(&scripts::HEARTBEAT, Some(&self.worker), &args).await?)
    }

    /// Claims a batch in one round trip, in exact order of priority.
    ///
    /// Atomic for the batch. When the answer is lost the claims are found by [`Session::claims`]; never call it again blindly.
    ///
    /// # Errors
    /// Those of any call, and [`QueueError::Fenced`].
    pub async fn claim(&self, request: &ClaimRequest) -> Result<ClaimReply, QueueError> {
        let mut args = Args::new();
        let ClaimRequest { room, prefetch, offer, .. } = request;
        args.record(ClaimArgs {
            worker: self.worker.as_str(),
            fence: &self.fence,
            token: &request.token,
            slots: room.slots,
            room: room.amounts,
            prefetch_slots: prefetch.slots,
            prefetch: prefetch.amounts,
            offer: offer.map(|offer| offer.amounts),
            traits: &request.traits,
            free: &request.free,
            prefer_wait: request.prefer_wait,
            dead_after: request.dead_after,
            starve_after: request.starve_after,
            avoid: AVOID,
            wants_leftovers: request.wants_leftovers,
            wants_signatures: request.wants_signatures,
            order: self.order,
        });
        args.list(request.skip.iter().map(|line| &**line));
        let reply = self.conn.script(&scripts::CLAIM, Some(&self.worker), &args).await?;
        decode::claim(reply, &request.token, request.wants_signatures)
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
        let mut args = Args::new();
        let (worker, fence) = (self.worker.as_str(), self.fence.as_str());
        args.record(SettleArgs { worker, fence, max_retry, avoid: AVOID, keep_results });
        for entry in batch {
            let record = match &entry.record {
                Some(record) => {
                    serde_json::to_string(record).map_err(|error| QueueError::Protocol(error.to_string()))?
                }
                None => String::new(),
            };
            let more_memory = entry.more_memory();
            let peak = entry.finished_peak();
            let (op, value, backoff, group) = match &entry.settlement {
                Settlement::Finish { value } => ("F", value.as_str(), Duration::ZERO, String::new()),
                Settlement::Fail { outcome, reason, delay, is_final, more_memory: _ } => {
                    (if *is_final { "I" } else { "X" }, reason.as_str(), *delay, outcome.group())
                }
                Settlement::Return => ("R", "", Duration::ZERO, String::new()),
            };
            args.record(SettleEntry {
                op,
                line: &entry.line,
                token: &entry.token,
                id: entry.id,
                value,
                record,
                class: entry.class.as_ref(),
                backoff,
                group,
                outcome: entry.outcome().code(),
                more_mem: more_memory.map(|more| more.wanted.0),
                node_mem: more_memory.and_then(|more| more.node).map(|mem| mem.0),
                family: if peak.is_some() { entry.family() } else { String::new() },
                peak,
                run_ms: entry.run_ms(),
                mem_part: entry.memory_part(),
            });
        }
        decode::settled(self.conn.script(&scripts::SETTLE, Some(&self.worker), &args).await?, batch.len())
    }

    /// After a reconnect and to reconcile: which of the running lines are still ours.
    ///
    /// `data_lost` takes a line again that is nowhere. Atomic; may be repeated.
    ///
    /// # Errors
    /// Those of any call, and [`QueueError::Fenced`].
    pub async fn reassert(&self, running: &[(Claim, Class)], data_lost: bool) -> Result<Vec<Reasserted>, QueueError> {
        let mut args = Args::new();
        args.record(ReassertArgs { worker: self.worker.as_str(), fence: &self.fence, data_lost });
        for (claim, class) in running {
            args.record(RunningLine { line: &claim.line, token: &claim.token, attempt: claim.attempt, class });
        }
        decode::reasserted(self.conn.script(&scripts::REASSERT, Some(&self.worker), &args).await?, running.len())
    }

    /// All claims that Redis holds in our name: as many as this worker runs and has prefetched.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn claims(&self) -> Result<Vec<Claim>, QueueError> {
        let key = self.conn.keys().name_for(Key::Claims, &self.worker);
        let (mut cursor, mut step, mut claims) = (0, STEPS[1] * 4, Vec::new());
        loop {
            let (next, page): ScanPage =
                self.conn.cmd(redis::cmd("HSCAN").arg(&key).arg(cursor).arg("COUNT").arg(step)).await?;
            step = step_after(step, page.iter().map(|(line, claim)| line.len() + claim.len()).sum());
            // A step may show an entry twice.
            for claim in decode::claims(page) {
                if !claims.contains(&claim) {
                    claims.push(claim);
                }
            }
            if next == 0 {
                return Ok(claims);
            }
            cursor = next;
        }
    }

    /// Frees the name on a clean exit. Claims that are left keep it, so that they can be reclaimed.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn detach(&self) -> Result<(), QueueError> {
        let mut args = Args::new();
        args.record(DetachArgs { worker: self.worker.as_str(), fence: &self.fence });
        let answer: redis::Value = self.conn.script(&scripts::DETACH, Some(&self.worker), &args).await?;
        if matches!(answer, redis::Value::Int(_)) { Ok(()) } else { Err(QueueError::Fenced) }
    }
}
