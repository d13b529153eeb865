//! Ends a worker before its time is over (`time_limit_seconds`).

use std::time::Duration;

use tokio::sync::mpsc;

use super::events::Event;
use crate::config::Config;
use crate::policy::Lifetime;
use crate::sys::wall_clock;

/// A machine that was asleep is noticed this late at most: its time went on meanwhile.
const LOOK: Duration = Duration::from_secs(10);

/// When the worker drains and terminates its tasks, after its start; `None` where its time is not limited.
pub(super) fn lifetime(config: &Config) -> Option<Lifetime> {
    config.time_limit.map(|limit| Lifetime::new(limit, config.drain_timeout, config.kill_grace))
}

/// Says once that the worker, started in this second since the epoch, has to go.
pub(super) async fn run(lifetime: Lifetime, since: u64, events: mpsc::Sender<Event>) {
    let start_ms = since.saturating_mul(1000);
    loop {
        let lived = Duration::from_millis(wall_clock::unix_ms().saturating_sub(start_ms));
        let left = lifetime.drains_after.saturating_sub(lived);
        if left.is_zero() {
            let until = lifetime.terminates_after.saturating_sub(lived);
            let _ = events.send(Event::Expiring { left: until }).await;
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}
