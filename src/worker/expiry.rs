//! Ends a worker before its time is over (`time_limit_seconds`).

use std::time::Duration;

use tokio::sync::mpsc;

use super::events::Event;
use crate::config::Config;
use crate::policy::Lifetime;
use crate::sys::boot;

/// A machine that was asleep is noticed this late at most: its time went on meanwhile.
const LOOK: Duration = Duration::from_secs(10);

/// When the worker drains and terminates its tasks, after its start; `None` where its time is not limited.
pub(super) fn lifetime(config: &Config) -> Option<Lifetime> {
    config.time_limit.map(|limit| Lifetime::new(limit, config.drain_timeout, config.kill_grace))
}

/// Says once that the worker has to go, which was started at this moment by [`boot::clock_ms`]: somebody may set the clock of the wall.
pub(super) async fn run(lifetime: Lifetime, started_ms: u64, events: mpsc::Sender<Event>) {
    loop {
        let lived = Duration::from_millis(boot::clock_ms().saturating_sub(started_ms));
        let left = lifetime.drains_after.saturating_sub(lived);
        if left.is_zero() {
            let until = lifetime.terminates_after.saturating_sub(lived);
            let _ = events.send(Event::Expiring { left: until }).await;
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}
