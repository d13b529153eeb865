//! What a worker does to the queue: attach, heartbeat, claim, settle, reassert, detach.
//!
//! Every write is one script and carries `instance:epoch`, so that a late command of an old connection, a zombie and a twin are refused by one check.

mod decode;
mod messages;
mod reply;

use std::time::Duration;

#[cfg(any(test, fuzzing))]
pub(super) use decode::fuzz;
pub use messages::*;
pub(super) use reply::{Reply, millis};

use super::call_size::{STEPS, step_after};
use super::client::{Args, Connection, ScanPage};
use super::error::QueueError;
use super::keys::Key;
use super::layout::{HeldBack, Layout};
use super::scripts;
use crate::model::{Demand, FieldOrder, ResourceKind, WorkerName};

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
        standing: AttachOptions,
    ) -> Result<Self, QueueError> {
        let json = serde_json::to_string(registration).map_err(|error| QueueError::Protocol(error.to_string()))?;
        let order = standing.order.map_or("", FieldOrder::as_str);
        let mut args = Args::new();
        args.text(worker.as_str())
            .text(&registration.instance)
            .text(previous.unwrap_or_default())
            .text(json)
            .maybe(standing.offer)
            .number(registration.layouts.newest())
            .text(order)
            .flag(standing.is_drained)
            .number(registration.layouts.oldest());
        let (epoch, found, behind, refusal): (i64, String, String, String) =
            conn.script(&scripts::ATTACH, Some(&worker), &args).await?;
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

    fn args(&self) -> Args {
        let mut args = Args::new();
        args.text(self.worker.as_str()).text(&self.fence);
        args
    }

    /// Proves the worker alive. One round trip; may be repeated.
    ///
    /// # Errors
    /// [`QueueError::Fenced`] when the name is another's or was declared dead.
    pub async fn heartbeat(&self, beat: &Heartbeat) -> Result<HeartbeatReply, QueueError> {
        let mut args = self.args();
        args.text(&beat.status).text(&beat.load).maybe(beat.offer);
        args.text(self.order).number(beat.started.len() as u64);
        for line in &beat.started {
            args.text(line.as_bytes());
        }
        for Revoked { line, token } in &beat.stopped {
            args.text(line).text(token);
        }
        decode::heartbeat(self.conn.script(&scripts::HEARTBEAT, Some(&self.worker), &args).await?)
    }

    /// Claims a batch in one round trip, in exact order of priority.
    ///
    /// Atomic for the batch. When the answer is lost the claims are found by [`Session::held`]; never call it again blindly.
    ///
    /// # Errors
    /// Those of any call, and [`QueueError::Fenced`].
    pub async fn claim(&self, request: &ClaimRequest) -> Result<ClaimReply, QueueError> {
        let mut args = self.args();
        args.text(&request.token);
        for room in [&request.room, &request.ahead] {
            args.number(room.slots);
            for kind in ResourceKind::IN_CLASS {
                args.number(room.amounts.get(kind));
            }
        }
        for kind in ResourceKind::IN_CLASS {
            args.maybe(request.offer.map(|offer| offer.amounts.get(kind)));
        }
        args.number(millis(request.dead_after))
            .number(millis(request.starve_after))
            .number(millis(AVOID))
            .flag(request.wants_leftovers)
            .flag(request.wants_signatures)
            .text(self.order);
        for line in &request.skip {
            args.text(line.as_bytes());
        }
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
                Settlement::Fail { outcome, reason, delay, is_final } => {
                    (if *is_final { "I" } else { "X" }, reason.as_str(), *delay, outcome.group())
                }
                Settlement::Return => ("R", "", Duration::ZERO, String::new()),
            };
            args.text(op)
                .text(entry.line.as_bytes())
                .text(&entry.token)
                .shown(entry.id)
                .text(value)
                .text(record)
                .maybe(entry.demand)
                .number(millis(delay))
                .text(group)
                .text(entry.outcome().code());
        }
        decode::settled(self.conn.script(&scripts::SETTLE, Some(&self.worker), &args).await?, batch.len())
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
            args.text(claim.line.as_bytes()).text(&claim.token).number(claim.attempt).shown(demand);
        }
        decode::reasserted(self.conn.script(&scripts::REASSERT, Some(&self.worker), &args).await?, running.len())
    }

    /// All claims that Redis holds in our name: as many as this worker runs and has claimed ahead.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn held(&self) -> Result<Vec<Claim>, QueueError> {
        let key = self.conn.keys().name_for(Key::Claims, &self.worker);
        let (mut cursor, mut step, mut claims) = (0, STEPS[1] * 4, Vec::new());
        loop {
            let (next, page): ScanPage =
                self.conn.cmd(redis::cmd("HSCAN").arg(&key).arg(cursor).arg("COUNT").arg(step)).await?;
            step = step_after(step, page.iter().map(|(line, claim)| line.len() + claim.len()).sum());
            // A step may show an entry twice.
            for claim in decode::held(page) {
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
        let answer: redis::Value = self.conn.script(&scripts::DETACH, Some(&self.worker), &self.args()).await?;
        if matches!(answer, redis::Value::Int(_)) { Ok(()) } else { Err(QueueError::Fenced) }
    }
}
