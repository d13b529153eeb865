//! Whether a task may start on this node now. Amounts are integers. Each running task holds a reservation, and the reservations add up to the
//! budget in use.

use crate::model::{Accounting, Amounts, Bytes, Demand, NodeSample, ResourceKind, Room};

/// The thresholds of `conf.json` that decide admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Slots: how many tasks may run at once.
    pub slots: u32,
    /// What must be measured as free before anything new starts; 0 of a kind = do not look at it.
    pub accept: Amounts,
    /// Free DRAM below which the newest task is given back.
    pub trigger: Bytes,
}

/// What a running task was promised, and how much of it it has been seen to use by the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// What it declared.
    pub demand: Demand,
    /// What its tree holds: 0 of a kind that is not measured for each task.
    pub touched: Amounts,
}

/// Sums over the reservations of all tasks that run or are about to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// How many tasks run or are about to.
    pub tasks: u32,
    /// Declared and not yet touched: what is spoken for.
    pub untouched: Amounts,
    /// What the trees hold: it comes back when they end.
    pub touched: Amounts,
}

impl Budget {
    /// Adds up reservations.
    pub fn of(reservations: impl IntoIterator<Item = Reservation>) -> Self {
        reservations.into_iter().fold(Self::default(), |sum, one| Self {
            tasks: sum.tasks + 1,
            untouched: sum.untouched.plus(&one.demand.amounts.minus(&one.touched)),
            touched: sum.touched.plus(&one.touched),
        })
    }
}

/// Why nothing new starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Every slot is taken.
    Slots,
    /// Less of this kind is free than its threshold.
    Below {
        /// The kind.
        kind: ResourceKind,
        /// How much of it is free.
        free: u64,
        /// How much must be free.
        least: u64,
    },
}

/// The room there is now.
///
/// # Errors
/// Why there is none.
pub fn headroom(limits: &Limits, node: &NodeSample, budget: &Budget) -> Result<Room, Wait> {
    if budget.tasks >= limits.slots {
        return Err(Wait::Slots);
    }
    for kind in ResourceKind::ALL {
        let (free, least) = (node.free.get(kind), limits.accept.get(kind));
        if free < least {
            return Err(Wait::Below { kind, free, least });
        }
    }
    Ok(Room { slots: limits.slots - budget.tasks, amounts: unreserved(node, budget) })
}

/// What nobody has spoken for, whether there is a slot or not.
#[must_use]
pub fn unreserved(node: &NodeSample, budget: &Budget) -> Amounts {
    let base = Amounts::of(|kind| match kind.accounting() {
        Accounting::Measured => node.free.get(kind),
        Accounting::Declared => node.total.get(kind),
    });
    base.minus(&budget.untouched)
}

/// Whether a task that was given back for memory, and had reached `peak`, may be taken again here.
#[must_use]
pub fn may_retake(limits: &Limits, node: &NodeSample, budget: &Budget, peak: Bytes) -> bool {
    budget.tasks == 0 || node.free.mem().saturating_sub(peak) >= limits.trigger && node.free.mem() > peak
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MilliCores;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn limits() -> Limits {
        Limits { slots: 4, accept: Amounts::NONE.with_mem(Bytes(2 * GIB)), trigger: Bytes(GIB) }
    }

    fn node(free_gib: u64) -> NodeSample {
        let total = Amounts::NONE.with_mem(Bytes(16 * GIB)).with_cpu(MilliCores(8000));
        NodeSample { total, free: total.with_mem(Bytes(free_gib * GIB)).with_cpu(MilliCores(7500)) }
    }

    fn running(mem: u64, cpu: u64, touched: u64) -> Reservation {
        Reservation {
            demand: Demand::NONE.with_mem(Bytes(mem * GIB)).with_cpu(MilliCores(cpu)),
            touched: Amounts::NONE.with_mem(Bytes(touched * GIB)),
        }
    }

    #[test]
    fn declared_and_untouched_memory_is_spoken_for() {
        let room = headroom(&limits(), &node(10), &Budget::of([running(6, 1000, 2)])).expect("room");
        let left = Amounts::NONE.with_mem(Bytes(6 * GIB)).with_cpu(MilliCores(7000));
        assert_eq!(room, Room { slots: 3, amounts: left });
    }

    #[test]
    fn touching_more_than_declared_reserves_nothing_more() {
        assert_eq!(Budget::of([running(1, 0, 5)]).untouched, Amounts::NONE);
    }

    #[test]
    fn each_threshold_alone_refuses() {
        let full = Budget { tasks: 4, ..Budget::default() };
        assert_eq!(headroom(&limits(), &node(10), &full), Err(Wait::Slots));
        let (kind, free, least) = (ResourceKind::Memory, GIB, 2 * GIB);
        assert_eq!(headroom(&limits(), &node(1), &Budget::default()), Err(Wait::Below { kind, free, least }));
        let picky = Limits { accept: limits().accept.with_cpu(MilliCores(7600)), ..limits() };
        assert_eq!(
            headroom(&picky, &node(10), &Budget::default()),
            Err(Wait::Below { kind: ResourceKind::Cores, free: 7500, least: 7600 })
        );
    }

    #[test]
    fn a_memory_hog_comes_back_only_when_it_fits_or_alone() {
        let busy = Budget { tasks: 1, ..Budget::default() };
        assert!(!may_retake(&limits(), &node(4), &busy, Bytes(4 * GIB)));
        assert!(may_retake(&limits(), &node(6), &busy, Bytes(4 * GIB)));
        assert!(may_retake(&limits(), &node(1), &Budget::default(), Bytes(4 * GIB)));
    }

    proptest! {
        #[test]
        fn what_is_admitted_never_exceeds_the_node(
            free in 0..64u64, slots in 1..8u32,
            tasks in proptest::collection::vec((0..8u64, 0..4000u64, 0..8u64), 0..8),
        ) {
            let total = Amounts::NONE.with_mem(Bytes(64 * GIB)).with_cpu(MilliCores(8000));
            let node = NodeSample { total, free: total.with_mem(Bytes(free * GIB)) };
            let limits = Limits { slots, ..limits() };
            let budget = Budget::of(tasks.iter().map(|(mem, cpu, touched)| running(*mem, *cpu, *touched)));
            if let Ok(room) = headroom(&limits, &node, &budget) {
                prop_assert!(room.slots + budget.tasks == slots);
                for (kind, most) in [(ResourceKind::Memory, node.free), (ResourceKind::Cores, node.total)] {
                    let spoken_for = budget.untouched.get(kind);
                    prop_assert!(room.amounts.get(kind) + spoken_for <= most.get(kind).max(spoken_for));
                }
                prop_assert!(node.free.holds(&limits.accept));
            }
        }
    }
}
