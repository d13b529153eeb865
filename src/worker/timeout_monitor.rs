//! Watches deadlines, apart from everything else: a task that runs past its limit is reported on time, whatever the other loops do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};

use super::events::{Event, TaskKey};
use crate::config::Config;
use crate::policy::deadline::{Deadlines, deadline};

/// The deadlines of running tasks, shared with the action executor. Most tasks end long before theirs, so setting and forgetting one wakes
/// nobody but for a new earliest.
#[derive(Debug, Default)]
pub struct Watchlist {
    deadlines: Mutex<Deadlines<TaskKey>>,
    is_earlier: Notify,
}

impl Watchlist {
    /// Watches a task that started now, with this limit in seconds; 0 = none.
    pub fn arm(&self, key: TaskKey, limit: u64) {
        let Some(at) = deadline(Instant::now(), limit) else { return };
        let mut deadlines = self.lock();
        let is_earliest = deadlines.next().is_none_or(|next| at < next);
        deadlines.arm(key, at);
        drop(deadlines);
        if is_earliest {
            self.is_earlier.notify_one();
        }
    }

    /// Stops watching a task.
    pub fn disarm(&self, key: TaskKey) {
        self.lock().disarm(key);
    }

    fn lock(&self) -> MutexGuard<'_, Deadlines<TaskKey>> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes at the next deadline, or at the configured interval, and reports what is overdue.
pub struct TimeoutMonitor {
    /// What to watch.
    pub watchlist: Arc<Watchlist>,
    /// Where overdue tasks are reported.
    pub events: mpsc::Sender<Event>,
    /// The settings.
    pub config: watch::Receiver<Arc<Config>>,
}

impl TimeoutMonitor {
    /// Until the dispatcher is gone.
    pub async fn run(self) {
        loop {
            // The timer is set to the next deadline; the interval bounds how late one is noticed should the timer be late.
            let check = Instant::now() + self.config.borrow().timeout_check_interval.max(Duration::from_millis(10));
            let wake = self.watchlist.lock().next().map_or(check, |next| next.min(check));
            tokio::select! {
                () = self.watchlist.is_earlier.notified() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            let overdue = self.watchlist.lock().take_overdue(Instant::now());
            for key in overdue {
                if self.events.send(Event::Overdue(key)).await.is_err() {
                    return;
                }
            }
        }
    }
}
