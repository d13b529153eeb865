//! How long to wait before the next claim after one that brought less than was asked for.

use std::time::{Duration, Instant};

/// The shortest adaptive interval: something was found or ended a moment ago.
pub const BUSY: Duration = Duration::from_millis(100);

/// The longest adaptive interval: nothing for a while.
pub const IDLE: Duration = Duration::from_secs(5);

/// A fixed interval of 0 still leaves the other side time to breathe.
const LEAST: Duration = Duration::from_millis(10);

/// The poll timer. A wake-up or room that has grown overrides it.
#[derive(Clone, Debug)]
pub struct Polling {
    interval: Duration,
    next: Option<Instant>,
}

impl Default for Polling {
    fn default() -> Self {
        Self { interval: BUSY, next: None }
    }
}

impl Polling {
    /// Whether it is time to ask.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// When it is time to ask; `None` = now.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Something may be there: ask at once, and quickly again.
    pub fn wake(&mut self) {
        self.interval = BUSY;
        self.next = None;
    }

    /// A claim brought all that was asked for: there may be more.
    pub fn found_all(&mut self) {
        self.wake();
    }

    /// A claim brought less than was asked for. `fixed` is the interval where it is not adapted; `latest` a moment at which something is known
    /// to become ready.
    pub fn found_less(&mut self, now: Instant, found_any: bool, fixed: Option<Duration>, latest: Option<Instant>) {
        let interval = match fixed {
            Some(fixed) => fixed.max(LEAST),
            None if found_any => {
                self.interval = BUSY;
                BUSY
            }
            None => {
                let interval = self.interval;
                self.interval = (interval * 3 / 2).min(IDLE);
                interval
            }
        };
        let next = now + interval;
        self.next = Some(latest.map_or(next, |latest| next.min(latest.max(now + LEAST))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_grows_while_idle_and_resets_on_new_tasks() {
        let mut polling = Polling::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..20 {
            polling.found_less(now, false, None, None);
            let next = polling.next().expect("armed");
            waits.push(next - now);
            now = next;
        }
        assert_eq!(waits.first(), Some(&BUSY));
        assert_eq!(waits.last(), Some(&IDLE));
        assert!(waits.is_sorted());
        polling.wake();
        assert!(polling.is_due(now));
        polling.found_less(now, true, None, None);
        assert_eq!(polling.next(), Some(now + BUSY));
    }

    #[test]
    fn a_fixed_interval_stays_fixed() {
        let mut polling = Polling::default();
        let now = Instant::now();
        for _ in 0..5 {
            polling.found_less(now, false, Some(Duration::from_secs(2)), None);
            assert_eq!(polling.next(), Some(now + Duration::from_secs(2)));
        }
        polling.found_less(now, false, Some(Duration::ZERO), None);
        assert!(!polling.is_due(now));
    }
}
