//! Follows the output of running tasks for the pages that show it: one follower per task for all of its viewers, from the first to the last.
//! The end of the output is kept, rendered once for all. A viewer that is too slow is told how much it has missed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::printed::{Batch, StreamReader};
use crate::view::output_event::{OutputEvent, OutputStream};
use crate::view::safe_text::safe;
use crate::view::text::counted;

/// Tasks that are followed at once: each takes two connections to Redis.
pub(super) const TASKS: usize = 32;

/// Bytes of rendered text that are kept of one task.
const KEPT: usize = 256 << 10;

/// Between two batches for the viewers.
const PACE: Duration = Duration::from_millis(200);

/// Bytes of one batch, after which it does not wait for its time.
const BATCH: usize = 64 << 10;

/// Everyone that is followed.
#[derive(Debug, Default)]
pub(super) struct OutputFollowers {
    tails: Mutex<HashMap<String, Weak<FollowedOutput>>>,
}

/// As many tasks as may be are followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyFollowed;

impl OutputFollowers {
    /// The tail of the task with this id, raw or not; `begin` starts to follow it when nobody does.
    pub(super) fn follow(
        &self,
        (id, is_raw): (&str, bool),
        begin: impl FnOnce() -> OutputStream,
    ) -> Result<Arc<FollowedOutput>, TooManyFollowed> {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.retain(|_, tail| tail.strong_count() > 0);
        // One that has come to its end says nothing of another attempt.
        let key = format!("{id}{}", if is_raw { " raw" } else { "" });
        if let Some(tail) = tails.get(&key).and_then(Weak::upgrade).filter(|tail| !tail.shared.look().is_over) {
            return Ok(tail);
        }
        if tails.len() >= TASKS && !tails.contains_key(&key) {
            return Err(TooManyFollowed);
        }
        let tail = Arc::new(FollowedOutput::start(begin(), is_raw));
        tails.insert(key, Arc::downgrade(&tail));
        Ok(tail)
    }

    /// Tasks that are followed now.
    pub(super) fn count(&self) -> usize {
        let tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.values().filter_map(Weak::upgrade).filter(|tail| !tail.shared.look().is_over).count()
    }
}

/// What one task prints. Dropped with its last viewer, and the follower with it.
#[derive(Debug)]
pub(super) struct FollowedOutput {
    shared: Arc<SharedOutput>,
    follower: AbortHandle,
}

#[derive(Debug)]
struct SharedOutput {
    kept: Mutex<OutputBuffer>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct OutputBuffer {
    batches: VecDeque<Arc<str>>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
    status: Arc<str>,
    /// Changes of the status.
    turns: u64,
    is_over: bool,
}

impl SharedOutput {
    fn look(&self) -> MutexGuard<'_, OutputBuffer> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, batch: String) {
        let mut kept = self.look();
        kept.bytes += batch.len();
        kept.batches.push_back(batch.into());
        while kept.bytes > KEPT && kept.batches.len() > 1 {
            kept.bytes -= kept.batches.pop_front().map_or(0, |oldest| oldest.len());
            kept.first += 1;
        }
        drop(kept);
        self.changes.send_replace(());
    }

    fn add_all(&self, batch: &mut Batch) {
        if let Some(json) = batch.take() {
            self.add(json);
        }
    }

    fn say(&self, phase: &str, text: &str) {
        let mut kept = self.look();
        kept.status = json!({ "phase": phase, "status": safe(text) }).to_string().into();
        kept.turns += 1;
        kept.is_over = phase == "over";
        drop(kept);
        self.changes.send_replace(());
    }
}

impl FollowedOutput {
    fn start(printing: OutputStream, is_raw: bool) -> Self {
        let shared = Arc::new(SharedOutput { kept: Mutex::default(), changes: watch::Sender::new(()) });
        let follower = tokio::spawn(follow(Arc::clone(&shared), printing, is_raw)).abort_handle();
        Self { shared, follower }
    }

    /// Somebody who begins with what is kept.
    pub(super) fn viewer(self: &Arc<Self>) -> OutputViewer {
        OutputViewer {
            changes: self.shared.changes.subscribe(),
            tail: Arc::clone(self),
            next: None,
            turns: 0,
            is_done: false,
        }
    }
}

impl Drop for FollowedOutput {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// One who looks.
pub(super) struct OutputViewer {
    tail: Arc<FollowedOutput>,
    changes: watch::Receiver<()>,
    /// The batch it gets next.
    next: Option<u64>,
    turns: u64,
    is_done: bool,
}

impl OutputViewer {
    /// The next event, JSON; `None` after the last. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Arc<str>> {
        loop {
            if self.is_done {
                return None;
            }
            if let Some(event) = self.take() {
                return Some(event);
            }
            self.changes.changed().await.ok()?;
        }
    }

    fn take(&mut self) -> Option<Arc<str>> {
        let kept = self.tail.shared.look();
        let Some(next) = self.next else {
            // Whatever a page has from before a break is told again.
            self.next = Some(kept.first);
            return Some(json!({ "begin": true, "is_cut": kept.first > 0 }).to_string().into());
        };
        if next < kept.first {
            self.next = Some(kept.first);
            return Some(
                json!({ "pieces": [["gap", "… part of the output was dropped, because this page was too slow …"]] })
                    .to_string()
                    .into(),
            );
        }
        let at = usize::try_from(next - kept.first).unwrap_or(usize::MAX);
        if let Some(batch) = kept.batches.get(at) {
            self.next = Some(next + 1);
            return Some(Arc::clone(batch));
        }
        if self.turns < kept.turns {
            (self.turns, self.is_done) = (kept.turns, kept.is_over);
            return Some(Arc::clone(&kept.status));
        }
        None
    }
}

/// Until the attempt has ended.
async fn follow(shared: Arc<SharedOutput>, mut printing: OutputStream, is_raw: bool) {
    let mut readers = [StreamReader::new(is_raw), StreamReader::new(is_raw)];
    let mut batch = Batch::default();
    let mut due = None::<Instant>;
    // What stands there again when a worker, or Redis, answers again.
    let mut steady = None::<(&'static str, String)>;
    let mut is_disturbed = false;
    loop {
        let printed = match due {
            None => printing.next().await,
            Some(at) => match tokio::time::timeout_at(at, printing.next()).await {
                Ok(printed) => printed,
                Err(_) => {
                    due = None;
                    shared.add_all(&mut batch);
                    continue;
                }
            },
        };
        if matches!(printed, Some(OutputEvent::Output { .. } | OutputEvent::Mended))
            && std::mem::take(&mut is_disturbed)
            && let Some((phase, text)) = &steady
        {
            shared.say(phase, text);
        }
        match printed {
            Some(OutputEvent::Output { is_stderr, skipped, bytes }) => {
                if skipped > 0 {
                    batch.note(format!("… {} not kept …", counted(skipped, "byte")));
                }
                let kind = if is_stderr { "err" } else { "out" };
                batch.print(kind, &mut readers[usize::from(is_stderr)], &bytes);
                let due = *due.get_or_insert_with(|| Instant::now() + PACE);
                if batch.bytes() < BATCH && Instant::now() < due {
                    continue;
                }
            }
            Some(OutputEvent::Mended) => {}
            Some(OutputEvent::Waits) => {
                let (phase, text) =
                    steady.insert(("waits", "the task waits; this page shows when it starts".to_owned()));
                shared.say(phase, text);
            }
            Some(OutputEvent::RunsOn(worker)) => {
                let (phase, text) = steady.insert(("runs", format!("live from {worker}")));
                shared.say(phase, text);
            }
            Some(OutputEvent::Silent(worker)) => {
                is_disturbed = true;
                shared.say("silent", &format!("{worker} has not answered yet; asking again"));
            }
            Some(OutputEvent::Away(why)) => {
                is_disturbed = true;
                shared.say("away", &format!("{why}; retrying"));
            }
            None => {
                for (kind, reader) in ["out", "err"].into_iter().zip(&mut readers) {
                    batch.end(kind, reader);
                }
                shared.add_all(&mut batch);
                return shared.say("over", "the task has ended");
            }
        }
        due = None;
        shared.add_all(&mut batch);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;
    use serde_json::Value;
    use tokio::sync::mpsc;

    use super::*;

    fn out(bytes: &[u8]) -> OutputEvent {
        OutputEvent::Output { is_stderr: false, skipped: 0, bytes: bytes.to_vec() }
    }

    /// A task that prints what is sent.
    fn printing() -> (mpsc::UnboundedSender<OutputEvent>, OutputStream) {
        let (tell, told) = mpsc::unbounded_channel();
        (tell, Box::pin(stream::unfold(told, async |mut told| told.recv().await.map(|printed| (printed, told)))))
    }

    /// The text of all events so far, and the last phase.
    async fn read(viewer: &mut OutputViewer) -> (String, String) {
        let (mut text, mut phase) = (String::new(), String::new());
        while let Ok(Some(event)) = tokio::time::timeout(4 * PACE, viewer.next()).await {
            let event: Value = serde_json::from_str(&event).expect("JSON");
            for piece in event["pieces"].as_array().into_iter().flatten() {
                text.push_str(piece[1].as_str().expect("text"));
            }
            if let Some(said) = event["phase"].as_str() {
                phase = said.to_owned();
            }
        }
        (text, phase)
    }

    #[tokio::test(start_paused = true)]
    async fn viewers_share_a_follower_that_ends_with_the_last_of_them() {
        let tails = OutputFollowers::default();
        let begun = AtomicUsize::new(0);
        let (tell, task) = printing();
        let mut task = Some(task);
        let mut come = || {
            let tail = tails.follow(("a", false), || {
                begun.fetch_add(1, Ordering::Relaxed);
                task.take().expect("it begins once")
            });
            tail.expect("there is room").viewer()
        };
        let mut viewers: Vec<OutputViewer> = (0..200).map(|_| come()).collect();
        tell.send(out(b"one\n")).expect("it is followed");
        for viewer in &mut viewers {
            assert_eq!(read(viewer).await.0, "one\n");
        }
        let mut late = come();
        assert_eq!(read(&mut late).await.0, "one\n", "who comes late sees the beginning");
        assert_eq!((begun.load(Ordering::Relaxed), tails.count()), (1, 1));
        drop(viewers);
        tell.send(out(b"two\n")).expect("it is still followed");
        assert_eq!(read(&mut late).await.0, "two\n");
        drop(late);
        tell.closed().await;
        assert_eq!(tails.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn kept_output_is_bounded_and_slow_viewers_are_told_of_gaps() {
        let tails = OutputFollowers::default();
        let (tell, task) = printing();
        let tail = tails.follow(("a", false), || task).expect("there is room");
        let mut slow = tail.viewer();
        slow.next().await.expect("the beginning");
        for at in 0..200_000 {
            tell.send(out(format!("line {at}\n").as_bytes())).expect("it is followed");
        }
        drop(tell);
        while !tail.shared.look().is_over {
            tokio::task::yield_now().await;
        }
        let (text, phase) = read(&mut slow).await;
        assert!(text.starts_with('…') && text.ends_with("line 199999\n"), "{} bytes", text.len());
        assert!(text.len() < 2 * KEPT && tail.shared.look().bytes < 2 * KEPT);
        assert_eq!(phase, "over");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_over_is_followed_anew() {
        let tails = OutputFollowers::default();
        let (tell, task) = printing();
        let first = tails.follow(("a", false), || task).expect("there is room");
        drop(tell);
        assert_eq!(read(&mut first.viewer()).await.1, "over");
        let (tell, task) = printing();
        let second = tails.follow(("a", false), || task).expect("there is room");
        tell.send(OutputEvent::RunsOn("w\u{1b}[2J".to_owned())).expect("it is followed");
        let mut viewer = second.viewer();
        assert_eq!(read(&mut viewer).await.1, "runs");
        assert!(second.shared.look().status.contains("w\\\\x1b[2J"), "{}", second.shared.look().status);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_tasks_are_followed_and_a_place_becomes_free() {
        let tails = OutputFollowers::default();
        let mut held: Vec<Arc<FollowedOutput>> = (0..TASKS)
            .map(|at| tails.follow((&at.to_string(), false), || Box::pin(stream::pending())).expect("there is room"))
            .collect();
        assert_eq!(tails.follow(("more", false), || Box::pin(stream::pending())).err(), Some(TooManyFollowed));
        assert!(tails.follow(("0", false), || panic!("it is followed")).is_ok(), "one more viewer of the same");
        held.pop();
        assert!(tails.follow(("more", false), || Box::pin(stream::pending())).is_ok());
    }
}
