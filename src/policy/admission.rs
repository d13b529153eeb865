//! May a task start on this node now? Amounts are integers; what is running holds a reservation, and the reservations add up to the budget in use.

use crate::model::{Bytes, MilliCores};

/// The thresholds of `conf.json` that decide admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Slots: how many tasks may run at once.
    pub slots: u32,
    /// Free DRAM below which nothing new starts.
    pub accept: Bytes,
    /// Free DRAM below which the newest task is given back.
    pub trigger: Bytes,
    /// Measured free cores below which nothing new starts; 0 = do not look.
    pub min_free_cores: MilliCores,
}

/// The node at one moment, limits of its cgroups included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSample {
    /// Memory of the node.
    pub mem_total: Bytes,
    /// Memory that new work could use now.
    pub mem_free: Bytes,
    /// Cores of the node.
    pub cores_total: MilliCores,
    /// Cores busy over the last sampling period.
    pub cores_used: MilliCores,
}

/// What a running task was promised, and how much of the memory it has touched by the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Declared DRAM.
    pub mem: Bytes,
    /// Declared cores.
    pub cpu: MilliCores,
    /// DRAM its tree holds.
    pub touched: Bytes,
}

/// Sums over the reservations of all tasks that run or are about to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// How many.
    pub tasks: u32,
    /// Declared and not yet touched DRAM: free memory that is spoken for.
    pub untouched: Bytes,
    /// Declared cores.
    pub cpu: MilliCores,
    /// DRAM that the trees hold: it comes back when they end.
    pub touched: Bytes,
}

impl Budget {
    /// Adds up reservations.
    pub fn of(reservations: impl IntoIterator<Item = Reservation>) -> Self {
        reservations.into_iter().fold(Self::default(), |sum, one| Self {
            tasks: sum.tasks + 1,
            untouched: sum.untouched + one.mem.saturating_sub(one.touched),
            cpu: sum.cpu + one.cpu,
            touched: sum.touched + one.touched,
        })
    }
}

/// Room for new tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headroom {
    /// Free slots, at least 1.
    pub slots: u32,
    /// DRAM that new tasks may declare together.
    pub mem: Bytes,
    /// Cores that new tasks may declare together.
    pub cpu: MilliCores,
}

impl Headroom {
    /// Whether a demand fits.
    #[must_use]
    pub fn fits(&self, mem: Bytes, cpu: MilliCores) -> bool {
        self.slots > 0 && mem <= self.mem && cpu <= self.cpu
    }
}

/// Why nothing new starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Every slot is taken.
    Slots,
    /// Free DRAM is below the accept threshold.
    Memory,
    /// Measured free cores are below the threshold.
    Cores,
}

impl Wait {
    /// For status: why this worker takes nothing.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slots => "every slot is taken",
            Self::Memory => "free memory is below min_dram_gb_accept_new_task",
            Self::Cores => "free cores are below min_free_cpu_cores",
        }
    }
}

/// The room there is now.
///
/// # Errors
/// Why there is none.
pub fn headroom(limits: &Limits, node: &NodeSample, budget: &Budget) -> Result<Headroom, Wait> {
    if budget.tasks >= limits.slots {
        return Err(Wait::Slots);
    }
    if node.mem_free < limits.accept {
        return Err(Wait::Memory);
    }
    if limits.min_free_cores > MilliCores::ZERO
        && node.cores_total.saturating_sub(node.cores_used) < limits.min_free_cores
    {
        return Err(Wait::Cores);
    }
    Ok(Headroom {
        slots: limits.slots - budget.tasks,
        mem: node.mem_free.saturating_sub(budget.untouched),
        cpu: node.cores_total.saturating_sub(budget.cpu),
    })
}

/// Whether a task that was given back for memory, and had reached `peak`, may be taken again here.
#[must_use]
pub fn may_retake(limits: &Limits, node: &NodeSample, budget: &Budget, peak: Bytes) -> bool {
    budget.tasks == 0 || node.mem_free.saturating_sub(peak) >= limits.trigger && node.mem_free > peak
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn limits() -> Limits {
        Limits { slots: 4, accept: Bytes(2 * GIB), trigger: Bytes(GIB), min_free_cores: MilliCores::ZERO }
    }

    fn node(free_gib: u64) -> NodeSample {
        NodeSample {
            mem_total: Bytes(16 * GIB),
            mem_free: Bytes(free_gib * GIB),
            cores_total: MilliCores(8000),
            cores_used: MilliCores(500),
        }
    }

    #[test]
    fn declared_and_untouched_memory_is_spoken_for() {
        let budget = Budget::of([Reservation { mem: Bytes(6 * GIB), cpu: MilliCores(1000), touched: Bytes(2 * GIB) }]);
        let room = headroom(&limits(), &node(10), &budget).expect("room");
        assert_eq!((room.slots, room.mem, room.cpu), (3, Bytes(6 * GIB), MilliCores(7000)));
    }

    #[test]
    fn touching_more_than_declared_reserves_nothing_more() {
        let budget = Budget::of([Reservation { mem: Bytes(GIB), cpu: MilliCores::ZERO, touched: Bytes(5 * GIB) }]);
        assert_eq!(budget.untouched, Bytes::ZERO);
    }

    #[test]
    fn each_threshold_alone_refuses() {
        let full = Budget { tasks: 4, ..Budget::default() };
        assert_eq!(headroom(&limits(), &node(10), &full), Err(Wait::Slots));
        assert_eq!(headroom(&limits(), &node(1), &Budget::default()), Err(Wait::Memory));
        let picky = Limits { min_free_cores: MilliCores(7600), ..limits() };
        assert_eq!(headroom(&picky, &node(10), &Budget::default()), Err(Wait::Cores));
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
            let node = NodeSample { mem_total: Bytes(64 * GIB), mem_free: Bytes(free * GIB), cores_total: MilliCores(8000), cores_used: MilliCores::ZERO };
            let limits = Limits { slots, ..limits() };
            let budget = Budget::of(tasks.iter().map(|(mem, cpu, touched)| Reservation { mem: Bytes(mem * GIB), cpu: MilliCores(*cpu), touched: Bytes(touched * GIB) }));
            if let Ok(room) = headroom(&limits, &node, &budget) {
                prop_assert!(room.slots + budget.tasks == slots);
                prop_assert!(room.mem.0 + budget.untouched.0 <= node.mem_free.0.max(budget.untouched.0));
                prop_assert!(room.cpu.0 + budget.cpu.0 <= node.cores_total.0.max(budget.cpu.0));
                prop_assert!(node.mem_free >= limits.accept);
            }
        }
    }
}
