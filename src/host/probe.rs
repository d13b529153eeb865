//! Measures the memory and cores that the node has, and those that are free.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sysinfo::System;

use super::cgroup::{Cgroups, CpuLimit, MemoryLimit};
use super::cpu::{CpuTimes, parse_allowed, parse_stat};
use crate::model::{Accounting, Amounts, Bytes, MilliCores, NodeSample};
use crate::sys::cgroup;

/// Over less time than this, clock ticks are too coarse to say how busy the processors are.
const LEAST_INTERVAL: Duration = Duration::from_millis(200);

/// The operating system does not tell about the machine at all.
#[derive(Debug, thiserror::Error)]
#[error("read the state of this machine: {0}")]
pub struct ProbeError(#[source] sysinfo::Error);

/// A reading of the processors, to compare the next with.
#[derive(Clone, Debug)]
struct CpuReading {
    at: Instant,
    times: CpuTimes,
    limits: Vec<CpuLimit>,
}

/// Measures the node. One is kept for the life of a worker: how busy the processors are is told by comparing with the
/// sample before. Reads a few small files a time, and blocks for no longer than that.
#[derive(Debug)]
pub struct Probe {
    system: System,
    root: PathBuf,
    memberships: Vec<u8>,
    cgroups: Cgroups,
    before: CpuReading,
    busy: Option<(u64, Vec<Option<u64>>)>,
    share: Share,
}

/// How much of the node may be used, where that is not the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// This much of each kind, or all of it where that is `u64::MAX`. What is measured is never more than the node has; what is only declared may be,
    /// for tasks that mostly wait.
    pub most: Amounts,
    /// This much at least of what is only declared, though the node has less; what `most` names outranks it.
    pub least: Amounts,
}

/// All of it.
impl Default for Share {
    fn default() -> Self {
        Self { most: Amounts::of(|_| u64::MAX), least: Amounts::NONE }
    }
}

impl Share {
    /// The part of the node that counts. Free is what is free of the node, up to the size of the part.
    fn of(self, node: NodeSample) -> NodeSample {
        let total = Amounts::of(|kind| match (kind.accounting(), self.most.get(kind)) {
            (Accounting::Declared, u64::MAX) => node.total.get(kind).max(self.least.get(kind)),
            (Accounting::Declared, most) => most,
            (Accounting::Measured, most) => most.min(node.total.get(kind)),
        });
        let used = node.total.minus(&node.free);
        NodeSample { total, free: total.max(&node.total).minus(&used).min(&total) }
    }
}

impl Probe {
    /// Measures this part of the node in place of the whole.
    #[must_use]
    pub fn with_share(self, share: Share) -> Self {
        Self { share, ..self }
    }

    /// The memory that was asked for, where the node has less.
    #[must_use]
    pub fn share_beyond_node(&mut self) -> Option<Bytes> {
        let (asked, total) = (self.share.most.mem(), self.sample().total.mem());
        (self.has_share_of_memory() && asked > total).then_some(asked)
    }

    /// Whether less memory than the node's counts: then what is free of it is not what the samples say, but that less what our tasks hold.
    #[must_use]
    pub fn has_share_of_memory(&self) -> bool {
        self.share.most.mem() < Share::default().most.mem()
    }

    /// Takes the first reading of the processors.
    ///
    /// # Errors
    /// When the system gives no information at all.
    pub fn new() -> Result<Self, ProbeError> {
        let root = PathBuf::from("/");
        let cgroups = Cgroups::discover(&root);
        let before = CpuReading::take(&root, &cgroups, &allowed_cpus(&root));
        let memberships = cgroup::paths(&root);
        let system = System::new().map_err(ProbeError)?;
        Ok(Self { system, root, memberships, cgroups, before, busy: None, share: Share::default() })
    }

    /// Measures. The first sample tells how busy the processors were since [`Self::new`], roughly if that is less than
    /// 200 ms ago; later ones tell it for the time since the sample before, or that one's figure if it is as recent.
    pub fn sample(&mut self) -> NodeSample {
        let memberships = cgroup::paths(&self.root);
        if memberships != self.memberships {
            // Somebody moved us to another cgroup.
            self.cgroups = Cgroups::discover(&self.root);
            self.memberships = memberships;
            self.busy = None;
        }
        self.system.refresh_memory();
        let node = (self.system.total_memory(), self.system.available_memory());
        let (mem_total, mem_free) = least_memory(node, &self.cgroups.memory_limits());
        let allowed = allowed_cpus(&self.root);
        let now = CpuReading::take(&self.root, &self.cgroups, &allowed);
        let elapsed = now.at.saturating_duration_since(self.before.at);
        let is_coarse = elapsed < LEAST_INTERVAL;
        let (busy_permille, used) = match self.busy.take() {
            Some(busy) if is_coarse => busy,
            Some(_) | None => {
                let busy = now.times.busy_permille_since(self.before.times).unwrap_or(0);
                (busy, now.used_since(&self.before))
            }
        };
        let cores = cores_of(&allowed);
        let (cores_total, cores_free) = least_cores(cores, busy_permille, &now.limits, &used);
        self.busy = Some((busy_permille, used));
        if !is_coarse {
            self.before = now;
        }
        let total = Amounts::NONE.with_mem(mem_total).with_cpu(cores_total);
        let free = Amounts::NONE.with_mem(mem_free).with_cpu(cores_free);
        self.share.of(NodeSample { total, free })
    }
}

impl CpuReading {
    fn take(root: &Path, cgroups: &Cgroups, allowed: &BTreeSet<usize>) -> Self {
        let stat = fs::read_to_string(root.join("proc/stat")).unwrap_or_default();
        Self { at: Instant::now(), times: parse_stat(&stat, allowed), limits: cgroups.cpu_limits() }
    }

    /// Thousandths of a core used below each limit since `before`; `None` where it is not told.
    fn used_since(&self, before: &Self) -> Vec<Option<u64>> {
        let elapsed = self.at.saturating_duration_since(before.at).as_micros().max(1);
        if self.limits.len() != before.limits.len() {
            return vec![None; self.limits.len()];
        }
        let rate = |(now, then): (&CpuLimit, &CpuLimit)| {
            let used = now.used?.checked_sub(then.used?)?.as_micros();
            u64::try_from(used * 1000 / elapsed).ok()
        };
        self.limits.iter().zip(&before.limits).map(rate).collect()
    }
}

fn allowed_cpus(root: &Path) -> BTreeSet<usize> {
    parse_allowed(&fs::read_to_string(root.join("proc/self/status")).unwrap_or_default())
}

/// How many processors we may run on; a quota is not counted here, but for want of anything better.
fn cores_of(allowed: &BTreeSet<usize>) -> u64 {
    if allowed.is_empty() {
        std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
    } else {
        allowed.len() as u64
    }
}

/// Total and available memory, of the node or of the tightest cgroup.
fn least_memory((total, available): (u64, u64), limits: &[MemoryLimit]) -> (Bytes, Bytes) {
    let least_total = limits.iter().map(|limit| limit.limit).fold(total, u64::min);
    let least_available = limits.iter().map(|limit| limit.available).fold(available, u64::min);
    (Bytes(least_total), Bytes(least_available.min(least_total)))
}

/// Total cores, and what the tightest of node and cgroups leaves free of them.
fn least_cores(cores: u64, busy_permille: u64, limits: &[CpuLimit], used: &[Option<u64>]) -> (MilliCores, MilliCores) {
    let node = cores * 1000;
    let total = limits.iter().map(|limit| limit.milli_cores).fold(node, u64::min);
    let node_free = node - (cores * busy_permille).min(node);
    let free = limits
        .iter()
        .zip(used)
        .filter_map(|(limit, used)| Some(limit.milli_cores.saturating_sub((*used)?)))
        .fold(node_free, u64::min);
    (MilliCores(total), MilliCores(free.min(total)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ResourceKind;

    #[test]
    fn the_tightest_limit_is_the_size_of_the_node() {
        let limits = [MemoryLimit { limit: 100, available: 20 }, MemoryLimit { limit: 50, available: 40 }];
        assert_eq!(least_memory((1000, 900), &limits), (Bytes(50), Bytes(20)));
        assert_eq!(least_memory((1000, 900), &[]), (Bytes(1000), Bytes(900)));
        assert_eq!(
            least_memory((1000, 900), &[MemoryLimit { limit: 5000, available: 5000 }]),
            (Bytes(1000), Bytes(900))
        );
    }

    #[test]
    fn free_cores_are_what_node_and_quota_both_leave() {
        let quota = [CpuLimit { milli_cores: 2500, used: None }];
        assert_eq!(least_cores(8, 250, &[], &[]), (MilliCores(8000), MilliCores(6000)));
        assert_eq!(least_cores(8, 250, &quota, &[Some(500)]), (MilliCores(2500), MilliCores(2000)));
        assert_eq!(least_cores(8, 900, &quota, &[Some(0)]), (MilliCores(2500), MilliCores(800)), "0.8 cores are idle");
        assert_eq!(least_cores(8, 0, &quota, &[None]), (MilliCores(2500), MilliCores(2500)));
        assert_eq!(least_cores(8, 0, &quota, &[Some(9999)]), (MilliCores(2500), MilliCores(0)));
    }

    #[test]
    fn share_of_memory_is_within_the_node_and_keeps_what_is_free() {
        let amounts = |gib: u64, milli| Amounts::NONE.with_mem(Bytes(gib << 30)).with_cpu(MilliCores(milli));
        let node = NodeSample { total: amounts(64, 8000), free: amounts(40, 3000) };
        assert_eq!(Share::default().of(node), node);
        let part = Share { most: amounts(8, 2000), ..Share::default() }.of(node);
        assert_eq!(part, NodeSample { total: amounts(8, 2000), free: amounts(8, 2000) }, "3 cores are free");
        let part = Share { most: amounts(100, 4000), ..Share::default() }.of(node);
        assert_eq!(part, NodeSample { total: amounts(64, 4000), free: amounts(40, 3000) });
        let more = Share { most: Share::default().most.with_cpu(MilliCores(20_000)), ..Share::default() }.of(node);
        assert_eq!(more, NodeSample { total: amounts(64, 20_000), free: amounts(40, 15_000) }, "as it was asked for");
        let at_least = |milli| Share { least: amounts(0, milli), ..Share::default() };
        assert_eq!(at_least(4000).of(node), node, "it has more");
        assert_eq!(at_least(9000).of(node).total, amounts(64, 9000));
        let both = Share { least: amounts(0, 9000), most: Share::default().most.with_cpu(MilliCores(2000)) };
        assert_eq!(both.of(node).total.cpu(), MilliCores(2000), "what is named outranks it");
    }

    #[test]
    fn this_machine_can_be_measured() {
        let mut probe = Probe::new().expect("a probe");
        let first = probe.sample();
        assert!(ResourceKind::ALL.into_iter().all(|kind| first.total.get(kind) > 0), "{first:?}");
        assert!(first.total.holds(&first.free), "{first:?}");
        assert_eq!(probe.sample().free.cpu(), first.free.cpu(), "a sample too soon repeats the figure");
    }

    #[test]
    fn a_busy_core_is_seen() {
        let mut probe = Probe::new().expect("a probe");
        let until = Instant::now() + LEAST_INTERVAL + Duration::from_millis(100);
        while Instant::now() < until {
            std::hint::black_box(0);
        }
        let sample = probe.sample();
        assert!(sample.usage().used.cpu() >= MilliCores(200), "{sample:?}");
    }
}
