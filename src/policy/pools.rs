//! Which device of a node goes to which task, and how much of a sum is left.
//!
//! Amounts are thousandths: 1000 is one device. A task gets whole devices, or a part of one. A whole device is never shared, and parts are packed on the
//! device that is fullest and still has room, so that whole ones stay free.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model;

/// One whole device, in thousandths.
pub const DEVICE: u64 = 1000;

/// A device, or a part of it, that one task has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Name of the device.
    pub device: Arc<str>,
    /// Thousandths of it.
    pub amount: u64,
}

/// What one task has of an indexed resource; give it back with [`Pool::give`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Each device once.
    pub shares: Vec<Share>,
}

#[derive(Clone, Debug)]
struct Device {
    name: Arc<str>,
    /// What our tasks have of it.
    used: u64,
    /// What other workers of this node have of it.
    others: u64,
    /// No longer configured: it goes when the last task gives it back.
    is_retired: bool,
}

impl Device {
    fn new(name: Arc<str>) -> Self {
        Self { name, used: 0, others: 0, is_retired: false }
    }

    fn left(&self) -> u64 {
        if self.is_retired { 0 } else { DEVICE.saturating_sub(self.used.saturating_add(self.others)) }
    }
}

/// The devices of one resource.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    devices: Vec<Device>,
}

impl Pool {
    /// Devices of these names, all free. A name that comes twice counts once.
    #[must_use]
    pub fn new(names: &[Arc<str>]) -> Self {
        let mut pool = Self::default();
        pool.redefine(names);
        pool
    }

    /// Takes the lowest free devices, or a part of the fullest device that still has it. `None`, and nothing changes, where that much is not free, and for
    /// an amount that is neither whole nor less than one.
    pub fn take(&mut self, amount: u64) -> Option<Grant> {
        if amount < DEVICE {
            let fullest = self.devices.iter_mut().filter(|device| device.left() >= amount.max(1));
            let device = fullest.min_by_key(|device| device.left()).filter(|_| amount > 0)?;
            device.used += amount;
            return Some(Grant { shares: vec![Share { device: Arc::clone(&device.name), amount }] });
        }
        if !amount.is_multiple_of(DEVICE) {
            return None;
        }
        let wanted = usize::try_from(amount / DEVICE).ok()?;
        let free = |device: &&mut Device| device.left() == DEVICE;
        if self.devices.iter_mut().filter(free).count() < wanted {
            return None;
        }
        let taken = self.devices.iter_mut().filter(free).take(wanted).map(|device| {
            device.used = DEVICE;
            Share { device: Arc::clone(&device.name), amount: DEVICE }
        });
        Some(Grant { shares: taken.collect() })
    }

    /// Takes back what [`Self::take`] gave.
    pub fn give(&mut self, grant: &Grant) {
        for share in &grant.shares {
            if let Some(device) = self.devices.iter_mut().find(|device| device.name == share.device) {
                debug_assert!(device.used >= share.amount, "given back twice: {share:?}");
                device.used = device.used.saturating_sub(share.amount);
            }
        }
        self.devices.retain(|device| !device.is_retired || device.used > 0);
    }

    /// Sets how much of a device other workers of this node have, in thousandths.
    pub fn set_others(&mut self, name: &str, amount: u64) {
        if let Some(device) = self.devices.iter_mut().find(|device| *device.name == *name) {
            device.others = amount.min(DEVICE);
        }
    }

    /// What our tasks have of each device.
    pub fn used(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.devices.iter().map(|device| (&device.name, device.used))
    }

    /// Changes the devices. One that tasks still have and that is no longer named goes when it is given back.
    pub fn redefine(&mut self, names: &[Arc<str>]) {
        let mut before = std::mem::take(&mut self.devices);
        for name in names {
            if self.devices.iter().any(|device| device.name == *name) {
                continue;
            }
            let known = before.iter().position(|device| device.name == *name).map(|index| before.remove(index));
            let device = known.unwrap_or_else(|| Device::new(Arc::clone(name)));
            self.devices.push(Device { is_retired: false, ..device });
        }
        let retired = before.into_iter().filter(|device| device.used > 0);
        self.devices.extend(retired.map(|device| Device { is_retired: true, ..device }));
    }
}

/// A resource of which only the amount counts, such as licences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    total: u64,
    used: u64,
}

impl Sum {
    /// This much, in thousandths, all of it free.
    #[must_use]
    pub fn new(total: u64) -> Self {
        Self { total, used: 0 }
    }

    /// Takes an amount; false, and nothing changes, where that much is not free.
    pub fn take(&mut self, amount: u64) -> bool {
        let fits = amount <= self.left();
        if fits {
            self.used += amount;
        }
        fits
    }

    /// Takes an amount back.
    pub fn give(&mut self, amount: u64) {
        debug_assert!(self.used >= amount, "given back twice: {amount}");
        self.used = self.used.saturating_sub(amount);
    }

    /// What is free. 0 while more is in use than there is, after the total was lowered.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.total.saturating_sub(self.used)
    }

    /// What there is when nothing is taken.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// What a node has of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supply {
    /// Devices, by name.
    Devices(Vec<Arc<str>>),
    /// An amount, in thousandths.
    Sum(u64),
}

/// What a task asks for: resources by name, in thousandths, each once.
pub type ResourceDemand = Vec<(Arc<str>, u64)>;

/// What a task has of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    /// Devices.
    Devices(Grant),
    /// An amount, in thousandths.
    Sum(u64),
}

/// What a task has of all resources, by name, in the order of its demand; give it back with [`Pools::give`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(pub Vec<(Arc<str>, Granted)>);

impl Grants {
    /// Each device that the task has, with the name of its resource.
    pub fn devices(&self) -> impl Iterator<Item = (&Arc<str>, &Share)> {
        self.0.iter().flat_map(|(name, granted)| {
            let shares = match granted {
                Granted::Devices(grant) => grant.shares.as_slice(),
                Granted::Sum(_) => &[],
            };
            shares.iter().map(move |share| (name, share))
        })
    }
}

/// One resource. Tasks that started before the configuration changed its kind still have some of the other kind.
#[derive(Clone, Debug, Default)]
struct Stock {
    pool: Pool,
    sum: Sum,
    /// Whether the node has devices of it by now.
    is_indexed: bool,
}

impl Stock {
    fn redefine(&mut self, supply: &Supply) {
        let (names, total) = match supply {
            Supply::Devices(names) => (names.as_slice(), 0),
            Supply::Sum(total) => (&[][..], *total),
        };
        self.pool.redefine(names);
        self.sum.total = total;
        self.is_indexed = matches!(supply, Supply::Devices(_));
    }

    fn take(&mut self, amount: u64) -> Option<Granted> {
        if self.is_indexed {
            return self.pool.take(amount).map(Granted::Devices);
        }
        (amount <= self.sum_left() && self.sum.take(amount)).then_some(Granted::Sum(amount))
    }

    fn give(&mut self, granted: &Granted) {
        match granted {
            Granted::Devices(grant) => self.pool.give(grant),
            Granted::Sum(amount) => self.sum.give(*amount),
        }
    }

    /// What is left of the sum: tasks may still have devices that were counted one by one before.
    fn sum_left(&self) -> u64 {
        self.sum.left().saturating_sub(self.pool.used().map(|(_, used)| used).sum())
    }

    fn is_in_use(&self) -> bool {
        self.sum.used > 0 || self.pool.used().any(|(_, used)| used > 0)
    }
}

/// All resources of a node.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    stocks: BTreeMap<Arc<str>, Stock>,
}

impl Pools {
    /// What a node has, all of it free.
    #[must_use]
    pub fn new(supplies: &[(Arc<str>, Supply)]) -> Self {
        let mut pools = Self::default();
        pools.redefine(supplies);
        pools
    }

    /// Takes all that a task asks for, or `None`, and nothing changes.
    pub fn take(&mut self, demand: &[(Arc<str>, u64)]) -> Option<Grants> {
        let mut taken = Grants::default();
        for (name, amount) in demand {
            let granted = self.stocks.get_mut(name).and_then(|stock| stock.take(*amount));
            match granted {
                Some(granted) => taken.0.push((Arc::clone(name), granted)),
                None => {
                    self.give(&taken);
                    return None;
                }
            }
        }
        Some(taken)
    }

    /// Whether [`Self::take`] would succeed now.
    #[cfg(test)]
    pub fn holds(&self, demand: &[(Arc<str>, u64)]) -> bool {
        demand.is_empty() || self.clone().take(demand).is_some()
    }

    /// Takes back what [`Self::take`] gave. Only when nothing of the task's tree is left.
    pub fn give(&mut self, grants: &Grants) {
        for (name, granted) in &grants.0 {
            if let Some(stock) = self.stocks.get_mut(name) {
                stock.give(granted);
            }
        }
    }

    /// Changes what the node has. What tasks hold beyond that is not offered again when they give it back.
    pub fn redefine(&mut self, supplies: &[(Arc<str>, Supply)]) {
        let mut before = std::mem::take(&mut self.stocks);
        for (name, supply) in supplies {
            let mut stock = before.remove(name).unwrap_or_default();
            stock.redefine(supply);
            self.stocks.insert(Arc::clone(name), stock);
        }
        // What is no longer configured and still in use: a resource that comes back must know of it.
        for (name, mut stock) in before {
            let none = if stock.is_indexed { Supply::Devices(Vec::new()) } else { Supply::Sum(0) };
            stock.redefine(&none);
            if stock.is_in_use() {
                self.stocks.insert(name, stock);
            }
        }
    }

    /// Sets how much of each device is held on this node in all, by resource and device, in thousandths: what our tasks do not hold is another worker's.
    pub fn observe(&mut self, held: &[(Arc<str>, Arc<str>, u64)]) {
        for (resource, device, amount) in held {
            if let Some(stock) = self.stocks.get_mut(resource) {
                let ours = stock.pool.used().find(|(name, _)| *name == device).map_or(0, |(_, used)| used);
                stock.pool.set_others(device, amount.saturating_sub(ours));
            }
        }
    }

    /// A keeper found this device taken by somebody else: none of it is offered until [`Self::observe`] finds it free.
    pub fn found_busy(&mut self, resource: &str, device: &str) {
        if let Some(stock) = self.stocks.get_mut(resource) {
            stock.pool.set_others(device, DEVICE);
        }
    }

    /// What is left of each resource, by name; of each device for itself.
    pub fn free(&self) -> impl Iterator<Item = (&Arc<str>, model::Stock)> {
        self.stocks.iter().map(|(name, stock)| {
            let left = if stock.is_indexed {
                model::Stock::Devices(stock.pool.devices.iter().map(Device::left).collect())
            } else {
                model::Stock::Sum(stock.sum_left())
            };
            (name, left)
        })
    }

    /// Every device of every indexed resource, with the name of the resource.
    pub fn devices(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.stocks.iter().flat_map(|(name, stock)| stock.pool.devices.iter().map(move |device| (name, &device.name)))
    }
}

#[cfg(test)]
#[path = "pools_tests.rs"]
mod tests;
