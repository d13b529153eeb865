//! Once a minute: does Redis hold in our name what runs here, and nothing else? An operator, a Python manager or a lost answer may have moved lines.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::events::{Event, Inventory};
use super::faults::Doing;
use super::link::Link;
use crate::queue::call_size;
use crate::queue::session::Reasserted;
use crate::queue::{QueueError, Session};

/// Between audits.
const PERIOD: Duration = Duration::from_secs(60);

/// The loop.
pub struct Auditor {
    /// The way to Redis.
    pub link: Arc<Link>,
    /// The dispatcher.
    pub events: mpsc::Sender<Event>,
}

impl Auditor {
    /// Until the dispatcher is gone.
    pub async fn run(self) {
        // A claim or a settlement may be under way while we look, so only what two audits in a row find unknown is given back.
        let mut suspects: HashSet<Arc<str>> = HashSet::new();
        loop {
            tokio::time::sleep(PERIOD).await;
            if self.events.is_closed() {
                return;
            }
            let Some(session) = self.link.present() else { continue };
            match self.audit(&session, &suspects).await {
                Ok(unknown) => {
                    self.link.worked(Doing::Audit);
                    suspects = unknown;
                }
                Err(error) => {
                    self.link.report(&session, Doing::Audit, &error);
                }
            }
        }
    }

    async fn audit(&self, session: &Session, suspects: &HashSet<Arc<str>>) -> Result<HashSet<Arc<str>>, QueueError> {
        let before = self.inventory().await;
        let held = session.held().await?;
        let after = self.inventory().await;
        let is_known = |line: &Arc<str>| {
            [&before, &after]
                .iter()
                .any(|side| side.settling.contains(line) || side.all.iter().any(|(_, claim, _)| claim.line == *line))
        };
        let unknown: Vec<_> = held.into_iter().filter(|claim| !is_known(&claim.line)).collect();
        let lines = unknown.iter().map(|claim| Arc::clone(&claim.line)).collect();
        let lost: Vec<_> = unknown.into_iter().filter(|claim| suspects.contains(&claim.line)).collect();
        let mut known = Vec::new();
        for batch in call_size::parts(&after.all, 100, |(_, claim, _)| claim.line.len()) {
            let claims: Vec<_> = batch.iter().map(|(_, claim, demand)| (claim.clone(), *demand)).collect();
            let answers = session.reassert(&claims, self.link.keeps_results()).await?;
            // One that was settled meanwhile is nobody's: the dispatcher no longer knows it, and passes over the answer.
            known.extend(
                batch.iter().map(|(key, ..)| *key).zip(answers).filter(|(_, answer)| *answer == Reasserted::NotOurs),
            );
        }
        let settled_since = self.inventory().await;
        known.retain(|(key, _)| settled_since.all.iter().any(|(other, ..)| other == key));
        let _ = self.events.send(Event::Reasserted { known, unknown: lost }).await;
        Ok(lines)
    }

    async fn inventory(&self) -> Inventory {
        let (reply, inventory) = oneshot::channel();
        if self.events.send(Event::Inventory(reply)).await.is_err() {
            return Inventory::default();
        }
        inventory.await.unwrap_or_default()
    }
}
