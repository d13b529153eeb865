//! Asks Redis for tasks when the dispatcher wants some. It never repeats a claim: one whose answer is lost is found by the claim reconciler.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::events::Event;
use super::failpoint::failpoint;
use super::faults::Doing;
use super::link::Link;
use super::trust::{self, Keyring};
use crate::queue::session::ClaimRequest;

/// After a server that is up and cannot do it now.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Carries out the claims that the dispatcher asks for, one at a time.
pub struct Poller {
    /// The way to Redis.
    pub link: Arc<Link>,
    /// What the dispatcher wants.
    pub requests: mpsc::UnboundedReceiver<ClaimRequest>,
    /// Where answers go.
    pub events: mpsc::Sender<Event>,
    /// Judges signatures, where they are required.
    pub keyring: Option<Arc<Keyring>>,
}

impl Poller {
    /// Until the dispatcher is gone.
    pub async fn run(mut self) {
        while let Some(request) = self.requests.recv().await {
            let event = self.claim(&request).await;
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }

    async fn claim(&self, request: &ClaimRequest) -> Event {
        let Some(session) = self.link.present() else {
            return Event::ClaimFailed { is_refused: false };
        };
        let answer = session.claim(request).await;
        failpoint!("claimed");
        match answer {
            Ok(reply) => {
                self.link.worked(Doing::Claim);
                let judged = match &self.keyring {
                    Some(keyring) => trust::judge(keyring, reply).await,
                    None => Some(reply),
                };
                judged.map_or(Event::ClaimFailed { is_refused: false }, Event::Claimed)
            }
            Err(error) => {
                let is_refused = self.link.report(&session, Doing::Claim, &error);
                if is_refused {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Event::ClaimFailed { is_refused }
            }
        }
    }
}
