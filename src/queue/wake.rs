//! Wake-ups: a connection of its own that listens for "there is something new" and "you are wanted".

use futures_util::StreamExt;

use super::client::Client;
use super::error::QueueError;
use super::follow::{self, OutputRequest};
use super::keys::Key;
use crate::model::WorkerName;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something new is in `todo_tasks` that this worker may have room for.
    Todo,
    /// This worker should beat now: something was asked of it.
    Beat,
    /// Somebody wants to see what a task of this worker prints.
    Output(OutputRequest),
}

/// A subscription. Messages may be lost with the connection: polling stays the fallback.
pub struct Wakeups {
    pubsub: redis::aio::PubSub,
    wanted: String,
    shown: String,
}

impl Wakeups {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub async fn subscribe(client: &Client, worker: &WorkerName) -> Result<Self, QueueError> {
        let everybodys = client.keys().name(Key::Wake);
        let own = format!("{everybodys}:{worker}");
        let pubsub = client.subscribe(&[everybodys, own]).await?;
        Ok(Self { pubsub, wanted: format!("beat:{worker}"), shown: follow::request_head(worker.as_str()) })
    }

    /// The next message that concerns this worker; `None` when the connection is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Wake> {
        let mut messages = self.pubsub.on_message();
        loop {
            let message = messages.next().await?;
            match message.get_payload_bytes() {
                b"todo" => return Some(Wake::Todo),
                payload if payload == self.wanted.as_bytes() => return Some(Wake::Beat),
                payload => {
                    let request = payload.strip_prefix(self.shown.as_bytes()).and_then(OutputRequest::parse);
                    if let Some(request) = request {
                        return Some(Wake::Output(request));
                    }
                }
            }
        }
    }
}
