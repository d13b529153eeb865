//! Decodes the replies of scripts. Whatever is in Redis, a wrong reply is an error and never a panic.

use std::time::Duration;

use super::messages::{Claim, ClaimReply, HeartbeatReply, QueueState, Reasserted, Revoked, Settled};
use crate::model::{Bytes, Upstream};
use crate::queue::QueueError;
use crate::queue::records::{ClaimHead, ClaimedLine, HeartbeatHead, RevokedClaim};
use crate::queue::reply::{Reply, ReplyRecord as _};

pub(super) fn heartbeat(reply: Vec<redis::Value>) -> Result<HeartbeatReply, QueueError> {
    let reply = Reply::new(reply)?;
    let HeartbeatHead { state, drain, stop, other_order, suspect, may_try } = reply.head()?;
    if state != "OK" {
        return Err(QueueError::Protocol(format!("heartbeat answered {state:?}")));
    }
    let revoked = |row: Result<RevokedClaim, _>| row.map(|RevokedClaim { line, token }| Revoked { line, token });
    let revoked = reply.rows(HeartbeatHead::SIZE).map(revoked).collect::<Result<_, QueueError>>()?;
    Ok(HeartbeatReply { drain, stop, other_order, suspect, may_try, revoked })
}

/// Signatures are given where they were asked for.
pub(super) fn claim(reply: Vec<redis::Value>, token: &str, with_signatures: bool) -> Result<ClaimReply, QueueError> {
    let reply = Reply::new(reply)?;
    let head: ClaimHead = reply.head()?;
    let state = match head.state.as_str() {
        "OK" => QueueState::Open,
        "STOP" => QueueState::Stopping,
        "PAUSED" => QueueState::Paused,
        "DRAIN" => QueueState::Draining,
        "ORDER" => QueueState::OtherOrder,
        other => return Err(QueueError::Protocol(format!("claim answered {other:?}"))),
    };
    let (mut claims, mut signatures) = (Vec::new(), Vec::new());
    for row in reply.rows(ClaimHead::SIZE) {
        let ClaimedLine { line, attempt, signature, names, upstream, mem } = row?;
        let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
        let batch = names.split(',').next().filter(|name| !name.is_empty()).map(Into::into);
        let upstream = Upstream::parse(&upstream);
        let mem = Some(Bytes(mem));
        claims.push(Claim { batch, upstream, mem, ..Claim::new(line.into(), token.to_owned(), attempt) });
        if with_signatures {
            signatures.push(signature);
        }
    }
    Ok(ClaimReply {
        state,
        waiting: head.waiting,
        indexed: head.indexed,
        has_leftovers: head.has_leftovers,
        reserved: Some(head.reserved).filter(|line| !line.is_empty()),
        reserved_mem: Some(Bytes(head.reserved_mem)),
        next_timer: u64::try_from(head.next_timer_ms).ok().map(Duration::from_millis),
        now: usize::try_from(head.started).unwrap_or(usize::MAX),
        claims,
        signatures,
        unsigned: Vec::new(),
    })
}

pub(super) fn settled(reply: Vec<redis::Value>, asked: usize) -> Result<Vec<Settled>, QueueError> {
    let reply = Reply::new(reply)?;
    if reply.len() != asked {
        return Err(QueueError::Protocol(format!("{} answers to {asked} settlements", reply.len())));
    }
    (0..reply.len())
        .map(|i| match reply.text(i)?.as_str() {
            "ok" | "late" => Ok(Settled::Recorded),
            "retry" => Ok(Settled::WillRetry),
            "more" => Ok(Settled::WillRetryLarger),
            "final" => Ok(Settled::OutOfRetries),
            "dup" => Ok(Settled::Duplicate),
            "lost" => Ok(Settled::Lost),
            "gone" => Ok(Settled::Gone),
            "ordered" => Ok(Settled::Ordered),
            other => Err(QueueError::Protocol(format!("settle answered {other:?}"))),
        })
        .collect()
}

pub(super) fn reasserted(reply: Vec<redis::Value>, asked: usize) -> Result<Vec<Reasserted>, QueueError> {
    let reply = Reply::new(reply)?;
    if reply.len() != asked + 1 {
        return Err(QueueError::Protocol(format!("{} answers to {asked} running tasks", reply.len())));
    }
    (1..reply.len())
        .map(|i| match reply.text(i)?.as_str() {
            "ok" => Ok(Reasserted::Ours),
            "back" => Ok(Reasserted::TakenBack),
            "kill" => Ok(Reasserted::NotOurs),
            other => Err(QueueError::Protocol(format!("reassert answered {other:?}"))),
        })
        .collect()
}

/// The hash of this worker's claims. What is not UTF-8 was not put there by us, and is not ours to run.
pub(super) fn claims(all: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<Claim> {
    all.into_iter()
        .filter_map(|(line, value)| {
            let value = String::from_utf8(value).ok()?;
            let mut parts = value.split('|');
            let token = parts.next().unwrap_or_default().to_owned();
            let attempt = parts.next().and_then(|n| n.parse().ok()).unwrap_or(1);
            Some(Claim::new(String::from_utf8(line).ok()?.into(), token, attempt))
        })
        .collect()
}

/// Every decoder of this file on one answer.
#[cfg(any(test, fuzzing))]
pub(in crate::queue) fn fuzz(values: &[redis::Value]) {
    let answer = || values.to_vec();
    let _ = heartbeat(answer());
    for with_signatures in [false, true] {
        if let Ok(reply) = claim(answer(), "t", with_signatures) {
            assert!(reply.signatures.len() == if with_signatures { reply.claims.len() } else { 0 });
        }
    }
    for asked in [values.len(), values.len().saturating_sub(1)] {
        let _ = settled(answer(), asked);
        let _ = reasserted(answer(), asked);
    }
    if let Ok(all) = redis::from_redis_value(redis::Value::Array(answer())) {
        let _ = claims(all);
    }
}
