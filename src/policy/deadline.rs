//! Which tasks have passed their time limit: an ordered set of deadlines.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Deadlines by key. At most one a key.
#[derive(Debug)]
pub struct Deadlines<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: HashMap<K, Instant>,
}

impl<K: Copy + Ord + Hash> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: HashMap::new() }
    }
}

impl<K: Copy + Ord + Hash> Deadlines<K> {
    /// Sets or moves a deadline.
    pub fn arm(&mut self, key: K, at: Instant) {
        self.disarm(key);
        self.by_time.insert((at, key));
        self.by_key.insert(key, at);
    }

    /// Forgets a deadline; nothing happens where there is none.
    pub fn disarm(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out every deadline that has come, earliest first.
    pub fn take_overdue(&mut self, now: Instant) -> Vec<K> {
        let mut overdue = Vec::new();
        while let Some((at, key)) = self.by_time.first().copied() {
            if at > now {
                break;
            }
            self.by_time.remove(&(at, key));
            self.by_key.remove(&key);
            overdue.push(key);
        }
        overdue
    }
}

/// When a task that started at `start` is overdue; `None` when it has no limit, or one beyond the end of time.
#[must_use]
pub fn deadline(start: Instant, limit_seconds: u64) -> Option<Instant> {
    if limit_seconds == 0 { None } else { start.checked_add(Duration::from_secs(limit_seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overdue_ones_come_out_once_and_in_order() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut deadlines = Deadlines::default();
        deadlines.arm(1, at(3));
        deadlines.arm(2, at(1));
        deadlines.arm(3, at(2));
        deadlines.arm(1, at(9));
        deadlines.disarm(3);
        assert_eq!(deadlines.next(), Some(at(1)));
        assert_eq!(deadlines.take_overdue(at(5)), [2]);
        assert_eq!(deadlines.take_overdue(at(5)), Vec::<i32>::new());
        assert_eq!(deadlines.take_overdue(at(9)), [1]);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn zero_and_the_end_of_time_are_no_limit() {
        assert_eq!(deadline(Instant::now(), 0), None);
        assert_eq!(deadline(Instant::now(), u64::MAX), None);
    }
}
