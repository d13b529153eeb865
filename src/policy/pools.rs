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

/// What is left of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Of devices.
    Devices {
        /// How many whole ones are free.
        whole: u64,
        /// The largest part that is free on one device, in thousandths.
        part: u64,
    },
    /// Of a sum, in thousandths.
    Sum(u64),
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

    /// What is free.
    #[must_use]
    pub fn left(&self) -> Left {
        let whole = self.devices.iter().filter(|device| device.left() == DEVICE).count() as u64;
        Left::Devices { whole, part: self.devices.iter().map(Device::left).max().unwrap_or(0) }
    }

    /// What there is when nothing is taken, in thousandths.
    #[must_use]
    pub fn total(&self) -> u64 {
        DEVICE * self.devices.iter().filter(|device| !device.is_retired).count() as u64
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

#[derive(Clone, Debug)]
enum Stock {
    Devices(Pool),
    Sum(Sum),
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
            let granted = match self.stocks.get_mut(name) {
                Some(Stock::Devices(pool)) => pool.take(*amount).map(Granted::Devices),
                Some(Stock::Sum(sum)) => sum.take(*amount).then_some(Granted::Sum(*amount)),
                None => None,
            };
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
    #[must_use]
    pub fn holds(&self, demand: &[(Arc<str>, u64)]) -> bool {
        demand.is_empty() || self.clone().take(demand).is_some()
    }

    /// Takes back what [`Self::take`] gave. Only when nothing of the task's tree is left.
    pub fn give(&mut self, grants: &Grants) {
        for (name, granted) in &grants.0 {
            match (self.stocks.get_mut(name), granted) {
                (Some(Stock::Devices(pool)), Granted::Devices(grant)) => pool.give(grant),
                (Some(Stock::Sum(sum)), Granted::Sum(amount)) => sum.give(*amount),
                // The configuration has made something else of this resource in the meantime.
                (Some(Stock::Devices(_) | Stock::Sum(_)) | None, _) => {}
            }
        }
    }

    /// Changes what the node has. What tasks hold beyond that is not offered again when they give it back.
    pub fn redefine(&mut self, supplies: &[(Arc<str>, Supply)]) {
        let mut before = std::mem::take(&mut self.stocks);
        for (name, supply) in supplies {
            let stock = match (supply, before.remove(name)) {
                (Supply::Devices(names), Some(Stock::Devices(mut pool))) => {
                    pool.redefine(names);
                    Stock::Devices(pool)
                }
                (Supply::Devices(names), Some(Stock::Sum(_)) | None) => Stock::Devices(Pool::new(names)),
                (Supply::Sum(total), Some(Stock::Sum(sum))) => Stock::Sum(Sum { total: *total, ..sum }),
                (Supply::Sum(total), Some(Stock::Devices(_)) | None) => Stock::Sum(Sum::new(*total)),
            };
            self.stocks.insert(Arc::clone(name), stock);
        }
        // What is no longer configured and still in use: a resource that comes back must know of it.
        for (name, stock) in before {
            let kept = match stock {
                Stock::Devices(mut pool) => {
                    pool.redefine(&[]);
                    (pool.devices.iter().any(|device| device.used > 0)).then_some(Stock::Devices(pool))
                }
                Stock::Sum(sum) => (sum.used > 0).then_some(Stock::Sum(Sum { total: 0, ..sum })),
            };
            if let Some(kept) = kept {
                self.stocks.insert(name, kept);
            }
        }
    }

    /// Sets how much of each device is held on this node in all, by resource and device, in thousandths: what our tasks do not hold is another worker's.
    pub fn observe(&mut self, held: &[(Arc<str>, Arc<str>, u64)]) {
        for (resource, device, amount) in held {
            if let Some(Stock::Devices(pool)) = self.stocks.get_mut(resource) {
                let ours = pool.used().find(|(name, _)| *name == device).map_or(0, |(_, used)| used);
                pool.set_others(device, amount.saturating_sub(ours));
            }
        }
    }

    /// A keeper found this device taken by somebody else: none of it is offered until [`Self::observe`] finds it free.
    pub fn found_busy(&mut self, resource: &str, device: &str) {
        if let Some(Stock::Devices(pool)) = self.stocks.get_mut(resource) {
            pool.set_others(device, DEVICE);
        }
    }

    /// What is left of each resource, by name; of each device for itself.
    pub fn free(&self) -> impl Iterator<Item = (&Arc<str>, model::Stock)> {
        self.stocks.iter().map(|(name, stock)| match stock {
            Stock::Devices(pool) => (name, model::Stock::Devices(pool.devices.iter().map(Device::left).collect())),
            Stock::Sum(sum) => (name, model::Stock::Sum(sum.left())),
        })
    }

    /// Every device of every indexed resource, with the name of the resource.
    pub fn devices(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.stocks.iter().flat_map(|(name, stock)| {
            let devices = match stock {
                Stock::Devices(pool) => pool.devices.as_slice(),
                Stock::Sum(_) => &[],
            };
            devices.iter().map(move |device| (name, &device.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<Arc<str>> {
        (0..count).map(|index| index.to_string().into()).collect()
    }

    fn shown(grant: &Grant) -> String {
        grant.shares.iter().map(|share| format!("{}:{} ", share.device, share.amount)).collect()
    }

    fn take(pool: &mut Pool, amount: u64) -> String {
        pool.take(amount).map_or("-".to_owned(), |grant| shown(&grant))
    }

    #[test]
    fn whole_devices_come_lowest_first() {
        let mut pool = Pool::new(&names(4));
        assert_eq!(take(&mut pool, 1000), "0:1000 ");
        let two = pool.take(2000).expect("two are free");
        assert_eq!(shown(&two), "1:1000 2:1000 ");
        assert_eq!((take(&mut pool, 2000), pool.left()), ("-".to_owned(), Left::Devices { whole: 1, part: 1000 }));
        pool.give(&two);
        assert_eq!(take(&mut pool, 1000), "1:1000 ");
    }

    #[test]
    fn parts_are_packed_and_never_share_with_a_whole_device() {
        let mut pool = Pool::new(&names(2));
        assert_eq!([500, 500].map(|part| take(&mut pool, part)), ["0:500 ", "0:500 "]);
        assert_eq!([1000, 500, 1].map(|amount| take(&mut pool, amount)), ["1:1000 ", "-", "-"]);
        let mut pool = Pool::new(&names(3));
        let taken = [600, 700, 300, 400].map(|part| take(&mut pool, part));
        assert_eq!(taken, ["0:600 ", "1:700 ", "1:300 ", "0:400 "], "the fullest that has room");
        assert_eq!(pool.left(), Left::Devices { whole: 1, part: 1000 });
    }

    #[test]
    fn amount_that_is_no_device_and_no_part_is_never_granted() {
        let mut pool = Pool::new(&names(8));
        assert_eq!([0, 1500, 9000, u64::MAX].map(|amount| take(&mut pool, amount)), ["-"; 4]);
        assert_eq!(Pool::default().take(1), None);
    }

    #[test]
    fn device_that_others_hold_is_not_offered() {
        let resource: Arc<str> = "gpus".into();
        let mut pools = Pools::new(&[(Arc::clone(&resource), Supply::Devices(names(2)))]);
        let one = vec![(Arc::clone(&resource), 1000)];
        let ours = pools.take(&one).expect("both are free");
        pools.observe(&[(Arc::clone(&resource), "0".into(), 1000), (Arc::clone(&resource), "1".into(), 1000)]);
        assert_eq!(pools.free().collect::<Vec<_>>(), [(&resource, model::Stock::Devices(vec![0, 0]))]);
        pools.give(&ours);
        assert!(pools.take(&one).is_some(), "what was ours is not another's");
        pools.observe(&[(Arc::clone(&resource), "1".into(), 250)]);
        assert_eq!(pools.free().collect::<Vec<_>>(), [(&resource, model::Stock::Devices(vec![0, 750]))]);
        pools.found_busy("gpus", "1");
        assert!(!pools.holds(&[(Arc::clone(&resource), 1)]));
        pools.observe(&[(resource, "1".into(), 0)]);
        assert!(pools.holds(&one));
    }

    #[test]
    fn what_is_no_longer_configured_is_not_offered_again() {
        let (gpus, lic): (Arc<str>, Arc<str>) = ("gpus".into(), "lic".into());
        let supply =
            |count, total| [(Arc::clone(&gpus), Supply::Devices(names(count))), (Arc::clone(&lic), Supply::Sum(total))];
        let mut pools = Pools::new(&supply(2, 3000));
        let all = vec![(Arc::clone(&gpus), 2000), (Arc::clone(&lic), 3000)];
        let taken = pools.take(&all).expect("all is free");
        pools.redefine(&supply(1, 1000));
        assert!(pools.take(&[(Arc::clone(&lic), 1)]).is_none(), "more is in use than there is");
        pools.give(&taken);
        assert_eq!(pools.free().map(|(_, free)| free.total()).collect::<Vec<_>>(), [1000, 1000]);
        assert!(!pools.holds(&all) && pools.holds(&[(Arc::clone(&gpus), 1000), (Arc::clone(&lic), 1000)]));
        let taken = pools.take(&[(Arc::clone(&gpus), 500)]).expect("it is free");
        pools.redefine(&[]);
        assert!(!pools.holds(&[(Arc::clone(&gpus), 1)]));
        pools.redefine(&supply(1, 0));
        assert!(!pools.holds(&[(Arc::clone(&gpus), 1000)]), "a task has half of it");
        pools.give(&taken);
        assert!(pools.holds(&[(gpus, 1000)]));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u64, u64, u64),
        Give(prop::sample::Index),
        Others(usize, u64),
        Redefine(usize, u64),
    }

    fn amount() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0_u64), 1..1000_u64, (1..4_u64).prop_map(|count| count * 1000)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (amount(), amount(), 0..2500_u64).prop_map(|(a, b, c)| Step::Take(a, b, c)),
            3 => any::<prop::sample::Index>().prop_map(Step::Give),
            1 => (0..4_usize, 0..1001_u64).prop_map(|(device, amount)| Step::Others(device, amount)),
            1 => (0..5_usize, 0..4000_u64).prop_map(|(count, total)| Step::Redefine(count, total)),
        ]
    }

    proptest! {
        #[test]
        fn no_device_is_ever_given_out_beyond_itself(steps in prop::collection::vec(step(), 1..60)) {
            let resources: [Arc<str>; 3] = ["fpga".into(), "gpus".into(), "lic".into()];
            let supply = |count, total| [
                (Arc::clone(&resources[0]), Supply::Devices(names(2))),
                (Arc::clone(&resources[1]), Supply::Devices(names(count))),
                (Arc::clone(&resources[2]), Supply::Sum(total)),
            ];
            let mut pools = Pools::new(&supply(3, 3000));
            let mut running: Vec<Grants> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(fpga, gpus, lic) => {
                        let wanted = [fpga, gpus, lic];
                        let demand: ResourceDemand = resources.iter().cloned().zip(wanted)
                            .filter(|(_, amount)| *amount > 0).collect();
                        let (before, would) = (format!("{pools:?}"), pools.holds(&demand));
                        match pools.take(&demand) {
                            Some(grants) => {
                                prop_assert!(would);
                                let got: Vec<u64> = grants.0.iter().map(|(_, granted)| match granted {
                                    Granted::Devices(grant) => grant.shares.iter().map(|share| share.amount).sum(),
                                    Granted::Sum(amount) => *amount,
                                }).collect();
                                prop_assert_eq!(got, demand.iter().map(|(_, amount)| *amount).collect::<Vec<_>>());
                                running.push(grants);
                            }
                            None => prop_assert!(!would && format!("{pools:?}") == before, "all or nothing"),
                        }
                    }
                    Step::Give(index) if !running.is_empty() => {
                        let grants = running.swap_remove(index.index(running.len()));
                        pools.give(&grants);
                    }
                    Step::Give(_) => {}
                    Step::Others(device, amount) => {
                        let held = (Arc::clone(&resources[1]), device.to_string().into(), amount);
                        pools.observe(&[held]);
                    }
                    Step::Redefine(count, total) => pools.redefine(&supply(count, total)),
                }
                // What the running tasks have, from their grants alone.
                let mut by_device: BTreeMap<(&Arc<str>, &Arc<str>), Vec<u64>> = BTreeMap::new();
                for (resource, share) in running.iter().flat_map(Grants::devices) {
                    by_device.entry((resource, &share.device)).or_default().push(share.amount);
                }
                for (device, amounts) in by_device {
                    prop_assert!(amounts.iter().sum::<u64>() <= DEVICE, "{device:?}: {amounts:?}");
                    prop_assert!(!amounts.contains(&DEVICE) || amounts.len() == 1, "a whole device is shared");
                }
            }
            for grants in running.drain(..) {
                pools.give(&grants);
            }
            pools.redefine(&supply(3, 3000));
            pools.observe(&names(3).into_iter().map(|name| (Arc::clone(&resources[1]), name, 0)).collect::<Vec<_>>());
            let all: ResourceDemand = resources.iter().cloned().zip([2000, 3000, 3000]).collect();
            prop_assert!(pools.take(&all).is_some(), "what was given back is free: {pools:?}");
        }

        #[test]
        fn part_goes_where_least_is_left(used in prop::collection::vec(0..1000_u64, 1..6), part in 1..1000_u64) {
            let mut pool = Pool::new(&names(used.len()));
            for (device, used) in pool.devices.iter_mut().zip(&used) {
                device.used = *used;
            }
            let granted = pool.take(part);
            let best = used.iter().filter(|used| *used + part <= DEVICE).max();
            let got = granted.map(|grant| used[grant.shares[0].device.parse::<usize>().expect("an index")]);
            prop_assert_eq!(got.as_ref(), best);
        }
    }
}
