//! Watches deadlines, apart from everything else: a task that runs past its limit is reported on time, whatever the other loops do.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::events::{Event, TaskKey};
use crate::config::Config;
use crate::policy::deadline::{Deadlines, deadline};

/// What the dispatcher tells the monitor.
#[derive(Clone, Copy, Debug)]
pub enum Watch {
    /// A task started now, with this limit in seconds.
    Arm(TaskKey, u64),
    /// A task is over.
    Disarm(TaskKey),
}

/// The loop.
pub struct TimeoutMonitor {
    /// What to watch.
    pub watches: mpsc::UnboundedReceiver<Watch>,
    /// Where overdue tasks are reported.
    pub events: mpsc::Sender<Event>,
    /// The settings.
    pub config: watch::Receiver<std::sync::Arc<Config>>,
}

impl TimeoutMonitor {
    /// Until the dispatcher is gone.
    pub async fn run(mut self) {
        let mut deadlines = Deadlines::default();
        loop {
            // The timer is set to the next deadline; the interval bounds how late one is noticed should the timer be late.
            let check = Instant::now() + self.config.borrow().timeout_check_interval.max(Duration::from_millis(10));
            let wake = deadlines.next().map_or(check, |next| next.min(check));
            tokio::select! {
                watch = self.watches.recv() => match watch {
                    Some(Watch::Arm(key, limit)) => {
                        if let Some(at) = deadline(Instant::now(), limit) {
                            deadlines.arm(key, at);
                        }
                    }
                    Some(Watch::Disarm(key)) => deadlines.disarm(key),
                    None => return,
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            for key in deadlines.take_overdue(Instant::now()) {
                if self.events.send(Event::Overdue(key)).await.is_err() {
                    return;
                }
            }
        }
    }
}
