//! Asks Redis for tasks when the dispatcher wants some. It never repeats a claim: one whose answer is lost is found by the audit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::events::Event;
use super::failpoint::failpoint;
use super::link::Link;
use super::trust::{self, Keyring};
use crate::queue::session::ClaimRequest;

/// After a server that is up and cannot do it now.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// The loop.
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
            return Event::ClaimFailed;
        };
        let answer = session.claim(request).await;
        failpoint!("claimed");
        match answer {
            Ok(reply) => {
                let judged = match &self.keyring {
                    Some(keyring) => trust::judge(keyring, reply).await,
                    None => Some(reply),
                };
                judged.map_or(Event::ClaimFailed, Event::Claimed)
            }
            Err(error) => {
                self.link.report(&session, &error);
                if !error.breaks_connection() {
                    tracing::warn!(error = %error, "failed to claim");
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Event::ClaimFailed
            }
        }
    }
}
