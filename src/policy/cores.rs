//! Which cores of a node go to which task, where tasks are pinned (`pin_cpus`).
//!
//! A task of whole cores has them for itself. All others share the cores that no task has for itself.

use std::collections::BTreeSet;

/// The cores that a worker may use, and which of them one task has for itself.
#[derive(Clone, Debug, Default)]
pub struct Cores {
    allowed: BTreeSet<usize>,
    free: BTreeSet<usize>,
}

impl Cores {
    /// Cores by their numbers, all free.
    #[must_use]
    pub fn new(allowed: &BTreeSet<usize>) -> Self {
        Self { allowed: allowed.clone(), free: allowed.clone() }
    }

    /// Gives this many cores to one task: neighbours where there are as many, of the shortest such row, since neighbours share caches; else the lowest
    /// ones. `None`, and nothing changes, where fewer are free; 0 cores are none.
    pub fn take(&mut self, count: usize) -> Option<Vec<usize>> {
        if count == 0 || self.free.len() < count {
            return None;
        }
        let rows = self.rows();
        let row = rows.iter().filter(|row| row.len() >= count).min_by_key(|row| row.len());
        let taken: Vec<usize> = match row {
            Some(row) => row[..count].to_vec(),
            None => self.free.iter().copied().take(count).collect(),
        };
        for core in &taken {
            self.free.remove(core);
        }
        Some(taken)
    }

    /// Takes back what [`Self::take`] gave.
    pub fn give(&mut self, cores: &[usize]) {
        self.free.extend(cores.iter().filter(|core| self.allowed.contains(core)));
    }

    /// The cores for all tasks that have none for themselves. Where none is left, these are all cores, since they have to run somewhere.
    #[must_use]
    pub fn shared(&self) -> Vec<usize> {
        let rest = if self.free.is_empty() { &self.allowed } else { &self.free };
        rest.iter().copied().collect()
    }

    /// Free cores in rows of neighbours.
    fn rows(&self) -> Vec<Vec<usize>> {
        let mut rows: Vec<Vec<usize>> = Vec::new();
        for &core in &self.free {
            match rows.last_mut() {
                Some(row) if row.last().is_some_and(|last| last + 1 == core) => row.push(core),
                Some(_) | None => rows.push(vec![core]),
            }
        }
        rows
    }
}

/// Numbers in rising order as the kernel writes them: `0-3,8`.
#[must_use]
pub fn list(cores: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            Some(_) | None => parts.push((core, core)),
        }
    }
    let shown = parts.into_iter().map(
        |(first, last)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        },
    );
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_taken_from_the_shortest_row() {
        let mut cores = Cores::new(&BTreeSet::from([0, 1, 2, 3, 6, 7, 9]));
        assert_eq!(cores.take(1), Some(vec![9]));
        assert_eq!(cores.take(2), Some(vec![6, 7]));
        assert_eq!(cores.take(3), Some(vec![0, 1, 2]));
        assert_eq!((cores.take(2), cores.take(0), cores.shared()), (None, None, vec![3]));
        cores.give(&[6, 7]);
        assert_eq!(cores.take(3), Some(vec![3, 6, 7]), "no row is long enough");
        assert_eq!(cores.shared(), [0, 1, 2, 3, 6, 7, 9], "they have to run somewhere");
        cores.give(&[9, 42]);
        assert_eq!(cores.shared(), [9], "42 was never ours");
    }

    #[test]
    fn lists_are_as_the_kernel_writes_them() {
        assert_eq!(list(&[]), "");
        assert_eq!(list(&[4]), "4");
        assert_eq!(list(&[0, 1, 2, 3, 8, 10, 11]), "0-3,8,10-11");
    }

    proptest! {
        #[test]
        fn no_core_is_given_to_two_tasks(
            allowed in prop::collection::btree_set(0..24_usize, 1..16),
            steps in prop::collection::vec((0..5_usize, any::<prop::sample::Index>(), any::<bool>()), 1..60),
        ) {
            let mut cores = Cores::new(&allowed);
            let mut running: Vec<Vec<usize>> = Vec::new();
            for (count, index, gives) in steps {
                if gives && !running.is_empty() {
                    let given = running.swap_remove(index.index(running.len()));
                    cores.give(&given);
                } else if let Some(taken) = cores.take(count) {
                    prop_assert_eq!(taken.len(), count);
                    running.push(taken);
                }
                let own: Vec<usize> = running.iter().flatten().copied().collect();
                let distinct: BTreeSet<usize> = own.iter().copied().collect();
                prop_assert_eq!(own.len(), distinct.len(), "two tasks have one core");
                prop_assert!(distinct.is_subset(&allowed));
                let rest: BTreeSet<usize> = cores.shared().into_iter().collect();
                if own.len() < allowed.len() {
                    prop_assert!(rest.is_disjoint(&distinct));
                }
            }
        }
    }
}
