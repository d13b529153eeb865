//! Compares, once a minute, what runs here with what Redis holds in our name: an operator, a Python manager or a lost answer may have moved lines.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::claim_comparison::{Differences, compare};
use super::events::Event;
use super::faults::Doing;
use super::link::Link;

/// Between comparisons.
const PERIOD: Duration = Duration::from_secs(60);

/// Asks Redis once a minute for the claims of this worker and tells the dispatcher.
pub struct ClaimReconciler {
    /// The way to Redis.
    pub link: Arc<Link>,
    /// The dispatcher.
    pub events: mpsc::Sender<Event>,
}

impl ClaimReconciler {
    /// Until the dispatcher is gone.
    pub async fn run(self) {
        // A claim or a settlement may be under way while we look, so only what two comparisons in a row find unknown is given back.
        let mut suspects: HashSet<Arc<str>> = HashSet::new();
        loop {
            tokio::time::sleep(PERIOD).await;
            if self.events.is_closed() {
                return;
            }
            let Some(session) = self.link.present() else { continue };
            match compare(&session, &self.events, self.link.keeps_results()).await {
                Ok(Some(Differences { lost, unknown })) => {
                    self.link.worked(Doing::ReconcileClaims);
                    let lines = unknown.iter().map(|claim| Arc::clone(&claim.line)).collect();
                    let unknown = unknown.into_iter().filter(|claim| suspects.contains(&claim.line)).collect();
                    let _ = self.events.send(Differences { lost, unknown }.into_event()).await;
                    suspects = lines;
                }
                Ok(None) => return,
                Err(error) => {
                    self.link.report(&session, Doing::ReconcileClaims, &error);
                }
            }
        }
    }
}
