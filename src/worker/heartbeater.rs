//! Proves the worker alive. What it says comes from the dispatcher each time, so that a wedged dispatcher does not look alive.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::events::Event;
use super::failpoint::failpoint;
use super::faults::Doing;
use super::link::Link;
use crate::config::Config;

/// A dispatcher that does not answer within this time is not alive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a heartbeat at each interval, and when it is asked to.
pub struct Heartbeater {
    /// The way to Redis.
    pub link: Arc<Link>,
    /// The dispatcher.
    pub events: mpsc::Sender<Event>,
    /// The settings.
    pub config: watch::Receiver<Arc<Config>>,
    /// Somebody wants a heartbeat now.
    pub now: Arc<Notify>,
}

impl Heartbeater {
    /// Until the dispatcher is gone.
    pub async fn run(self) {
        loop {
            if !self.send().await {
                return;
            }
            let interval = self.config.borrow().heartbeat_interval;
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = self.now.notified() => {}
            }
        }
    }

    async fn send(&self) -> bool {
        let Some(session) = self.link.present() else {
            return !self.events.is_closed();
        };
        let (reply, heartbeat) = oneshot::channel();
        if self.events.send(Event::HeartbeatDue(reply)).await.is_err() {
            return false;
        }
        let Ok(Ok(heartbeat)) = tokio::time::timeout(PATIENCE, heartbeat).await else {
            tracing::error!("the dispatcher does not answer; no heartbeat");
            return !self.events.is_closed();
        };
        failpoint!("beating");
        match session.heartbeat(&heartbeat).await {
            Ok(reply) => {
                self.link.worked(Doing::Heartbeat);
                self.link.note_drain(reply.drain);
                self.events.send(Event::HeartbeatAnswered(reply)).await.is_ok()
            }
            Err(error) => {
                self.link.report(&session, Doing::Heartbeat, &error);
                true
            }
        }
    }
}
