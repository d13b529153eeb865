//! What this node could give to one task if every task of ours had ended: what is worth waiting for, reserving for, and promising to others.
//!
//! Not what the node has: the system and other programs keep a part of it, and a task that asks for that part never starts here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::admission::{Budget, Limits, NodeSample};
use crate::model::{Bytes, MilliCores};

/// How long a sample counts. The largest of this time holds, so that a short peak of another program sends no task away.
const WINDOW: Duration = Duration::from_secs(60);

/// After so long without a task of ours, only samples of this time count: nothing has to be guessed then. A reservation that has not succeeded by then
/// is given up.
const EMPTY: Duration = Duration::from_secs(30);

/// How long a reservation that was given up holds back the next one, where no sample shows that there is more. Samples of a busy node count memory that
/// tasks share more than once.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What a node could give to one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// DRAM it may declare.
    pub mem: Bytes,
    /// Cores it may declare.
    pub cpu: MilliCores,
}

impl Offer {
    /// Whether a demand fits.
    #[must_use]
    pub fn holds(&self, mem: Bytes, cpu: MilliCores) -> bool {
        mem <= self.mem && cpu <= self.cpu
    }
}

/// Follows what the node could give.
#[derive(Clone, Debug, Default)]
pub struct Capacity {
    /// The largest first: a sample that is no larger than a later one is not kept.
    samples: VecDeque<(Instant, Bytes)>,
    /// When a task would last have been admitted to an empty node, as far as is known.
    admitted: Option<Instant>,
    /// Since when nothing of ours runs.
    empty_since: Option<Instant>,
    /// What a reservation has failed to get here, and when.
    given_up: Option<(Instant, Bytes)>,
    cores: MilliCores,
}

impl Capacity {
    /// Takes in a look at the node. `reserved` is the demand for which this worker keeps room; the answer is whether that is given up.
    pub fn observe(
        &mut self,
        now: Instant,
        limits: &Limits,
        node: &NodeSample,
        budget: &Budget,
        reserved: Option<Offer>,
    ) -> bool {
        let could = Bytes(node.mem_free.0.saturating_add(budget.touched.0).min(node.mem_total.0));
        self.cores = node.cores_total;
        self.empty_since = if budget.tasks == 0 { self.empty_since.or(Some(now)) } else { None };
        while self.samples.back().is_some_and(|(_, last)| *last <= could) {
            self.samples.pop_back();
        }
        self.samples.push_back((now, could));
        let since = self.counts_since(now);
        while self.samples.front().is_some_and(|(at, _)| since.is_some_and(|since| *at < since)) {
            self.samples.pop_front();
        }
        // How many cores others use is known only while nothing of ours does.
        let idle = node.cores_total.saturating_sub(if budget.tasks == 0 { node.cores_used } else { MilliCores::ZERO });
        if could >= limits.accept && idle >= limits.min_free_cores {
            self.admitted = Some(now);
        }
        let is_known_better =
            |(at, least): &(Instant, Bytes)| node.mem_free > *least || now.saturating_duration_since(*at) >= REMEMBERED;
        self.given_up = self.given_up.filter(|given_up| !is_known_better(given_up));
        self.give_up(now, reserved)
    }

    /// A node that has been empty for so long has what it shows. What is reserved for and has not started has failed, whatever the reason.
    fn give_up(&mut self, now: Instant, reserved: Option<Offer>) -> bool {
        let Some(reserved) = reserved.filter(|_| self.is_surely_empty(now)) else { return false };
        let most = self.samples.front().map_or(Bytes::ZERO, |(_, most)| *most);
        let least = most.min(Bytes(reserved.mem.0.saturating_sub(1)));
        self.given_up = Some((now, self.given_up.map_or(least, |(_, before)| before.min(least))));
        true
    }

    fn is_surely_empty(&self, now: Instant) -> bool {
        self.empty_since.is_some_and(|since| now.saturating_duration_since(since) >= EMPTY)
    }

    fn counts_since(&self, now: Instant) -> Option<Instant> {
        if self.is_surely_empty(now) { self.empty_since } else { now.checked_sub(WINDOW) }
    }

    /// Whether the node has been empty for a while and would have admitted no task in this time.
    #[must_use]
    pub fn is_hopeless(&self, now: Instant) -> bool {
        self.is_surely_empty(now) && self.offer(now).is_none()
    }

    /// What the node could give to one task; `None` before the first look, and while thresholds would keep every task out of the empty node.
    #[must_use]
    pub fn offer(&self, now: Instant) -> Option<Offer> {
        let since = self.counts_since(now);
        self.admitted.filter(|admitted| since.is_none_or(|since| *admitted >= since))?;
        let (_, most) = self.samples.front()?;
        let mem = self.given_up.map_or(*most, |(_, least)| least.min(*most));
        Some(Offer { mem, cpu: self.cores })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Reservation, admission};
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn limits() -> Limits {
        Limits { slots: 4, accept: Bytes(2 * GIB), trigger: Bytes(GIB), min_free_cores: MilliCores::ZERO }
    }

    fn node(free: u64) -> NodeSample {
        NodeSample {
            mem_total: Bytes(16 * GIB),
            mem_free: Bytes(free * GIB),
            cores_total: MilliCores(8000),
            cores_used: MilliCores(500),
        }
    }

    fn running(mem: u64, touched: u64) -> Budget {
        Budget::of([Reservation { mem: Bytes(mem * GIB), cpu: MilliCores(1000), touched: Bytes(touched * GIB) }])
    }

    fn mem(capacity: &Capacity, now: Instant) -> Option<u64> {
        capacity.offer(now).map(|offer| offer.mem.0 / GIB)
    }

    #[test]
    fn what_other_programs_hold_is_never_offered() {
        let (start, mut capacity) = (Instant::now(), Capacity::default());
        assert_eq!(capacity.offer(start), None);
        assert!(!capacity.observe(start, &limits(), &node(12), &Budget::default(), None));
        assert_eq!(mem(&capacity, start), Some(12));
        let later = start + Duration::from_secs(5);
        capacity.observe(later, &limits(), &node(5), &running(8, 7), None);
        assert_eq!(mem(&capacity, later), Some(12), "what a task of ours holds comes back");
    }

    #[test]
    fn a_short_peak_of_others_changes_nothing_and_a_lasting_one_does() {
        let (start, mut capacity) = (Instant::now(), Capacity::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        capacity.observe(at(0), &limits(), &node(12), &running(1, 0), None);
        capacity.observe(at(20), &limits(), &node(4), &running(1, 0), None);
        assert_eq!(mem(&capacity, at(20)), Some(12));
        for seconds in (30..=90).step_by(10) {
            capacity.observe(at(seconds), &limits(), &node(4), &running(1, 0), None);
        }
        assert_eq!(mem(&capacity, at(90)), Some(4));
    }

    #[test]
    fn a_node_that_admits_nothing_offers_nothing() {
        let (start, mut capacity) = (Instant::now(), Capacity::default());
        capacity.observe(start, &limits(), &node(1), &Budget::default(), None);
        assert_eq!(capacity.offer(start), None, "less is free than min_dram_gb_accept_new_task");
        let picky = Limits { min_free_cores: MilliCores(7600), ..limits() };
        capacity.observe(start, &picky, &node(8), &Budget::default(), None);
        assert_eq!(capacity.offer(start), None, "others keep too many cores busy");
        capacity.observe(start, &picky, &node(8), &running(1, 1), None);
        assert_eq!(mem(&capacity, start), Some(9), "a task of ours may be what keeps them busy");
    }

    #[test]
    fn a_reservation_that_an_empty_node_cannot_serve_is_given_up_once() {
        let (start, mut capacity) = (Instant::now(), Capacity::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let wants = Some(Offer { mem: Bytes(14 * GIB), cpu: MilliCores(1000) });
        // Two tasks that share their memory: it seems that 15 GB could be free.
        capacity.observe(at(0), &limits(), &node(9), &running(8, 6), wants);
        assert_eq!(mem(&capacity, at(0)), Some(15));
        assert!(!capacity.observe(at(1), &limits(), &node(12), &Budget::default(), wants));
        assert_eq!(mem(&capacity, at(1)), Some(15), "memory may take a moment to come back");
        assert!(capacity.observe(at(31), &limits(), &node(12), &Budget::default(), wants));
        assert_eq!(mem(&capacity, at(31)), Some(12));
        capacity.observe(at(32), &limits(), &node(9), &running(8, 6), None);
        assert_eq!(mem(&capacity, at(32)), Some(12), "it is not reserved for again");
        capacity.observe(at(40), &limits(), &node(13), &running(1, 0), None);
        assert_eq!(mem(&capacity, at(40)), Some(15), "there is more than was known");
    }

    proptest! {
        /// An empty node that keeps its offer admits every task that fits the offer, and offers all that it would admit.
        #[test]
        fn an_empty_node_offers_exactly_what_it_admits(free in 0..=16u64, wanted in 0..=16u64, busy in 0..=8000u64, least in 0..=8000u64) {
            let now = Instant::now();
            let limits = Limits { min_free_cores: MilliCores(least), ..limits() };
            let node = NodeSample { cores_used: MilliCores(busy), ..node(free) };
            let mut capacity = Capacity::default();
            capacity.observe(now, &limits, &node, &Budget::default(), None);
            let offers = capacity.offer(now).is_some_and(|offer| offer.holds(Bytes(wanted * GIB), MilliCores(1000)));
            let admits = admission::headroom(&limits, &node, &Budget::default())
                .is_ok_and(|room| room.fits(Bytes(wanted * GIB), MilliCores(1000)));
            prop_assert_eq!(offers, admits);
        }
    }
}
