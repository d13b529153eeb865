//! The memory of the descendants of some processes, from one pass over `/proc`.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use crate::model::Bytes;
use crate::sys::stat::Stat;

/// Resident memory of all descendants of each of `roots`, the root's own not counted; zero when it has none or is gone.
///
/// A process below several roots counts for the nearest. Pages shared by several processes count for each of them.
/// The roots have one thread each. One pass over `/proc` and a second file for each descendant, where a root has a child. Blocking.
#[must_use]
pub fn rss_by_root(roots: &[u32]) -> HashMap<u32, Bytes> {
    let mut sums: HashMap<u32, Bytes> = roots.iter().map(|root| (*root, Bytes::ZERO)).collect();
    if roots.is_empty() {
        return sums;
    }
    let proc = Path::new("/proc");
    let page_size = page_size();
    // Nothing runs: as many files as there are roots, however many processes the machine has.
    if roots.iter().all(|root| is_childless(proc, *root) == Some(true)) {
        return sums;
    }
    for (pid, root) in descendants(&parents(), roots) {
        // `statm` and not `stat`: on kernels of several years the latter is off by megabytes per processor.
        let pages = fs::read_to_string(proc.join(pid.to_string()).join("statm")).ok().and_then(|s| parse_statm(&s));
        if let Some(sum) = sums.get_mut(&root) {
            *sum += Bytes(pages.unwrap_or(0).saturating_mul(page_size));
        }
    }
    sums
}

/// Whether a process of one thread has no children, by the kernel's own list; `None` where it keeps none (built without `CONFIG_PROC_CHILDREN`).
fn is_childless(proc: &Path, pid: u32) -> Option<bool> {
    let pid = pid.to_string();
    read(&proc.join(&pid).join("task").join(&pid).join("children"), &mut [0; 1]).map(<[u8]>::is_empty)
}

/// The beginning of a file, in one read: the kernel gives these whole.
fn read<'a>(path: &Path, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let len = File::open(path).ok()?.read(buffer).ok()?;
    buffer.get(..len)
}

fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

/// The parent of every process.
fn parents() -> HashMap<u32, u32> {
    let Ok(directory) = fs::read_dir("/proc") else { return HashMap::new() };
    directory
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((pid.try_into().ok()?, Stat::read(pid)?.parent.try_into().ok()?))
        })
        .collect()
}

/// Resident pages, the second number of `/proc/PID/statm`.
fn parse_statm(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Each process below a root, with the nearest root above it.
fn descendants(parents: &HashMap<u32, u32>, roots: &[u32]) -> Vec<(u32, u32)> {
    // For each process looked at: the root it is below, so that no path is walked twice.
    let mut known: HashMap<u32, Option<u32>> = HashMap::with_capacity(parents.len());
    let mut found = Vec::new();
    let roots: HashSet<u32> = roots.iter().copied().collect();
    for (&pid, &parent) in parents {
        let mut path = vec![pid];
        let mut at = parent;
        let root = loop {
            if roots.contains(&at) {
                break Some(at);
            }
            // What is known of a root is what it is below itself; that was asked first, above.
            if let Some(root) = known.get(&at) {
                break *root;
            }
            match parents.get(&at) {
                // A pid used anew during the pass could close a circle.
                Some(&next) if path.len() <= parents.len() => {
                    path.push(at);
                    at = next;
                }
                Some(_) | None => break None,
            }
        };
        found.extend(root.map(|root| (pid, root)));
        known.extend(path.into_iter().map(|pid| (pid, root)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// Kills a child of ours and what it has started.
    fn end_all_below(parent: &mut std::process::Child) {
        let below = descendants(&parents(), &[parent.id()]);
        parent.kill().expect("killed");
        parent.wait().expect("reaped");
        for (pid, _) in below {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
        }
    }

    #[test]
    fn descendants_count_for_nearest_root_but_roots_do_not() {
        let parents = HashMap::from([(1, 0), (10, 1), (11, 10), (12, 11), (20, 12), (21, 20), (22, 21), (30, 1)]);
        let mut found = descendants(&parents, &[10, 20, 99]);
        found.sort_unstable();
        assert_eq!(found, [(11, 10), (12, 10), (20, 10), (21, 20), (22, 20)]);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        assert_eq!(descendants(&HashMap::from([(5, 6), (6, 5)]), &[9]), []);
    }

    #[test]
    fn who_has_a_child_is_told_from_who_has_none() {
        let mut child = std::process::Command::new("/bin/sleep").arg("30").spawn().expect("sleep");
        // Where the kernel keeps no lists, the pass is what is used.
        assert!(is_childless(Path::new("/proc"), child.id()).is_none_or(|childless| childless));
        let mut parent = std::process::Command::new("/bin/sh").args(["-c", "sleep 30; :"]).spawn().expect("sh");
        let until = Instant::now() + Duration::from_secs(10);
        while is_childless(Path::new("/proc"), parent.id()) == Some(true) && Instant::now() < until {}
        assert!(is_childless(Path::new("/proc"), parent.id()).is_none_or(|childless| !childless));
        end_all_below(&mut parent);
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    #[test]
    fn resident_pages_are_the_second_number() {
        assert_eq!(parse_statm("100 24 3 1 0 5 0\n"), Some(24));
        assert_eq!(parse_statm(""), None);
    }

    #[test]
    fn memory_a_child_touches_is_seen() {
        let mut parent = std::process::Command::new("/bin/sh").args(["-c", "sleep 30; :"]).spawn().expect("sh");
        let root = parent.id();
        let until = Instant::now() + Duration::from_secs(10);
        let mut sum = Bytes::ZERO;
        // The child is its own from the fork on; it holds memory of its own a little later.
        while sum == Bytes::ZERO && Instant::now() < until {
            sum = rss_by_root(&[root])[&root];
        }
        end_all_below(&mut parent);
        assert!(sum > Bytes::ZERO);
    }
}
