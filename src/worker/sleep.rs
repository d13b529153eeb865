//! Notices that the machine was asleep: a notebook whose lid was closed, a node that was suspended for the night.

use std::time::{Duration, Instant};

use crate::sys::boot;

/// Less than this is no sleep, but two clocks that were not read at one moment.
const LEAST: Duration = Duration::from_millis(500);

/// Compares a clock that stands still while the machine sleeps with one that does not.
pub(super) struct Sleep {
    /// When both were read last: the one that stands still, and milliseconds of the other.
    last: (Instant, u64),
}

impl Default for Sleep {
    fn default() -> Self {
        Self { last: (Instant::now(), boot::clock_ms()) }
    }
}

impl Sleep {
    /// How long the machine has slept since this was asked last; `None` when it has not.
    pub(super) fn since_last(&mut self) -> Option<Duration> {
        self.between((Instant::now(), boot::clock_ms()))
    }

    fn between(&mut self, now: (Instant, u64)) -> Option<Duration> {
        let last = std::mem::replace(&mut self.last, now);
        let passed = Duration::from_millis(now.1.saturating_sub(last.1));
        let slept = passed.saturating_sub(now.0.saturating_duration_since(last.0));
        (slept >= LEAST).then_some(slept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_is_told_once_and_a_long_wait_is_none() {
        let mut sleep = Sleep::default();
        let (start, ms) = sleep.last;
        let after = |awake: u64, asleep: u64| (start + Duration::from_millis(awake), ms + awake + asleep);
        assert_eq!(sleep.between(after(3_600_000, 1)), None);
        let night = 8 * 3_600_000;
        assert_eq!(sleep.between(after(3_600_010, night)), Some(Duration::from_millis(night - 1)));
        assert_eq!(sleep.between(after(3_700_000, night)), None);
        assert_eq!(Sleep::default().since_last(), None);
    }
}
