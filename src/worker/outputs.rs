//! Shows what running tasks print to those who follow them: asks the task's keeper a few times a second and publishes what is new. Nothing of this
//! exists while nobody follows, and it ends by itself when nobody listens any more.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::events::TaskKey;
use super::faults::Doing;
use super::link::Link;
use super::slot::{OutputReply, SlotMessage};
use crate::process::{Ended, Output, Part};
use crate::queue::follow::{self, OutputChunk, OutputMessage, OutputRequest};

/// Followers that one worker answers at once; more are not heard.
const MOST: usize = 64;

/// Between two looks at a task that prints.
const INTERVAL: Duration = Duration::from_millis(200);

/// Between two looks at one that prints faster than we may tell: a megabyte a second at the most.
const BUSY_INTERVAL: Duration = Duration::from_millis(50);

/// So many followers are answered at this pace; twice as many at half of it: what all of them cost together is bounded.
const AT_FULL_PACE: usize = 8;

/// A follower hears of us at least this often, and so we learn that it has gone.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// A keeper that does not answer within this time is not asked again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of one message, when the rest is sent at the end of a task.
const PIECE: usize = 48 << 10;

/// Who is being answered.
pub struct Outputs {
    link: Arc<Link>,
    active: Arc<Mutex<HashSet<String>>>,
}

impl Outputs {
    /// Nobody yet.
    #[must_use]
    pub fn new(link: Arc<Link>) -> Self {
        Self { link, active: Arc::default() }
    }

    /// Begins to answer a request, unless it is being answered.
    pub fn show(&self, key: TaskKey, request: OutputRequest, commands: mpsc::UnboundedSender<SlotMessage>) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active.len() >= MOST || !active.insert(request.channel.clone()) {
            return;
        }
        let (link, all) = (Arc::clone(&self.link), Arc::clone(&self.active));
        tokio::spawn(async move {
            let at = [request.stdout_from, request.stderr_from];
            let mut answer = Answer { link, all: Arc::clone(&all), key, channel: request.channel, at };
            answer.run(commands).await;
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&answer.channel);
        });
    }
}

/// One follower of one task.
struct Answer {
    link: Arc<Link>,
    /// Who else is being answered.
    all: Arc<Mutex<HashSet<String>>>,
    key: TaskKey,
    channel: String,
    /// Where it is in stdout and stderr.
    at: [Option<u64>; 2],
}

impl Answer {
    /// Until the task has ended, or nobody listens.
    async fn run(&mut self, commands: mpsc::UnboundedSender<SlotMessage>) {
        let (to, mut said) = mpsc::unbounded_channel();
        let mut told = None::<Instant>;
        loop {
            let [stdout_from, stderr_from] = self.at;
            let show = SlotMessage::Show { key: self.key, stdout_from, stderr_from, to: to.clone() };
            if commands.send(show).is_err() {
                return;
            }
            let pause = match tokio::time::timeout(PATIENCE, said.recv()).await {
                Ok(Some(OutputReply::Output(output))) => {
                    let is_new = !output.stdout.bytes.is_empty() || !output.stderr.bytes.is_empty();
                    let is_behind = has_more(&output.stdout) || has_more(&output.stderr);
                    if is_new || told.is_none_or(|told| told.elapsed() >= KEEP_ALIVE) {
                        if !self.tell(message(*output, false)).await {
                            return;
                        }
                        told = Some(Instant::now());
                    }
                    if is_behind { BUSY_INTERVAL } else { INTERVAL }
                }
                Ok(Some(OutputReply::Ended(ended))) => return self.tell_the_end(&ended).await,
                Ok(Some(OutputReply::Gone) | None) | Err(_) => return,
            };
            let others = self.all.lock().unwrap_or_else(PoisonError::into_inner).len();
            let pause = pause * u32::try_from(others.div_ceil(AT_FULL_PACE)).unwrap_or(1).max(1);
            // Its end is told at once.
            if let Ok(Some(OutputReply::Ended(ended))) = tokio::time::timeout(pause, said.recv()).await {
                return self.tell_the_end(&ended).await;
            }
        }
    }

    /// Publishes; false when nobody listens.
    async fn tell(&mut self, message: OutputMessage) -> bool {
        let chunks = [&message.stdout, &message.stderr];
        let next = chunks.map(|chunk| Some(chunk.at + chunk.bytes.len() as u64));
        let session = self.link.session().await;
        match follow::publish(session.connection(), &self.channel, &message).await {
            Ok(listeners) => {
                self.link.worked(Doing::Show);
                self.at = next;
                listeners > 0
            }
            Err(error) => {
                // The follower asks again.
                self.link.report(&session, Doing::Show, &error);
                false
            }
        }
    }

    /// What it had not heard yet, in pieces, and that there is no more.
    async fn tell_the_end(&mut self, ended: &Ended) {
        loop {
            let stderr_begin = ended.stderr_total - ended.stderr_tail.len() as u64;
            let stdout = rest(ended.stdout.since(self.at[0].unwrap_or(0)), ended.stdout.total_bytes());
            let from = self.at[1].unwrap_or(0).saturating_sub(stderr_begin);
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(ended.stderr_tail.len());
            let stderr = rest((stderr_begin + from as u64, &ended.stderr_tail[from..]), ended.stderr_total);
            let is_all = !has_more(&stdout) && !has_more(&stderr);
            let output = Output { key: ended.key, stdout, stderr };
            if !self.tell(message(output, is_all)).await || is_all {
                return;
            }
        }
    }
}

fn rest((at, bytes): (u64, &[u8]), total: u64) -> Part {
    Part { at, bytes: bytes[..bytes.len().min(PIECE)].to_vec(), total }
}

fn has_more(part: &Part) -> bool {
    part.at + (part.bytes.len() as u64) < part.total
}

fn message(output: Output, is_over: bool) -> OutputMessage {
    let chunk = |part: Part| OutputChunk { at: part.at, bytes: part.bytes, total: part.total };
    OutputMessage { stdout: chunk(output.stdout), stderr: chunk(output.stderr), is_over }
}
