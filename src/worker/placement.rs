//! Which devices and cores each task of this worker has. Decides purely; the keepers make it so.
//!
//! A task is placed before it starts, and what it has is free again when it has left its slot: then nothing of its tree is left.
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::events::TaskKey;
use super::expiry;
use super::node_extras::{NodeExtras, labels};
use super::placed::Placed;
use crate::config::Config;
use crate::model::{Label, MilliCores, ResourceName, Stock, Stocks, TaskLine, Traits};
use crate::policy::pools::{DEVICE, ResourceDemand, Supply};
use crate::policy::{Cores, Pools};

/// The resources that a task asks for besides memory and cores.
fn resources_of(task: &TaskLine) -> ResourceDemand {
    task.needs().resources().iter().map(|one| (one.name.as_str().into(), one.milli)).collect()
}

/// The devices and cores of the worker, and the tasks that have them.
#[derive(Debug, Default)]
pub struct Placement {
    node: Option<NodeExtras>,
    pools: Pools,
    cores: Cores,
    /// Whether tasks are pinned.
    pins: bool,
    /// The name of the host, for its label.
    host: String,
    /// When the worker was started, seconds since the epoch: its life is counted from then.
    since: u64,
    traits: Arc<Traits>,
    /// Tasks that have something, or share cores.
    placed: BTreeMap<TaskKey, Placed>,
}

impl Placement {
    /// Everything that this node has, free. The worker was started on this host in this second since the epoch.
    #[must_use]
    pub fn new(node: NodeExtras, config: &Config, host: &str, since: u64) -> Self {
        let cores = Cores::new(&node.cores);
        let mut placement = Self { node: Some(node), cores, host: host.to_owned(), since, ..Self::default() };
        placement.reconfigure(config);
        placement
    }

    /// Takes up new settings. What tasks have they keep.
    pub fn reconfigure(&mut self, config: &Config) {
        if let Some(node) = &self.node {
            self.pools.redefine(&node.supplies(config));
            // Where the kernel does not tell which cores there are, none can be chosen.
            self.pins = config.pin_cpus && !node.cores.is_empty();
            let labels = labels(config, &self.host).iter().filter_map(|label| Label::parse(label)).collect();
            let ends_at =
                expiry::lifetime(config).map(|life| self.since.saturating_add(life.terminates_after.as_secs()));
            let stocks = stocks(node.supplies(config).into_iter().map(|(name, supply)| {
                let all = match supply {
                    Supply::Devices(devices) => Stock::Devices(vec![DEVICE; devices.len()]),
                    Supply::Sum(total) => Stock::Sum(total),
                };
                (name, all)
            }));
            self.traits = Arc::new(Traits { stocks, labels, ends_at });
        }
    }

    /// What the node has, whether in use or not.
    #[must_use]
    pub fn traits(&self) -> &Arc<Traits> {
        &self.traits
    }

    /// What of the named resources no task has, of this worker or another of this node.
    #[must_use]
    pub fn free(&self) -> Stocks {
        stocks(self.pools.free().map(|(name, stock)| (Arc::clone(name), stock)))
    }

    /// Whether a task may wait in a keeper for the end of another: not if it has to be placed, since nobody knows yet what is free then.
    #[must_use]
    pub fn may_queue(&self, task: &TaskLine) -> bool {
        !self.pins && resources_of(task).is_empty()
    }

    /// Gives a task what it asks for; `None`, and nothing changes, where that is not free.
    pub fn place(&mut self, key: TaskKey, task: &TaskLine) -> Option<Placed> {
        self.place_demand(key, &resources_of(task), task.demand().cpu())
    }

    fn place_demand(&mut self, key: TaskKey, demand: &ResourceDemand, cpu: MilliCores) -> Option<Placed> {
        // An earlier start that came to nothing.
        self.release(key);
        let mut placed = Placed { grants: self.pools.take(demand)?, ..Placed::default() };
        if self.pins {
            let whole = usize::try_from(cpu.0 / MilliCores::CORE.0).unwrap_or(usize::MAX);
            let is_whole = cpu.0.is_multiple_of(MilliCores::CORE.0);
            // On a node that is told to take more than its cores (`--cores`), the last ones share.
            match if is_whole { self.cores.take(whole) } else { None } {
                Some(own) => placed.own_cores = own,
                None => placed.shared_cores = self.cores.shared(),
            }
        }
        if placed != Placed::default() {
            self.placed.insert(key, placed.clone());
        }
        Some(placed)
    }

    /// Takes back what the tasks have that `is_in_slot` denies.
    pub fn release_all_but(&mut self, is_in_slot: impl Fn(TaskKey) -> bool) {
        let gone: Vec<TaskKey> = self.placed.keys().copied().filter(|key| !is_in_slot(*key)).collect();
        for key in gone {
            self.release(key);
        }
    }

    fn release(&mut self, key: TaskKey) {
        if let Some(placed) = self.placed.remove(&key) {
            self.pools.give(&placed.grants);
            self.cores.give(&placed.own_cores);
        }
    }

    /// The tasks that share cores and are on others than they should be by now, with the cores for all of them. They count as moved.
    pub fn moves(&mut self) -> (Vec<TaskKey>, Vec<usize>) {
        let shared = if self.placed.is_empty() { Vec::new() } else { self.cores.shared() };
        let mut keys = Vec::new();
        for (key, placed) in &mut self.placed {
            if !placed.shared_cores.is_empty() && placed.shared_cores != shared {
                placed.shared_cores.clone_from(&shared);
                keys.push(*key);
            }
        }
        (keys, shared)
    }

    /// Takes in how much of each device is held on this node.
    pub fn observe(&mut self, held: &[(Arc<str>, Arc<str>, u64)]) {
        self.pools.observe(held);
    }

    /// A keeper found this device taken: it is not offered until [`Self::observe`] finds it free.
    pub fn found_busy(&mut self, resource: &str, device: &str) {
        self.pools.found_busy(resource, device);
    }

    /// Whether no core and no device is with two tasks.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let mut cores: Vec<usize> = self.placed.values().flat_map(|placed| placed.own_cores.iter().copied()).collect();
        let count = cores.len();
        cores.sort_unstable();
        cores.dedup();
        let mut devices: BTreeMap<(&Arc<str>, &Arc<str>), u64> = BTreeMap::new();
        for (resource, share) in self.placed.values().flat_map(|placed| placed.grants.devices()) {
            *devices.entry((resource, &share.device)).or_default() += share.amount;
        }
        cores.len() == count && devices.values().all(|amount| *amount <= crate::policy::pools::DEVICE)
    }
}

fn stocks(by_name: impl Iterator<Item = (Arc<str>, Stock)>) -> Stocks {
    Stocks(by_name.filter_map(|(name, stock)| Some((ResourceName::parse(&name)?, stock))).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::pools::Supply;

    fn placement(cores: usize) -> Placement {
        let gpus = Supply::Devices(vec!["a".into(), "b".into()]);
        let cores = Cores::new(&(0..cores).collect::<BTreeSet<_>>());
        Placement { pools: Pools::new(&[("gpus".into(), gpus)]), cores, pins: true, ..Placement::default() }
    }

    fn place(placement: &mut Placement, key: TaskKey, milli: u64) -> Option<Placed> {
        let placed = placement.place_demand(key, &ResourceDemand::new(), MilliCores(milli));
        assert!(placement.is_consistent());
        placed
    }

    #[test]
    fn whole_cores_are_a_tasks_own_and_others_share_the_rest() {
        let mut placement = placement(6);
        assert_eq!(place(&mut placement, 1, 500).unwrap().shared_cores, [0, 1, 2, 3, 4, 5]);
        let own: Vec<Vec<usize>> = (2..6).map(|key| place(&mut placement, key, 1000).unwrap().own_cores).collect();
        assert_eq!(own, [[0], [1], [2], [3]]);
        assert_eq!(placement.moves(), (vec![1], vec![4, 5]));
        assert_eq!(placement.moves(), (vec![], vec![4, 5]), "told once");
        assert_eq!(place(&mut placement, 6, 1500).unwrap().shared_cores, [4, 5], "no whole number of cores");
        assert_eq!(place(&mut placement, 7, 0).unwrap().shared_cores, [4, 5]);
        placement.release_all_but(|key| key != 3);
        assert_eq!(placement.moves(), (vec![1, 6, 7], vec![1, 4, 5]));
        assert_eq!(place(&mut placement, 8, 3000).unwrap().own_cores, [1, 4, 5]);
        assert_eq!(place(&mut placement, 9, 1000).unwrap().shared_cores, [0, 1, 2, 3, 4, 5], "beyond what there is");
    }

    #[test]
    fn task_that_is_placed_again_has_only_what_it_got_last() {
        let mut placement = placement(2);
        let gpu = vec![("gpus".into(), 1000)];
        for _ in 0..5 {
            assert!(placement.place_demand(1, &gpu, MilliCores(2000)).is_some());
        }
        assert!(placement.place_demand(2, &gpu, MilliCores(0)).is_some());
        assert!(placement.place_demand(3, &gpu, MilliCores(0)).is_none());
        assert!(!placement.pools.holds(&gpu) && placement.is_consistent());
        placement.release_all_but(|_| false);
        assert!(placement.pools.holds(&[("gpus".into(), 2000)]));
        placement.found_busy("gpus", "b");
        assert!(!placement.pools.holds(&[("gpus".into(), 2000)]) && placement.pools.holds(&gpu));
        placement.observe(&[("gpus".into(), "b".into(), 0)]);
        assert!(placement.pools.holds(&[("gpus".into(), 2000)]));
    }
}
