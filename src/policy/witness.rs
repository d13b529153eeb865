//! May this worker call another one dead? A heartbeat that is old may as well mean that Redis was away, full or hung, that we were
//! frozen ourselves, or that somebody set the server's clock: then everybody's is old, and nobody has died.

use std::time::{Duration, Instant};

/// A worker that has lost Redis is back within this time of its return: it tries again after two seconds at most. Where a lease is shorter, one that is
/// back first must not take the others for dead.
const RETURN: Duration = Duration::from_secs(3);

/// What the server says at one look.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The server's clock, since the epoch.
    pub server: Duration,
    /// The second of our own last heartbeat; `None` when there is none.
    pub own_beat: Option<u64>,
}

/// How long, without a gap, we have seen Redis take heartbeats, our own among them, by a clock that ran evenly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Witness {
    since: Option<Instant>,
    last: Option<(Instant, Duration)>,
}

impl Witness {
    /// Takes in one look. Answers whether silence of `dead_after` can be believed by now.
    pub fn look(&mut self, now: Instant, look: Look, dead_after: Duration) -> bool {
        let slack = dead_after / 2;
        let is_even = self.last.is_none_or(|(then, server)| {
            let passed = now.saturating_duration_since(then);
            let there = look.server.saturating_sub(server);
            passed < dead_after && there.abs_diff(passed) < slack && look.server >= server
        });
        // A heartbeat is of any moment of its second.
        let own_age = look.own_beat.map(|beat| look.server.saturating_sub(Duration::from_secs(beat)));
        let is_heard = own_age.is_some_and(|age| age < slack + Duration::from_secs(1));
        self.last = Some((now, look.server));
        if !is_even || !is_heard {
            self.since = None;
        }
        if !is_heard {
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) >= dead_after.max(RETURN)
    }

    /// In how long silence can be believed if every look until then is a good one; `None` when the last was none.
    #[must_use]
    pub fn believes_in(&self, now: Instant, dead_after: Duration) -> Option<Duration> {
        self.since.map(|since| dead_after.max(RETURN).saturating_sub(now.saturating_duration_since(since)))
    }

    /// A look that failed: whatever is silent from here on may be so for our own reason.
    pub fn miss(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: Duration = Duration::from_secs(10);

    /// Looks once a second, from second 0 to `until` of our clock; the server's clock and our heartbeat as told.
    fn watch(witness: &mut Witness, start: Instant, seconds: std::ops::Range<u64>, ahead: u64, beats: bool) -> bool {
        let mut believes = false;
        for second in seconds {
            let server = Duration::from_secs(1000 + second + ahead);
            let own_beat = Some(if beats { server.as_secs() } else { 1000 });
            believes = witness.look(start + Duration::from_secs(second), Look { server, own_beat }, DEAD);
        }
        believes
    }

    #[test]
    fn silence_is_believed_after_a_whole_lease_of_watching() {
        let (mut witness, start) = (Witness::default(), Instant::now());
        assert!(!watch(&mut witness, start, 0..10, 0, true));
        assert_eq!(witness.believes_in(start + Duration::from_secs(9), DEAD), Some(Duration::from_secs(1)));
        assert!(watch(&mut witness, start, 10..11, 0, true));
        witness.miss();
        assert_eq!(witness.believes_in(start + Duration::from_secs(11), DEAD), None);
    }

    #[test]
    fn after_a_server_that_was_away_nobody_is_dead_for_a_whole_lease() {
        let (mut witness, start) = (Witness::default(), Instant::now());
        assert!(watch(&mut witness, start, 0..20, 0, true));
        witness.miss();
        assert!(!watch(&mut witness, start, 60..70, 0, true));
        assert!(watch(&mut witness, start, 70..71, 0, true));
    }

    #[test]
    fn a_short_lease_leaves_the_others_time_to_come_back() {
        let (mut witness, start) = (Witness::default(), Instant::now());
        let at = |ms: u64| Look { server: Duration::from_millis(1_000_000 + ms), own_beat: Some(1000 + ms / 1000) };
        let lease = Duration::from_millis(1000);
        let believed = (0..=40).map(|step| step * 100).find(|&ms| {
            let now = start + Duration::from_millis(ms);
            witness.look(now, at(ms), lease)
        });
        assert_eq!(believed, Some(3000));
    }

    #[test]
    fn a_clock_that_was_set_and_a_freeze_of_our_own_are_noticed() {
        let (mut witness, start) = (Witness::default(), Instant::now());
        assert!(watch(&mut witness, start, 0..20, 0, true));
        assert!(!watch(&mut witness, start, 20..21, 3600, true), "the clock jumped");
        assert!(watch(&mut witness, start, 21..31, 3600, true));
        assert!(!watch(&mut witness, start, 31..32, 0, true), "and back");
        assert!(watch(&mut witness, start, 32..42, 0, true));
        assert!(!watch(&mut witness, start, 100..101, 0, true), "we were frozen");
    }

    #[test]
    fn who_cannot_beat_believes_nothing() {
        let (mut witness, start) = (Witness::default(), Instant::now());
        assert!(!watch(&mut witness, start, 7..60, 0, false));
    }
}
