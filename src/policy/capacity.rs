//! How much of this node one task could get if all other tasks of this worker had ended: what is worth waiting for, reserving, and reporting to
//! others.
//!
//! Not what the node has: the system and other programs keep a part of it, and a task that asks for that part never starts here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::admission::{Budget, Limits};
use crate::model::{Accounting, Amounts, Demand, NodeSample, Offer, ResourceKind};

/// How long a sample counts. The largest of this time holds, so that a short peak of another program sends no task away.
const WINDOW: Duration = Duration::from_secs(60);

/// After so long without a task of ours, only samples of this time count: nothing has to be guessed then. A reservation that has not succeeded by then
/// is given up.
const EMPTY: Duration = Duration::from_secs(30);

/// How long a reservation that was given up holds back the next one, where no sample shows that there is more. Samples of a busy node count memory that
/// tasks share more than once.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Tracks how much the node could give.
#[derive(Clone, Debug, Default)]
pub struct Capacity {
    kinds: [KindCapacity; ResourceKind::ALL.len()],
    /// When a task would last have been admitted to an empty node, as far as is known.
    admitted: Option<Instant>,
    /// Since when nothing of ours runs.
    empty_since: Option<Instant>,
}

/// Tracks how much of one kind it could give.
#[derive(Clone, Debug, Default)]
struct KindCapacity {
    /// The largest first: a sample that is no larger than a later one is not kept, and of a kind that is not measured only the last.
    samples: VecDeque<(Instant, u64)>,
    /// What a reservation has failed to get here, and when; of a kind that is measured.
    given_up: Option<(Instant, u64)>,
}

impl KindCapacity {
    fn most(&self) -> u64 {
        self.samples.front().map_or(0, |(_, most)| *most)
    }
}

impl Capacity {
    /// Takes in a look at the node. `reserved` is the demand for which this worker keeps room; the answer is whether that is given up.
    pub fn observe(
        &mut self,
        now: Instant,
        limits: &Limits,
        node: &NodeSample,
        budget: &Budget,
        reserved: Option<&Demand>,
    ) -> bool {
        let is_empty = budget.tasks == 0;
        self.empty_since = if is_empty { self.empty_since.or(Some(now)) } else { None };
        let since = self.counts_since(now);
        let mut is_admitted = true;
        for (kind, follows) in ResourceKind::ALL.into_iter().zip(&mut self.kinds) {
            let (total, free) = (node.total.get(kind), node.free.get(kind));
            let (could, idle) = match kind.accounting() {
                Accounting::Measured => {
                    let could = free.saturating_add(budget.touched.get(kind)).min(total);
                    (could, could)
                }
                // How much others use is known only while nothing of ours does.
                Accounting::Declared => (total, if is_empty { free } else { total }),
            };
            is_admitted &= idle >= limits.accept.get(kind);
            let is_outdone = |(_, last): &(Instant, u64)| kind.accounting() == Accounting::Declared || *last <= could;
            while follows.samples.back().is_some_and(is_outdone) {
                follows.samples.pop_back();
            }
            follows.samples.push_back((now, could));
            while follows.samples.front().is_some_and(|(at, _)| since.is_some_and(|since| *at < since)) {
                follows.samples.pop_front();
            }
            let is_known_better =
                |(at, least): &(Instant, u64)| free > *least || now.saturating_duration_since(*at) >= REMEMBERED;
            follows.given_up = follows.given_up.filter(|given_up| !is_known_better(given_up));
        }
        if is_admitted {
            self.admitted = Some(now);
        }
        self.give_up(now, reserved)
    }

    /// A node that has been empty for so long has what it shows. What is reserved for and has not started has failed, whatever the reason.
    fn give_up(&mut self, now: Instant, reserved: Option<&Demand>) -> bool {
        let Some(reserved) = reserved.filter(|_| self.is_surely_empty(now)) else { return false };
        for (kind, follows) in ResourceKind::ALL.into_iter().zip(&mut self.kinds) {
            if kind.accounting() == Accounting::Measured {
                let least = follows.most().min(reserved.amounts.get(kind).saturating_sub(1));
                follows.given_up = Some((now, follows.given_up.map_or(least, |(_, before)| before.min(least))));
            }
        }
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
        let could = |kind: ResourceKind| {
            let follows = &self.kinds[kind as usize];
            follows.given_up.map_or(follows.most(), |(_, least)| least.min(follows.most()))
        };
        Some(Offer { amounts: Amounts::of(could) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bytes, MilliCores};
    use crate::policy::{Reservation, admission};
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn limits() -> Limits {
        Limits { slots: 4, accept: Amounts::NONE.with_mem(Bytes(2 * GIB)), trigger: Bytes(GIB) }
    }

    fn node(free: u64) -> NodeSample {
        let total = Amounts::NONE.with_mem(Bytes(16 * GIB)).with_cpu(MilliCores(8000));
        NodeSample { total, free: total.with_mem(Bytes(free * GIB)).with_cpu(MilliCores(7500)) }
    }

    fn wanting(mem: u64) -> Demand {
        Demand::NONE.with_mem(Bytes(mem * GIB)).with_cpu(MilliCores(1000))
    }

    fn running(mem: u64, touched: u64) -> Budget {
        Budget::of([Reservation { demand: wanting(mem), touched: Amounts::NONE.with_mem(Bytes(touched * GIB)) }])
    }

    fn mem(capacity: &Capacity, now: Instant) -> Option<u64> {
        capacity.offer(now).map(|offer| offer.amounts.mem().0 / GIB)
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
    fn capacity_ignores_a_short_peak_but_not_a_lasting_one() {
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
        let picky = Limits { accept: limits().accept.with_cpu(MilliCores(7600)), ..limits() };
        capacity.observe(start, &picky, &node(8), &Budget::default(), None);
        assert_eq!(capacity.offer(start), None, "others keep too many cores busy");
        capacity.observe(start, &picky, &node(8), &running(1, 1), None);
        assert_eq!(mem(&capacity, start), Some(9), "a task of ours may be what keeps them busy");
    }

    #[test]
    fn reservation_is_given_up_once_if_an_empty_node_cannot_serve() {
        let (start, mut capacity) = (Instant::now(), Capacity::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let wants = wanting(14);
        let wants = Some(&wants);
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
            let limits = Limits { accept: limits().accept.with_cpu(MilliCores(least)), ..limits() };
            let node = NodeSample { free: node(free).free.with_cpu(MilliCores(8000 - busy)), ..node(free) };
            let mut capacity = Capacity::default();
            capacity.observe(now, &limits, &node, &Budget::default(), None);
            let offers = capacity.offer(now).is_some_and(|offer| offer.holds(&wanting(wanted)));
            let admits = admission::headroom(&limits, &node, &Budget::default())
                .is_ok_and(|room| room.holds(&wanting(wanted)));
            prop_assert_eq!(offers, admits);
        }
    }
}
