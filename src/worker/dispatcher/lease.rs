//! The lease: whether Redis is there, and until when nobody may have declared this worker dead.

use std::time::{Duration, Instant};

/// See the module. A worker attaches before it has one, so that it begins held.
#[derive(Debug)]
pub(super) struct Lease {
    /// When the connection was lost; `None` while there is one.
    unlinked: Option<Instant>,
    /// When the heartbeat was made that Redis took last: the lease runs from there.
    since: Instant,
    /// How long the machine has been asleep since then.
    asleep: Duration,
    /// When the heartbeat was made that is under way.
    heartbeat: Option<Instant>,
}

impl Lease {
    /// From attaching on.
    pub(super) fn new(now: Instant) -> Self {
        Self { unlinked: None, since: now, asleep: Duration::ZERO, heartbeat: None }
    }

    /// Whether there is a connection.
    pub(super) fn is_linked(&self) -> bool {
        self.unlinked.is_none()
    }

    /// When the connection was lost; `None` while there is one.
    pub(super) fn unlinked_since(&self) -> Option<Instant> {
        self.unlinked
    }

    /// The connection is gone.
    pub(super) fn unlink(&mut self, now: Instant) {
        self.unlinked = Some(now);
    }

    /// The worker has attached again, which renews the lease. Whether the connection had been gone.
    pub(super) fn relink(&mut self, now: Instant) -> bool {
        let was_gone = !self.is_linked();
        *self = Self::new(now);
        was_gone
    }

    /// A heartbeat was made and is on its way.
    pub(super) fn heartbeat_made(&mut self, now: Instant) {
        self.heartbeat = Some(now);
    }

    /// Redis took the heartbeat that was made last: the lease runs from its making, not from the answer.
    pub(super) fn heartbeat_taken(&mut self) {
        if let Some(made) = self.heartbeat.take() {
            (self.since, self.asleep) = (made.max(self.since), Duration::ZERO);
        }
    }

    /// The lease went on while the machine slept. A heartbeat that was made before counts from before, and renews nothing.
    pub(super) fn slept(&mut self, time: Duration) {
        self.asleep += time;
        self.heartbeat = None;
    }

    /// Until when nobody may have declared this worker dead, as far as it knows.
    pub(super) fn end(&self, dead_after: Duration) -> Instant {
        self.since + dead_after.saturating_sub(self.asleep)
    }

    /// Whether what is claimed is still ours for certain. A worker that was frozen may find its tasks in other hands, and starts none until a heartbeat
    /// was taken; nor does it while Redis is away, when the claim may be another's by the time it is back.
    pub(super) fn may_start(&self, now: Instant, dead_after: Duration) -> bool {
        self.is_linked() && now < self.end(dead_after)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs a moment to begin with")]
mod tests {
    use super::*;

    const DEAD_AFTER: Duration = Duration::from_secs(10);

    fn lease() -> (Lease, Instant) {
        let now = Instant::now();
        (Lease::new(now), now)
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn lease_runs_from_the_making_of_the_heartbeat_taken_last() {
        let (mut lease, start) = lease();
        lease.heartbeat_made(after(start, 4));
        assert_eq!(lease.end(DEAD_AFTER), after(start, 10), "nobody has taken it yet");
        lease.heartbeat_taken();
        assert_eq!(lease.end(DEAD_AFTER), after(start, 14));
        lease.heartbeat_taken();
        assert_eq!(lease.end(DEAD_AFTER), after(start, 14), "an answer without a heartbeat renews nothing");
    }

    #[test]
    fn nothing_starts_after_the_lease_or_without_a_connection() {
        let (mut lease, start) = lease();
        assert!(lease.may_start(after(start, 9), DEAD_AFTER));
        assert!(!lease.may_start(after(start, 10), DEAD_AFTER));
        lease.unlink(after(start, 1));
        assert!(!lease.may_start(after(start, 2), DEAD_AFTER));
        assert_eq!(lease.unlinked_since(), Some(after(start, 1)));
        assert!(lease.relink(after(start, 20)) && !lease.relink(after(start, 20)));
        assert!(lease.may_start(after(start, 29), DEAD_AFTER), "attaching renews it");
    }

    #[test]
    fn sleep_counts_and_spoils_the_heartbeat_under_way() {
        let (mut lease, start) = lease();
        lease.heartbeat_made(after(start, 1));
        lease.slept(Duration::from_secs(7));
        lease.heartbeat_taken();
        assert_eq!(lease.end(DEAD_AFTER), after(start, 3));
        lease.slept(Duration::from_secs(3600));
        assert_eq!(lease.end(DEAD_AFTER), start, "over, and not before it began");
        lease.heartbeat_made(after(start, 2));
        lease.heartbeat_taken();
        assert_eq!(lease.end(DEAD_AFTER), after(start, 12));
    }
}
