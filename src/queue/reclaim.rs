//! What decides whether a worker's tasks may be reclaimed: who owns its name, and which workers may be dead.

use std::collections::HashMap;
use std::time::Duration;

use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lock::try_lock;
use super::lossy_string::{self, LossyString};
use super::session::Registration;
use crate::model::WorkerName;

/// Who holds a name, as far as Redis knows.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// `instance:epoch`, `!dead:epoch` for one declared dead, `None` for none of ours.
    pub fence: Option<String>,
    /// What it says of itself.
    pub registration: Option<Registration>,
    /// Its last heartbeat, seconds since the epoch by the server's clock (a Python worker's: by its own).
    pub heartbeat: Option<u64>,
    /// The server's clock, seconds since the epoch.
    pub now: u64,
}

/// Reads who holds a name. Constant cost.
///
/// # Errors
/// Those of any call.
pub async fn owner(conn: &Connection, worker: &WorkerName) -> Result<Owner, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hget(conn.name(Key::Owner), worker.as_str())
        .hget(conn.name(Key::Workers), worker.as_str())
        .hget(conn.name(Key::Status), worker.as_str())
        .cmd("TIME");
    Ok(decode_owner(conn.pipe(&pipe).await?))
}

type OwnerReply = (Option<LossyString>, Option<LossyString>, Option<LossyString>, (u64, u64));

fn decode_owner((fence, registration, status, (now, _)): OwnerReply) -> Owner {
    Owner {
        fence: fence.map(|LossyString(text)| text),
        registration: registration.and_then(|LossyString(json)| serde_json::from_str(&json).ok()),
        heartbeat: status
            .and_then(|LossyString(status)| status.split(':').next().and_then(|heartbeat| heartbeat.parse().ok())),
        now,
    }
}

/// Whether a worker whose last heartbeat was in the second `heartbeat` is silent for longer than `dead_after`, by the server's clock in whole seconds.
#[must_use]
pub fn is_silent(now: u64, heartbeat: u64, dead_after: Duration) -> bool {
    // Both are rounded down, so the silence may be a second shorter than their difference.
    Duration::from_secs(now.saturating_sub(heartbeat)) >= dead_after + Duration::from_secs(1)
}

/// A worker of ours that may be dead.
#[derive(Clone, Debug)]
pub struct SilentWorker {
    /// Its name.
    pub worker: WorkerName,
    /// Its last heartbeat, seconds since the epoch; `None` for a worker that has just attached, or one that went with claims left.
    pub heartbeat: Option<u64>,
    /// Whether that is older than a lease. Else nothing is known but that it should not stay as it is: there is none, or one of the future, from
    /// before the server's clock was set back.
    pub is_old: bool,
}

/// What the heartbeats of our workers say at one moment.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    /// Those who may be dead.
    pub silent: Vec<SilentWorker>,
    /// In how long the first of the others would be silent for a lease; `None` when there is none.
    pub next_end: Option<Duration>,
}

/// Our workers whose heartbeat is older than `dead_after` at the moment `now` of the server's clock, which the caller has found to run evenly until
/// then; or of the future; or that have none. Cost grows with the number of workers alone.
///
/// # Errors
/// Those of any call.
pub async fn leases(conn: &Connection, now: Duration, dead_after: Duration) -> Result<Leases, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hgetall(conn.name(Key::Owner)).hgetall(conn.name(Key::Status));
    let (owners, status): (Vec<(LossyString, LossyString)>, HashMap<LossyString, LossyString>) =
        conn.pipe(&pipe).await?;
    let status = lossy_string::hash(status);
    let heartbeats = owners.into_iter().map(|(LossyString(worker), _)| {
        let heartbeat = status.get(&worker).and_then(|status| status.split(':').next()?.parse().ok());
        (worker, heartbeat)
    });
    Ok(judge(heartbeats, now, dead_after))
}

fn judge(heartbeats: impl Iterator<Item = (String, Option<u64>)>, now: Duration, dead_after: Duration) -> Leases {
    let mut leases = Leases::default();
    for (worker, heartbeat) in heartbeats {
        let Ok(worker) = worker.parse() else { continue };
        let is_old = heartbeat.is_some_and(|heartbeat| is_silent(now.as_secs(), heartbeat, dead_after));
        let is_odd = heartbeat.is_none_or(|heartbeat| heartbeat > now.as_secs() + 1);
        if is_old || is_odd {
            leases.silent.push(SilentWorker { worker, heartbeat, is_old });
        } else if let Some(heartbeat) = heartbeat {
            let end = (Duration::from_secs(heartbeat) + dead_after + Duration::from_secs(1)).saturating_sub(now);
            leases.next_end = Some(leases.next_end.map_or(end, |least| least.min(end)));
        }
    }
    leases
}

/// The server's clock since the epoch, and the second of this worker's last heartbeat. Constant cost.
///
/// # Errors
/// Those of any call.
pub async fn own_heartbeat(conn: &Connection, me: &WorkerName) -> Result<(Duration, Option<u64>), QueueError> {
    let mut pipe = redis::pipe();
    pipe.hget(conn.name(Key::Status), me.as_str()).cmd("TIME");
    let (status, (seconds, micros)): (Option<LossyString>, (u64, u64)) = conn.pipe(&pipe).await?;
    let heartbeat =
        status.and_then(|LossyString(status)| status.split(':').next().and_then(|heartbeat| heartbeat.parse().ok()));
    Ok((Duration::from_secs(seconds) + Duration::from_micros(micros), heartbeat))
}

/// Takes the lock under which one worker at a time looks for dead ones.
///
/// # Errors
/// Those of any call.
pub async fn lock(conn: &Connection, holder: &str, for_at_most: Duration) -> Result<bool, QueueError> {
    try_lock(conn, Key::ReclaimLock, holder, for_at_most).await
}

/// What this file makes of an answer.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(values: &[redis::Value]) {
    if let Ok(reply) = redis::from_redis_value(redis::Value::Array(values.to_vec())) {
        let owner = decode_owner(reply);
        if let Some(heartbeat) = owner.heartbeat {
            let _ = is_silent(owner.now, heartbeat, Duration::from_secs(40));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_at_which_a_lease_runs_out_is_known_beforehand() {
        let heartbeats = || {
            [("old", Some(60)), ("new", Some(98)), ("mute", None)].map(|(name, heartbeat)| (name.to_owned(), heartbeat))
        };
        let dead_after = Duration::from_secs(40);
        let at = |now| judge(heartbeats().into_iter(), Duration::from_millis(now), dead_after);
        let now = at(100_250);
        assert_eq!(now.silent.iter().map(|one| one.worker.as_str()).collect::<Vec<_>>(), ["mute"]);
        assert_eq!(now.next_end, Some(Duration::from_millis(750)));
        let then = at(101_000);
        assert_eq!(then.silent.iter().filter(|one| one.is_old).count(), 1, "not a moment later");
        assert_eq!(then.next_end, Some(Duration::from_secs(38)));
    }

    #[test]
    fn heartbeat_of_the_second_before_is_no_silence_of_a_second() {
        assert!(!is_silent(1, 0, Duration::from_secs(1)), "a moment ago, and the second has changed");
        assert!(is_silent(2, 0, Duration::from_secs(1)));
        assert!(!is_silent(2, 0, Duration::from_millis(1500)));
    }
}
