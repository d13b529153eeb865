//! Limits the reports of a fault that lasts: the first failure is reported, then one at growing intervals, and the end once.

use std::time::{Duration, Instant};

/// After the first report of a fault, the next one comes this much later; each further interval is twice as long.
const FIRST: Duration = Duration::from_secs(10);

/// The longest interval.
const LONGEST: Duration = Duration::from_secs(3600);

/// One fault, from its first failure on.
#[derive(Clone, Copy, Debug)]
pub struct OngoingFault {
    since: Instant,
    next: Instant,
    pause: Duration,
    failures: u64,
}

impl OngoingFault {
    /// The first failure, which the caller reports.
    #[must_use]
    pub fn begin(now: Instant) -> Self {
        Self { since: now, next: now + FIRST, pause: FIRST, failures: 1 }
    }

    /// Counts a further failure; whether it is time to report the fault again.
    pub fn again(&mut self, now: Instant) -> bool {
        self.failures += 1;
        let is_due = now >= self.next;
        if is_due {
            self.pause = (self.pause * 2).min(LONGEST);
            self.next = now + self.pause;
        }
        is_due
    }

    /// How long it has lasted.
    #[must_use]
    pub fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Failures so far.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_fault_is_reported_at_growing_intervals() {
        let start = Instant::now();
        let mut fault = OngoingFault::begin(start);
        let said: Vec<u64> = (1..=20_000).filter(|&second| fault.again(start + Duration::from_secs(second))).collect();
        assert_eq!(said, [10, 30, 70, 150, 310, 630, 1270, 2550, 5110, 8710, 12310, 15910, 19510]);
        assert_eq!((fault.failures(), fault.lasted(start + FIRST)), (20_001, FIRST));
    }
}
