//! Listens for wake-ups on a connection of its own. Polling goes on without it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::events::Event;
use super::faults::Doing;
use super::link::Link;
use crate::model::WorkerName;
use crate::queue::Client;
use crate::queue::wakeups::{Wakeup, Wakeups};
use crate::sys::random;

/// Between attempts to subscribe.
const RETRY: Duration = Duration::from_secs(2);

/// Subscribes to the channel of wake-ups and passes them on.
pub struct Waker {
    /// Where Redis is.
    pub client: Client,
    /// Where faults are noted.
    pub link: Arc<Link>,
    /// Whose wake-ups.
    pub worker: WorkerName,
    /// The dispatcher.
    pub events: mpsc::Sender<Event>,
    /// The heartbeater.
    pub heartbeat: Arc<Notify>,
}

impl Waker {
    /// Until the dispatcher is gone.
    pub async fn run(self) {
        loop {
            let subscribed = Wakeups::subscribe(&self.client, &self.worker).await;
            match &subscribed {
                Ok(_) => self.link.worked(Doing::Listen),
                // That Redis is away is said by the link.
                Err(error) if error.breaks_connection() => {}
                Err(error) => self.link.faults.failed(Instant::now(), Doing::Listen, error),
            }
            if let Ok(mut wakeups) = subscribed {
                // Messages may have been missed until now.
                if self.events.send(Event::Woken).await.is_err() {
                    return;
                }
                while let Some(wake) = wakeups.next().await {
                    match wake {
                        Wakeup::Todo => {
                            if self.events.send(Event::Woken).await.is_err() {
                                return;
                            }
                        }
                        Wakeup::Heartbeat => self.heartbeat.notify_one(),
                        Wakeup::Output(request) => {
                            if self.events.send(Event::OutputWanted(request)).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            }
            if self.events.is_closed() {
                return;
            }
            tokio::time::sleep(RETRY.mul_f64(0.5 + random::fraction())).await;
        }
    }
}
