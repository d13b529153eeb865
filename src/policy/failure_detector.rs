//! Decides whether this worker may declare another one dead. An old heartbeat can also mean that Redis was away, full or hung, that this worker
//! was frozen, or that somebody set the server's clock: then all heartbeats are old, and no worker has died.

use std::time::{Duration, Instant};

/// A worker that has lost Redis is back within this time of its return: it tries again after two seconds at most. Where a lease is shorter, one that is
/// back first must not take the others for dead.
const RECONNECT: Duration = Duration::from_secs(3);

/// What one observation of the server shows.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// The server's clock, since the epoch.
    pub server: Duration,
    /// The second of our own last heartbeat; `None` when there is none.
    pub own_heartbeat: Option<u64>,
}

/// How long, without a gap, we have seen Redis take heartbeats, our own among them, by a clock that ran evenly.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailureDetector {
    since: Option<Instant>,
    last: Option<(Instant, Duration)>,
}

impl FailureDetector {
    /// Takes in one observation. Returns whether silence of `dead_after` can be believed by now.
    pub fn observe(&mut self, now: Instant, seen: Observation, dead_after: Duration) -> bool {
        let slack = dead_after / 2;
        let is_even = self.last.is_none_or(|(then, server)| {
            let passed = now.saturating_duration_since(then);
            let there = seen.server.saturating_sub(server);
            passed < dead_after && there.abs_diff(passed) < slack && seen.server >= server
        });
        // A heartbeat is of any moment of its second.
        let own_age = seen.own_heartbeat.map(|heartbeat| seen.server.saturating_sub(Duration::from_secs(heartbeat)));
        let is_heard = own_age.is_some_and(|age| age < slack + Duration::from_secs(1));
        self.last = Some((now, seen.server));
        if !is_even || !is_heard {
            self.since = None;
        }
        if !is_heard {
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) >= dead_after.max(RECONNECT)
    }

    /// How long until silence can be believed, if every observation until then is good; `None` if the last one was not.
    #[must_use]
    pub fn ready_in(&self, now: Instant, dead_after: Duration) -> Option<Duration> {
        self.since.map(|since| dead_after.max(RECONNECT).saturating_sub(now.saturating_duration_since(since)))
    }

    /// An observation failed: from here on, silence may have a cause of our own.
    pub fn miss(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: Duration = Duration::from_secs(10);

    /// Looks once a second, from second 0 to `until` of our clock; the server's clock and our heartbeat as told.
    fn watch(
        detector: &mut FailureDetector,
        start: Instant,
        seconds: std::ops::Range<u64>,
        ahead: u64,
        heartbeats: bool,
    ) -> bool {
        let mut believes = false;
        for second in seconds {
            let server = Duration::from_secs(1000 + second + ahead);
            let own_heartbeat = Some(if heartbeats { server.as_secs() } else { 1000 });
            believes =
                detector.observe(start + Duration::from_secs(second), Observation { server, own_heartbeat }, DEAD);
        }
        believes
    }

    #[test]
    fn silence_is_believed_after_a_whole_lease_of_watching() {
        let (mut detector, start) = (FailureDetector::default(), Instant::now());
        assert!(!watch(&mut detector, start, 0..10, 0, true));
        assert_eq!(detector.ready_in(start + Duration::from_secs(9), DEAD), Some(Duration::from_secs(1)));
        assert!(watch(&mut detector, start, 10..11, 0, true));
        detector.miss();
        assert_eq!(detector.ready_in(start + Duration::from_secs(11), DEAD), None);
    }

    #[test]
    fn nobody_is_dead_for_a_whole_lease_after_a_server_outage() {
        let (mut detector, start) = (FailureDetector::default(), Instant::now());
        assert!(watch(&mut detector, start, 0..20, 0, true));
        detector.miss();
        assert!(!watch(&mut detector, start, 60..70, 0, true));
        assert!(watch(&mut detector, start, 70..71, 0, true));
    }

    #[test]
    fn a_short_lease_leaves_the_others_time_to_come_back() {
        let (mut detector, start) = (FailureDetector::default(), Instant::now());
        let at = |ms: u64| Observation {
            server: Duration::from_millis(1_000_000 + ms),
            own_heartbeat: Some(1000 + ms / 1000),
        };
        let lease = Duration::from_millis(1000);
        let believed = (0..=40).map(|step| step * 100).find(|&ms| {
            let now = start + Duration::from_millis(ms);
            detector.observe(now, at(ms), lease)
        });
        assert_eq!(believed, Some(3000));
    }

    #[test]
    fn a_clock_that_was_set_and_a_freeze_of_our_own_are_noticed() {
        let (mut detector, start) = (FailureDetector::default(), Instant::now());
        assert!(watch(&mut detector, start, 0..20, 0, true));
        assert!(!watch(&mut detector, start, 20..21, 3600, true), "the clock jumped");
        assert!(watch(&mut detector, start, 21..31, 3600, true));
        assert!(!watch(&mut detector, start, 31..32, 0, true), "and back");
        assert!(watch(&mut detector, start, 32..42, 0, true));
        assert!(!watch(&mut detector, start, 100..101, 0, true), "we were frozen");
    }

    #[test]
    fn who_cannot_beat_believes_nothing() {
        let (mut detector, start) = (FailureDetector::default(), Instant::now());
        assert!(!watch(&mut detector, start, 7..60, 0, false));
    }
}
