//! How long a worker waits before it reads what its keepers report, so that it wakes once for several ends of tasks.
//!
//! To be put to sleep and woken for each end of a task is most of what a busy worker costs. Where nothing waits for it meanwhile, one look at several
//! ends is as good: what network cards do under load (interrupt coalescing), for the same reason.

use std::time::Duration;

/// Ends are coalesced for this long: short beside what a submitter, a signal or a time-out notices.
const DELAY: Duration = Duration::from_millis(1);

/// Ends a second below which a look finds one at most.
const LEAST_RATE: f64 = 1000.0;

/// What decides whether anything waits for the worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Ends of tasks a second.
    pub rate: f64,
    /// Tasks that hold a slot.
    pub running: u32,
    /// Whether every slot is taken.
    pub is_full: bool,
    /// Whether each of the running tasks is followed by one that its keeper starts by itself.
    pub all_are_followed: bool,
    /// Whole cores of the node.
    pub cores: u32,
}

/// How long to coalesce news; zero where somebody would notice.
#[must_use]
pub fn delay(load: &Load) -> Duration {
    if load.rate < LEAST_RATE {
        return Duration::ZERO;
    }
    // Slots that become free while nobody looks: as long as others keep every core busy, that costs nothing.
    let freed = (load.rate * DELAY.as_secs_f64()).ceil() as u32;
    let keeps_cores_busy = load.running >= load.cores.saturating_mul(2).saturating_add(freed);
    if load.is_full && load.all_are_followed || keeps_cores_busy { DELAY } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Load = Load { rate: 2000.0, running: 4, is_full: true, all_are_followed: true, cores: 2 };

    #[test]
    fn news_are_coalesced_only_while_no_core_waits_for_them() {
        let waits = |load: Load| !delay(&load).is_zero();
        assert!(waits(BUSY));
        assert!(!waits(Load { rate: 900.0, ..BUSY }), "a look finds one at most");
        assert!(!waits(Load { all_are_followed: false, ..BUSY }), "a slot may wait for its next task");
        assert!(!waits(Load { is_full: false, ..BUSY }), "a slot waits for a task");
        let many = Load { running: 6, all_are_followed: false, is_full: false, ..BUSY };
        assert!(waits(many), "two become free, and four keep two cores busy");
        assert!(!waits(Load { running: 5, ..many }));
    }
}
