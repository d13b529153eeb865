//! What tasks ask for together, how many nodes that takes, and how many of them limits let run.

use std::collections::BTreeMap;

use crate::model::snapshot::{LimitView, RunnableGroup};
use crate::model::{LimitName, ResourceKind, ResourceName, Shape, Stock, Unfit};

/// What limits leave.
pub(super) struct LimitUnits {
    left: BTreeMap<LimitName, u64>,
    per_node: BTreeMap<LimitName, u64>,
}

impl LimitUnits {
    /// Of the limits that are set.
    pub(super) fn of(limits: &[LimitView]) -> Self {
        let named = |value: &dyn Fn(&LimitView) -> Option<u64>| {
            limits.iter().filter_map(|limit| Some((limit.limit.parse().ok()?, value(limit)?))).collect()
        };
        Self {
            left: named(&|limit| limit.max.map(|max| u64::from(max).saturating_sub(limit.in_use))),
            per_node: named(&|limit| limit.per_node.map(u64::from)),
        }
    }

    /// Takes as many tasks as the limits of a group leave, of so many.
    pub(super) fn take(&mut self, group: &RunnableGroup, waiting: u64) -> u64 {
        let names = group.needs.limits();
        let count = names.iter().filter_map(|name| self.left.get(name)).copied().fold(waiting, u64::min);
        for name in names {
            self.left.entry(name.clone()).and_modify(|left| *left -= count);
        }
        count
    }

    /// One that may have none on a node runs on no new node either.
    pub(super) fn fit_a_node(&self, group: &RunnableGroup) -> Result<(), Unfit> {
        let is_stopped = group.needs.limits().iter().any(|name| self.per_node.get(name) == Some(&0));
        if is_stopped { Err(Unfit::Size) } else { Ok(()) }
    }
}

/// What tasks ask for together.
#[derive(Default)]
pub(super) struct DemandSum {
    pub(super) tasks: u64,
    amounts: BTreeMap<ResourceKind, u128>,
    resources: BTreeMap<ResourceName, u128>,
    limits: BTreeMap<LimitName, u64>,
}

impl DemandSum {
    /// Adds so many tasks.
    pub(super) fn add(&mut self, group: &RunnableGroup, count: u64) {
        self.tasks = self.tasks.saturating_add(count);
        for kind in ResourceKind::ALL {
            *self.amounts.entry(kind).or_default() += u128::from(group.demand.amounts.get(kind)) * u128::from(count);
        }
        for wanted in group.needs.resources() {
            *self.resources.entry(wanted.name.clone()).or_default() += u128::from(wanted.milli) * u128::from(count);
        }
        for name in group.needs.limits() {
            *self.limits.entry(name.clone()).or_default() += count;
        }
    }

    /// The nodes of a shape that the scarcest resource needs. Slots count as a resource, and so does a limit with a number for each node.
    pub(super) fn nodes(&self, shape: &Shape, units: &LimitUnits) -> u64 {
        let Some(offer) = shape.offer else {
            // Nobody knows how much a worker has: the first one shows it.
            return u64::from(self.tasks > 0);
        };
        let nodes = |sum: u128, of_node: u64| if of_node == 0 { 0 } else { sum.div_ceil(u128::from(of_node)) };
        let of_kinds = self.amounts.iter().map(|(kind, sum)| nodes(*sum, offer.get(*kind)));
        let of_resources =
            self.resources.iter().map(|(name, sum)| nodes(*sum, shape.stocks.0.get(name).map_or(0, Stock::total)));
        let of_limits =
            self.limits.iter().filter_map(|(name, count)| Some(nodes(u128::from(*count), *units.per_node.get(name)?)));
        let of_slots = nodes(u128::from(self.tasks), u64::from(shape.slots));
        let most = of_kinds.chain(of_resources).chain(of_limits).max().unwrap_or(0).max(of_slots);
        u64::try_from(most).unwrap_or(u64::MAX)
    }
}
