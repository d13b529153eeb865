//! Wake-ups: a connection of its own that listens for "there is something new" and "you are wanted".

use futures_util::StreamExt;

use super::client::Client;
use super::error::QueueError;
use super::keys::Key;
use crate::model::WorkerName;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something new is in `todo_tasks`.
    Todo,
    /// This worker should beat now: something was asked of it.
    Beat,
}

/// A subscription. Messages may be lost with the connection: polling stays the fallback.
pub struct Wakeups {
    pubsub: redis::aio::PubSub,
    wanted: String,
}

impl Wakeups {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub async fn subscribe(client: &Client, worker: &WorkerName) -> Result<Self, QueueError> {
        let pubsub = client.subscribe(&client.keys().name(Key::Wake)).await?;
        Ok(Self { pubsub, wanted: format!("beat:{worker}") })
    }

    /// The next message that concerns this worker; `None` when the connection is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Wake> {
        let mut messages = self.pubsub.on_message();
        loop {
            let message = messages.next().await?;
            match message.get_payload_bytes() {
                b"todo" => return Some(Wake::Todo),
                payload if payload == self.wanted.as_bytes() => return Some(Wake::Beat),
                _ => {}
            }
        }
    }
}
