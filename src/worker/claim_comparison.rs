//! The comparison of what runs here with what Redis holds in our name, made after each reconnect and once a minute.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::events::{Event, Inventory, TaskKey};
use crate::queue::call_size;
use crate::queue::session::{Claim, Reasserted};
use crate::queue::{QueueError, Session};

/// Claims of one call, at most.
const BATCH: usize = 100;

/// What the two sides disagree about.
pub(super) struct Differences {
    /// Tasks that run here and are not ours any more.
    pub(super) lost: Vec<TaskKey>,
    /// Claims that are ours by what Redis holds, and not known here.
    pub(super) unknown: Vec<Claim>,
}

impl Differences {
    /// For the dispatcher, which ends what is lost and gives back what is unknown.
    pub(super) fn into_event(self) -> Event {
        let known = self.lost.into_iter().map(|key| (key, Reasserted::NotOurs)).collect();
        Event::Reasserted { known, unknown: self.unknown }
    }
}

/// Compares both sides, and claims anew in Redis what runs here and is nobody's there. `data_lost`: Redis may have lost data. `None` when the dispatcher is
/// gone. Safe to repeat; where it fails half-way, what was claimed anew is ours.
///
/// A claim or a settlement may be under way meanwhile, unless this is part of a reconnect. So the dispatcher is asked on both sides of each question: a
/// claim that it knew at any of these moments is known, and an answer about a task that has been settled since is nobody's.
pub(super) async fn compare(
    session: &Session,
    events: &mpsc::Sender<Event>,
    data_lost: bool,
) -> Result<Option<Differences>, QueueError> {
    let Some(before) = inventory(events).await else { return Ok(None) };
    let in_redis = session.claims().await?;
    let Some(after) = inventory(events).await else { return Ok(None) };
    let knows = |side: &Inventory, line: &Arc<str>| {
        side.settling.contains(line) || side.all.iter().any(|(_, claim, _)| claim.line == *line)
    };
    let is_unknown = |claim: &Claim| !knows(&before, &claim.line) && !knows(&after, &claim.line);
    let unknown = in_redis.into_iter().filter(is_unknown).collect();
    let mut lost = Vec::new();
    for batch in call_size::parts(&after.all, BATCH, |(_, claim, _)| claim.line.len()) {
        let claims: Vec<_> = batch.iter().map(|(_, claim, demand)| (claim.clone(), demand.clone())).collect();
        let answers = session.reassert(&claims, data_lost).await?;
        let keys = batch.iter().map(|(key, ..)| *key).zip(answers);
        lost.extend(keys.filter(|(_, answer)| *answer == Reasserted::NotOurs).map(|(key, _)| key));
    }
    if !lost.is_empty() {
        let Some(now) = inventory(events).await else { return Ok(None) };
        lost.retain(|key| now.all.iter().any(|(other, ..)| other == key));
    }
    Ok(Some(Differences { lost, unknown }))
}

async fn inventory(events: &mpsc::Sender<Event>) -> Option<Inventory> {
    let (reply, inventory) = oneshot::channel();
    events.send(Event::Inventory(reply)).await.ok()?;
    inventory.await.ok()
}
