//! Wake-ups: a connection of its own that listens for "there is something new" and "you are wanted".

use futures_util::StreamExt;

use super::client::Client;
use super::error::QueueError;
use super::follow::OutputRequest;
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
    /// The channel of those who follow a task's output, and may do nothing else.
    followers: String,
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
        Ok(Self { pubsub, wanted: format!("beat:{worker}"), followers })
    }

    /// The next message that concerns this worker; `None` when the connection is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Wake> {
        let mut messages = self.pubsub.on_message();
        loop {
            let message = messages.next().await?;
            if message.get_channel_name() == self.followers {
                match OutputRequest::parse(message.get_payload_bytes()) {
                    Some(request) => return Some(Wake::Output(request)),
                    None => continue,
                }
            }
            match message.get_payload_bytes() {
                b"todo" => return Some(Wake::Todo),
                payload if payload == self.wanted.as_bytes() => return Some(Wake::Beat),
                _ => {}
            }
        }
    }
}
