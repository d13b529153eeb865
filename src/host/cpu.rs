//! How busy the processors are that this process may use, from two readings of `/proc/stat`.

use std::collections::BTreeSet;

/// Time of the processors we may use since boot, in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuTimes {
    busy: u64,
    total: u64,
}

impl CpuTimes {
    /// The share of the time since `earlier` that the processors were busy, in thousandths; `None` if no tick passed.
    pub(super) fn busy_permille_since(self, earlier: Self) -> Option<u64> {
        // The kernel's idle counters have been seen to run backwards.
        let total = self.total.checked_sub(earlier.total).filter(|ticks| *ticks > 0)?;
        Some((self.busy.saturating_sub(earlier.busy) * 1000 / total).min(1000))
    }
}

/// Sums the lines of `/proc/stat` for the processors in `allowed`; all of them when it is empty.
///
/// Waiting for IO is idle; time stolen by a hypervisor is busy, since nobody here can have it.
pub(super) fn parse_stat(stat: &str, allowed: &BTreeSet<usize>) -> CpuTimes {
    let mut times = CpuTimes::default();
    for line in stat.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(cpu) = fields.next().and_then(|name| name.strip_prefix("cpu")?.parse::<usize>().ok()) else {
            continue;
        };
        if !allowed.is_empty() && !allowed.contains(&cpu) {
            continue;
        }
        // user nice system idle iowait irq softirq steal; guest time is in user already.
        for (index, ticks) in fields.take(8).enumerate() {
            let ticks: u64 = ticks.parse().unwrap_or(0);
            times.total += ticks;
            if index != 3 && index != 4 {
                times.busy += ticks;
            }
        }
    }
    times
}

/// The processors of a `Cpus_allowed_list:` line of `/proc/self/status`, such as `0-3,8`; empty when there is none.
pub(super) fn parse_allowed(status: &str) -> BTreeSet<usize> {
    /// More processors than a kernel can have: keeps a nonsensical range from filling memory.
    const MOST: usize = 1 << 16;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("");
    let mut cpus = BTreeSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cpus.extend(first..=last.min(MOST));
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  0 0 0 0 0 0 0 0 0 0\n\
                        cpu0 100 0 50 800 50 0 0 0 0 0\n\
                        cpu1 10 0 0 990 0 0 0 0 0 0\n\
                        intr 5 0\n";

    #[test]
    fn only_the_processors_we_may_use_count() {
        let first = CpuTimes::default();
        let busy = |allowed: &str| {
            let allowed = parse_allowed(&format!("Name:\tx\nCpus_allowed_list:\t{allowed}\n"));
            parse_stat(STAT, &allowed).busy_permille_since(first)
        };
        assert_eq!(busy("0"), Some(150));
        assert_eq!(busy("1"), Some(10));
        assert_eq!(busy("0-1"), Some(80));
        assert_eq!(busy(""), Some(80), "where the list is missing, all count");
        assert_eq!(busy("7"), None);
    }

    #[test]
    fn counters_that_run_backwards_give_no_nonsense() {
        let (low, high) = (CpuTimes { busy: 5, total: 10 }, CpuTimes { busy: 9, total: 20 });
        assert_eq!(low.busy_permille_since(high), None);
        assert_eq!(low.busy_permille_since(low), None);
        assert_eq!(CpuTimes { busy: 4, total: 30 }.busy_permille_since(high), Some(0));
    }

    #[test]
    fn lists_are_read_and_nonsense_is_skipped() {
        let read = |list: &str| parse_allowed(&format!("Cpus_allowed_list:\t{list}\n")).into_iter().collect::<Vec<_>>();
        assert_eq!(read("0-2,8"), [0, 1, 2, 8]);
        assert_eq!(read("x,1,3-2"), [1]);
        assert!(parse_allowed("").is_empty());
    }
}
