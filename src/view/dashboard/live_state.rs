//! The latest snapshot of the queue, shared by all viewers. One reader publishes it, and the number of viewers makes no difference to Redis,
//! except that the reader slows down while there is none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::figures::Figures;
use super::history::{History, Point};
use super::node_history::NodeHistory;
use crate::model::snapshot::{BatchList, HistoryRow, Overview, Runnable};
use crate::sys::wall_clock;
use crate::view::safe_text::safe;
use crate::view::text::{duration, moment};

/// Between two looks at Redis while somebody looks at us.
const WATCHED: Duration = Duration::from_secs(1);

/// And while nobody does: the charts go on, coarser.
const UNWATCHED: Duration = Duration::from_secs(5);

/// After its last request somebody without a stream counts as looking for this long.
const ATTENTION: Duration = Duration::from_secs(10);

/// What is older says nothing of the present: it is read every five seconds at least, and a read takes milliseconds.
const STALE: Duration = Duration::from_secs(7);

/// The picture of one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The queue.
    pub overview: Overview,
    /// When it was read.
    pub read_at: Instant,
    /// The same in seconds since the epoch.
    pub read_unix: f64,
    /// Why it is not of this moment: a whole sentence, and how old it is.
    outage: Option<String>,
    pub(super) figures: Figures,
    pub(super) point: Point,
    /// Grows from one to the next.
    pub(super) number: u64,
}

impl Snapshot {
    /// Whether it still tells of the present: Redis answers, as far as is known.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.outage.is_none() && self.read_at.elapsed() < STALE
    }

    /// Why it is not of this moment, and how old it is by now; `None` while Redis answers, as far as is known.
    #[must_use]
    pub fn outage(&self) -> Option<String> {
        let why = self.outage.as_ref()?;
        let age = duration(self.read_at.elapsed().as_secs());
        Some(format!(
            "{why} The data shown are from {}, {age} ago. The page recovers on its own when Redis is back.",
            moment(self.read_unix)
        ))
    }
}

/// What metrics tell beside a snapshot. It costs more to read, and is read less often.
#[derive(Clone, Debug)]
pub struct ScrapeExtras {
    /// When it was read.
    pub read_at: Instant,
    /// Batches, those that have not ended first.
    pub batches: Arc<BatchList>,
    /// What might run.
    pub runnable: Arc<Runnable>,
    /// Seconds for which the longest-waiting task had waited; 0 when none waited.
    pub oldest_waiting_seconds: f64,
}

/// The latest snapshot, the history, and who is looking.
#[derive(Debug)]
pub struct LiveState {
    snapshots: watch::Sender<Arc<Snapshot>>,
    extras: Mutex<Option<ScrapeExtras>>,
    history: Mutex<History>,
    nodes: Mutex<NodeHistory>,
    viewers: AtomicUsize,
    asked: Mutex<Option<Instant>>,
    wake: Notify,
}

impl LiveState {
    /// The state that shows this.
    #[must_use]
    pub fn new(overview: Overview) -> Self {
        let mut history = History::default();
        let snapshot = snapshot(&mut history, overview, 0);
        Self {
            snapshots: watch::Sender::new(Arc::new(snapshot)),
            extras: Mutex::default(),
            history: Mutex::new(history),
            nodes: Mutex::default(),
            viewers: AtomicUsize::new(0),
            asked: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Puts up what was just read.
    pub fn publish(&self, overview: Overview) {
        let number = self.snapshots.borrow().number + 1;
        let snapshot = snapshot(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner), overview, number);
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).add(snapshot.read_unix, &snapshot.overview);
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    /// Takes over rows of the queue's own history.
    pub fn keep_history(&self, rows: &[HistoryRow]) {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).keep(rows);
    }

    /// The moment after which rows of that history are missing; 0 = all of them.
    #[must_use]
    pub fn newest_row(&self) -> u64 {
        self.history(History::newest_row)
    }

    /// Says that Redis could not be read now; what was up stays up, with its age.
    pub fn publish_outage(&self, why: &str) {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).note_outage();
        let last = Arc::clone(&self.snapshots.borrow());
        let outage = format!("Redis does not answer ({}).", safe(why));
        self.snapshots.send_replace(Arc::new(Snapshot {
            overview: last.overview.clone(),
            read_at: last.read_at,
            read_unix: last.read_unix,
            outage: Some(outage),
            figures: last.figures.clone(),
            point: last.point,
            number: last.number,
        }));
    }

    /// Returns when Redis should be read again: soon while somebody looks, at once when somebody has come.
    pub async fn next_look(&self) {
        let start = Instant::now();
        let pause = if self.is_watched() { WATCHED } else { UNWATCHED };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.wake.notified() => {
                // Never sooner than it would be for somebody who looks all the time.
                tokio::time::sleep(WATCHED.saturating_sub(start.elapsed())).await;
            }
        }
    }

    fn is_watched(&self) -> bool {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.viewers.load(Ordering::Relaxed) > 0 || asked.is_some_and(|at| at.elapsed() < ATTENTION)
    }

    /// What is up, for a page or a scrape: not older than a few seconds, unless Redis is away.
    pub async fn look(&self) -> Arc<Snapshot> {
        self.look_within(2 * WATCHED).await
    }

    /// The same, waiting for a newer one no longer than `patience`.
    pub(super) async fn look_within(&self, patience: Duration) -> Arc<Snapshot> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let mut snapshots = self.snapshots.subscribe();
        let now = Arc::clone(&snapshots.borrow_and_update());
        if now.outage.is_some() || now.read_at.elapsed() < 2 * WATCHED {
            return now;
        }
        self.wake.notify_one();
        match tokio::time::timeout(patience, snapshots.changed()).await {
            Ok(Ok(())) => Arc::clone(&snapshots.borrow()),
            Ok(Err(_)) | Err(_) => now,
        }
    }

    /// Puts up what only metrics tell.
    pub fn publish_extras(&self, extras: ScrapeExtras) {
        *self.extras.lock().unwrap_or_else(PoisonError::into_inner) = Some(extras);
    }

    /// What only metrics tell; `None` where it was not read of late.
    pub(super) fn extras(&self) -> Option<ScrapeExtras> {
        let extras = self.extras.lock().unwrap_or_else(PoisonError::into_inner).clone();
        extras.filter(|extras| extras.read_at.elapsed() < STALE)
    }

    /// Every snapshot from now on; counts as looking until it is dropped.
    pub(super) fn follow(self: &Arc<Self>) -> Follower {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        self.wake.notify_one();
        Follower { snapshots: self.snapshots.subscribe(), live: Arc::clone(self) }
    }

    /// How many follow.
    pub(super) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    pub(super) fn nodes<T>(&self, read: impl FnOnce(&NodeHistory) -> T) -> T {
        read(&self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn history<T>(&self, read: impl FnOnce(&History) -> T) -> T {
        read(&self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A viewer with a stream.
pub(super) struct Follower {
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    live: Arc<LiveState>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.live.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn snapshot(history: &mut History, overview: Overview, number: u64) -> Snapshot {
    let read_unix = wall_clock::now().unwrap_or_default().as_secs_f64();
    let point = history.add(read_unix, &overview);
    let figures = Figures::of(&overview, &point);
    Snapshot { overview, read_at: Instant::now(), read_unix, outage: None, figures, point, number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_looking_slows_the_reader_down_and_a_viewer_wakes_it() {
        let live = Arc::new(LiveState::new(Overview::default()));
        let start = tokio::time::Instant::now();
        live.next_look().await;
        assert_eq!(start.elapsed(), UNWATCHED);
        let viewer = live.follow();
        let start = tokio::time::Instant::now();
        live.next_look().await;
        live.next_look().await;
        assert!(start.elapsed() <= 2 * WATCHED + Duration::from_millis(20), "{:?}", start.elapsed());
        drop(viewer);
        assert_eq!(live.viewers(), 0);
    }

    #[tokio::test]
    async fn an_outage_keeps_the_picture_and_says_so() {
        let live = LiveState::new(Overview::default());
        live.publish_outage("connection refused\x1b[2J");
        let snapshot = live.look().await;
        let outage = snapshot.outage().expect("it is told");
        assert!(outage.contains("connection refused\\x1b[2J") && outage.contains("ago"), "{outage}");
        live.publish(Overview::default());
        assert!(live.look().await.outage().is_none());
    }
}
