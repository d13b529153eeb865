//! Wake-ups: a subscription that tells a worker that new tasks wait, or that something is asked of it.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;

use super::client::Client;
use super::error::QueueError;
use super::follow::OutputRequest;
use super::keys::Key;
use crate::model::WorkerName;

/// Messages of followers within a second; more is a flood, and is not listened to for a while.
const FLOOD: u32 = 500;

/// For how long followers are not listened to after a flood.
const DEAF: Duration = Duration::from_secs(10);

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// Something new is in `todo_tasks` that this worker may have room for.
    Todo,
    /// This worker should beat now: something was asked of it.
    Heartbeat,
    /// Somebody wants to see what a task of this worker prints.
    Output(OutputRequest),
}

/// A subscription. Messages may be lost with the connection: polling stays the fallback.
pub struct Wakeups {
    pubsub: redis::aio::PubSub,
    wanted: String,
    /// The channel of those who follow a task's output, and may do nothing else.
    followers: String,
    /// Messages of followers since then, for at most a second.
    heard: (Instant, u32),
    /// Until when followers are not listened to.
    deaf_until: Option<Instant>,
}

impl Wakeups {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub async fn subscribe(client: &Client, worker: &WorkerName) -> Result<Self, QueueError> {
        let everybodys = client.keys().name(Key::Wake);
        let own = format!("{everybodys}:{worker}");
        let followers = format!("{}{worker}", client.keys().name(Key::Follow));
        let pubsub = client.subscribe(&[everybodys, own, followers.clone()]).await?;
        let wanted = format!("beat:{worker}");
        Ok(Self { pubsub, wanted, followers, heard: (Instant::now(), 0), deaf_until: None })
    }

    /// The next message that concerns this worker; `None` when the connection is gone. Cancel safe.
    ///
    /// Whoever may follow output must not be able to keep a worker from its work: a flood of requests is not listened to.
    pub async fn next(&mut self) -> Option<Wakeup> {
        loop {
            let heard = match self.deaf_until {
                None => Ok(self.pubsub.on_message().next().await),
                Some(until) => tokio::time::timeout_at(until, self.pubsub.on_message().next()).await,
            };
            let Ok(message) = heard else {
                self.deaf_until = None;
                self.pubsub.subscribe(&self.followers).await.ok()?;
                continue;
            };
            let message = message?;
            if message.get_channel_name() == self.followers {
                if self.is_flood() {
                    if self.deaf_until.is_none() {
                        tracing::warn!(
                            seconds = DEAF.as_secs(),
                            "too many requests for the output of tasks; ignoring them for a while"
                        );
                        self.deaf_until = Some(Instant::now() + DEAF);
                        self.pubsub.unsubscribe(&self.followers).await.ok()?;
                    }
                    continue;
                }
                match OutputRequest::parse(message.get_payload_bytes()) {
                    Some(request) => return Some(Wakeup::Output(request)),
                    None => continue,
                }
            }
            match message.get_payload_bytes() {
                b"todo" => return Some(Wakeup::Todo),
                payload if payload == self.wanted.as_bytes() => return Some(Wakeup::Heartbeat),
                _ => {}
            }
        }
    }

    /// Counts one message of a follower.
    fn is_flood(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.heard.0) >= Duration::from_secs(1) {
            self.heard = (now, 0);
        }
        self.heard.1 += 1;
        self.heard.1 > FLOOD || self.deaf_until.is_some()
    }
}
