//! What the workers that are there have left for waiting tasks.

use crate::model::snapshot::{LimitView, RunnableGroup, WorkerView};
use crate::model::{Amounts, ResourceKind, Stock, Stocks};

/// What a worker that takes tasks has left.
pub(super) struct WorkerRoom<'a> {
    pub(super) worker: &'a WorkerView,
    slots: u64,
    amounts: Amounts,
    free: Stocks,
    /// Whether it has got a task.
    pub(super) is_served: bool,
}

impl<'a> WorkerRoom<'a> {
    /// Of one that takes none there is nothing.
    pub(super) fn of(worker: &'a WorkerView) -> Option<Self> {
        if !worker.takes_tasks() {
            return None;
        }
        let (slots, amounts) = match &worker.load {
            Some(load) => (load.slots.saturating_sub(load.running + load.held), load.room.unwrap_or_default()),
            // A Python worker does not tell how many tasks it runs.
            None => (u32::MAX, worker.usage.total.minus(&worker.usage.used)),
        };
        // One that tells no room takes nothing now, whatever it has.
        let takes_now = worker.load.as_ref().is_none_or(|load| load.room.is_some());
        let slots = if takes_now { u64::from(slots) } else { 0 };
        let free = worker.extras.free.clone().or_else(|| worker.traits().map(|traits| traits.stocks.clone()));
        Some(Self { worker, slots, amounts, free: free.unwrap_or_default(), is_served: false })
    }

    /// Takes as many of so many tasks as have room; how many.
    pub(super) fn place(&mut self, group: &RunnableGroup, most: u64, limits: &[LimitView], now: u64) -> u64 {
        if self.slots == 0 || !self.worker.could_run(&group.demand, &group.needs, now) {
            return 0;
        }
        let mut count = most.min(self.slots).min(times(&self.amounts, &group.demand.amounts));
        for wanted in group.needs.resources() {
            count = count.min(self.free.0.get(&wanted.name).map_or(0, |stock| stock_times(stock, wanted.milli)));
        }
        if !group.needs.limits().is_empty() {
            count = count.min(self.left_of_limits(group, limits));
        }
        if count > 0 {
            self.is_served = true;
            self.slots -= count;
            self.amounts =
                self.amounts.minus(&Amounts::of(|kind| group.demand.amounts.get(kind).saturating_mul(count)));
            for wanted in group.needs.resources() {
                self.free.0.entry(wanted.name.clone()).and_modify(|stock| take(stock, wanted.milli, count));
            }
        }
        count
    }

    /// How many more tasks its host may have of limits with a number for each node.
    fn left_of_limits(&self, group: &RunnableGroup, limits: &[LimitView]) -> u64 {
        let host = self.worker.process.as_ref().map_or("", |process| process.host.as_str());
        let left = |limit: &LimitView| {
            let names = group.needs.limits().iter().any(|name| name.as_str() == limit.limit);
            let used = limit.nodes.get(host).copied().unwrap_or(0);
            limit.per_node.filter(|_| names).map(|most| u64::from(most).saturating_sub(used))
        };
        limits.iter().filter_map(left).min().unwrap_or(u64::MAX)
    }
}

/// How often an amount goes into another; asking for nothing, always.
fn times(room: &Amounts, demand: &Amounts) -> u64 {
    let of = |kind| room.get(kind).checked_div(demand.get(kind)).unwrap_or(u64::MAX);
    ResourceKind::ALL.into_iter().map(of).min().unwrap_or(u64::MAX)
}

fn stock_times(stock: &Stock, milli: u64) -> u64 {
    if milli == 0 {
        return u64::MAX;
    }
    match stock {
        Stock::Sum(left) => left / milli,
        Stock::Devices(left) if milli < 1000 => left.iter().map(|left| left / milli).sum(),
        Stock::Devices(left) => left.iter().filter(|left| **left == 1000).count() as u64 / (milli / 1000),
    }
}

fn take(stock: &mut Stock, milli: u64, mut count: u64) {
    match stock {
        Stock::Sum(left) => *left = left.saturating_sub(milli.saturating_mul(count)),
        Stock::Devices(left) if milli < 1000 => {
            for device in left {
                let here = (*device / milli).min(count);
                *device -= here * milli;
                count -= here;
            }
        }
        Stock::Devices(left) => {
            let whole = left.iter_mut().filter(|left| **left == 1000);
            let wanted = usize::try_from(milli / 1000 * count).unwrap_or(usize::MAX);
            whole.take(wanted).for_each(|device| *device = 0);
        }
    }
}
