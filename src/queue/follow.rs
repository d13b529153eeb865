//! Follows the output of a running task from any machine that reaches Redis.
//!
//! [`OutputSubscription`] asks the worker that has the task, on the channel it listens to anyway, and the worker publishes what the task prints on a channel made
//! for this follower, until nobody listens there. Nothing is stored in Redis, and nothing is done while nobody follows. A message that is lost is asked for
//! again: each says at which position of the stream it begins.
//!
//! ```no_run
//! # async fn example(client: distcomp::queue::Client) -> Result<(), distcomp::queue::QueueError> {
//! use distcomp::queue::follow::{OutputSubscription, FollowEvent};
//! let mut follow = OutputSubscription::start(&client, "shell:1:1:1:./sim", [Some(0), Some(0)]).await?;
//! while let Some(said) = follow.next().await? {
//!     if let FollowEvent::Output { stream, bytes, .. } = said {
//!         println!("{stream:?}: {} bytes", bytes.len());
//!     }
//! }
//! # Ok(()) }
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::client::{Client, Connection};
use super::error::QueueError;
use super::keys::{Key, home};
use super::lossy_string::LossyString;
pub use super::output::{OutputChunk, OutputMessage, OutputRequest};
use crate::model::TaskId;
use crate::sys::random;

/// How often it is looked who has the task.
const LOOK: Duration = Duration::from_millis(500);

/// A worker that has said nothing yet is asked this often: the task may wait for its slot there, the request may have been lost.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A worker that has not said a word for this long is asked again and complained of.
const SILENCE: Duration = Duration::from_secs(5);

/// A task that has left its worker: for how long its last words may still be on their way.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A stream of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a follower learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowEvent {
    /// The task waits in todo: nothing runs. FollowEvent once each time.
    Waits,
    /// It is in progress on this worker; what follows is from there, from the beginning of that attempt.
    RunsOn(String),
    /// It has printed this.
    Output {
        /// Standard output or standard error.
        stream: Stream,
        /// Bytes before these that are not kept any more, or were printed faster than they could be sent.
        skipped: u64,
        /// As the task wrote them; not always whole characters.
        bytes: Vec<u8>,
    },
    /// All that was printed so far has been said.
    CaughtUp,
    /// The worker has not answered for five seconds: it is cut off, of Python, or has only claimed the task. It is asked again.
    NoAnswer(String),
}

/// A follower of one task, until the attempt it found, or waited for, has ended.
pub struct OutputSubscription {
    client: Client,
    conn: Connection,
    pubsub: redis::aio::PubSub,
    line: String,
    channel: String,
    worker: Option<String>,
    has_said_waits: bool,
    from: [Option<u64>; 2],
    at: [Option<u64>; 2],
    asked: Instant,
    /// When it last said something, or we first asked.
    heard: Instant,
    has_answered: bool,
    has_complained: bool,
    looked: Option<Instant>,
    left: Option<Instant>,
    is_caught_up: bool,
    is_over: bool,
    has_heard_the_end: bool,
    ready: VecDeque<FollowEvent>,
}

impl OutputSubscription {
    /// Begins to follow a task line. `from` says where to begin in stdout and stderr: `Some(0)` at the beginning of the attempt, `None` near its present
    /// end (the last 48 KiB).
    ///
    /// # Errors
    /// Those of connecting.
    pub async fn start(client: &Client, line: &str, from: [Option<u64>; 2]) -> Result<Self, QueueError> {
        let conn = client.connect().await?;
        let channel = random::id();
        let pubsub = subscribe(client, &channel).await?;
        Ok(Self {
            client: client.clone(),
            conn,
            pubsub,
            line: line.to_owned(),
            channel,
            worker: None,
            has_said_waits: false,
            from,
            at: from,
            asked: Instant::now(),
            heard: Instant::now(),
            has_answered: false,
            has_complained: false,
            looked: None,
            left: None,
            is_caught_up: false,
            is_over: false,
            has_heard_the_end: false,
            ready: VecDeque::new(),
        })
    }

    /// After an error worth another try: connects again and goes on where it was.
    ///
    /// # Errors
    /// Those of connecting.
    pub async fn reconnect(&mut self) -> Result<(), QueueError> {
        let conn = self.client.connect().await?;
        let channel = random::id();
        self.pubsub = subscribe(&self.client, &channel).await?;
        (self.conn, self.channel, self.looked) = (conn, channel, None);
        // The worker may come back later than we do: it is asked until it answers, and that it does, or that the task waits, is said again.
        (self.has_answered, self.is_caught_up, self.has_said_waits) = (false, false, false);
        if let Some(worker) = self.worker.clone() {
            self.ask(&worker).await?;
        }
        Ok(())
    }

    /// Whether the attempt's last words were heard: then everything it printed, as far as it was kept, has been said.
    #[must_use]
    pub fn has_heard_the_end(&self) -> bool {
        self.has_heard_the_end
    }

    /// What is new; `None` when the attempt has ended and everything that will be known was said. Cancel safe.
    ///
    /// # Errors
    /// Those of any call; see [`Self::reconnect`].
    pub async fn next(&mut self) -> Result<Option<FollowEvent>, QueueError> {
        loop {
            if let Some(said) = self.ready.pop_front() {
                return Ok(Some(said));
            }
            if self.is_over {
                return Ok(None);
            }
            if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                self.look().await?;
                continue;
            }
            let message = {
                let mut messages = self.pubsub.on_message();
                tokio::time::timeout(LOOK, messages.next()).await
            };
            match message {
                Ok(Some(message)) => {
                    if let Some(message) = OutputMessage::parse(message.get_payload_bytes()) {
                        self.hear(message);
                    }
                }
                Ok(None) => {
                    return Err(QueueError::Unavailable {
                        at: self.conn.at().to_owned(),
                        message: "the connection broke".to_owned(),
                    });
                }
                Err(_) => {}
            }
        }
    }

    fn hear(&mut self, message: OutputMessage) {
        (self.heard, self.left) = (Instant::now(), self.left.map(|_| Instant::now()));
        (self.has_answered, self.has_complained) = (true, false);
        let mut is_behind = false;
        let chunks = [(Stream::Stdout, message.stdout), (Stream::Stderr, message.stderr)];
        for (at, (stream, mut chunk)) in self.at.iter_mut().zip(chunks) {
            let known = at.unwrap_or(chunk.at);
            let again = usize::try_from(known.saturating_sub(chunk.at)).unwrap_or(usize::MAX).min(chunk.bytes.len());
            chunk.bytes.drain(..again);
            let begin = chunk.at + again as u64;
            let end = begin + chunk.bytes.len() as u64;
            if !chunk.bytes.is_empty() {
                self.ready.push_back(FollowEvent::Output {
                    stream,
                    skipped: begin.saturating_sub(known),
                    bytes: chunk.bytes,
                });
                self.is_caught_up = false;
            }
            *at = Some(known.max(end));
            is_behind |= end < chunk.total;
        }
        if message.is_over {
            (self.is_over, self.has_heard_the_end) = (true, true);
        } else if !is_behind && !self.is_caught_up {
            self.is_caught_up = true;
            self.ready.push_back(FollowEvent::CaughtUp);
        }
    }

    /// Who has it?
    async fn look(&mut self) -> Result<(), QueueError> {
        let mut pipe = redis::pipe();
        pipe.hget(self.conn.name(Key::InProgress), &self.line).hexists(self.conn.name(home(&self.line)), &self.line);
        let (worker, is_todo): (Option<LossyString>, bool) = self.conn.pipe(&pipe).await?;
        let worker = worker.map(|LossyString(name)| name);
        self.looked = Some(Instant::now());
        match (worker, self.worker.clone()) {
            (Some(worker), Some(known)) if worker == known => {
                self.left = None;
                let is_silent = self.heard.elapsed() >= SILENCE;
                if is_silent && !self.has_complained {
                    // Its next answer is told, even with nothing in it.
                    (self.has_complained, self.is_caught_up) = (true, false);
                    self.ready.push_back(FollowEvent::NoAnswer(worker.clone()));
                }
                if self.asked.elapsed() >= ASK_AGAIN && (is_silent || !self.has_answered) {
                    self.ask(&worker).await?;
                }
            }
            (Some(worker), None) => {
                (self.at, self.heard) = (self.from, Instant::now());
                self.worker = Some(worker.clone());
                self.ready.push_back(FollowEvent::RunsOn(worker.clone()));
                self.ask(&worker).await?;
            }
            // It has left the worker that had it: to todo, to the end, or to another worker. What that one says last may be on its way.
            (_, Some(_)) => {
                let left = *self.left.get_or_insert_with(Instant::now);
                self.is_over = left.elapsed() >= LAST_WORDS;
            }
            (None, None) if is_todo => {
                if !self.has_said_waits {
                    self.has_said_waits = true;
                    self.ready.push_back(FollowEvent::Waits);
                }
            }
            (None, None) => self.is_over = true,
        }
        Ok(())
    }

    async fn ask(&mut self, worker: &str) -> Result<(), QueueError> {
        self.asked = Instant::now();
        let [stdout_from, stderr_from] = self.at;
        let request =
            OutputRequest { id: TaskId::of(&self.line), channel: self.channel.clone(), stdout_from, stderr_from };
        let json = serde_json::to_string(&request).map_err(|error| QueueError::Protocol(error.to_string()))?;
        let channel = format!("{}{worker}", self.conn.name(Key::Follow));
        let _: i64 = self.conn.cmd(redis::cmd("PUBLISH").arg(channel).arg(json)).await?;
        Ok(())
    }
}

async fn subscribe(client: &Client, channel: &str) -> Result<redis::aio::PubSub, QueueError> {
    client.subscribe(&[format!("{}{channel}", client.keys().name(Key::Output))]).await
}

/// A worker's answer to a follower; says how many listen.
///
/// # Errors
/// Those of any call.
pub async fn publish(conn: &Connection, channel: &str, message: &OutputMessage) -> Result<u64, QueueError> {
    let name = format!("{}{channel}", conn.name(Key::Output));
    conn.cmd(redis::cmd("PUBLISH").arg(name).arg(message.encode()?)).await
}
