//! Writes the history of the queue, a row a minute. Every worker tries, and the first one of a minute does it.

use std::sync::Arc;
use std::time::Duration;

use super::faults::Doing;
use super::link::Link;
use crate::queue::history;
use crate::sys::{random, wall_clock};

/// Between rows.
const PERIOD: u64 = 60;

/// How much later than the minute the last of the workers looks: the first one has written by then.
const SPREAD: f64 = 20.0;

/// Tries to write the row of each minute.
pub(super) struct Historian {
    /// The way to Redis.
    pub(super) link: Arc<Link>,
}

impl Historian {
    /// For ever; it is dropped at shutdown.
    pub(super) async fn run(self) {
        loop {
            let past = wall_clock::now().unwrap_or_default().as_secs() % PERIOD;
            tokio::time::sleep(Duration::from_secs_f64((PERIOD - past) as f64 + SPREAD * random::fraction())).await;
            if let Some(session) = self.link.present() {
                match history::write(session.connection()).await {
                    Ok(_) => self.link.worked(Doing::History),
                    Err(error) => {
                        self.link.report(&session, Doing::History, &error);
                    }
                }
            }
        }
    }
}
