//! The counters of a worker: plain numbers, added to where things happen and read by `/metrics`.

use super::{Amounts, Outcome, Stocks, Usage};

/// The codes of the outcomes that a worker counts.
pub const OUTCOMES: [&str; 10] =
    ["finished", "exit", "signal", "timed_out", "memory", "spawn", "returned", "unstarted", "invalid", "unsigned"];

/// Upper bounds of the buckets of a claim's duration, seconds.
pub const CLAIM_BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Upper bounds of the buckets of a task's duration, seconds: from what only starts to half a day.
pub const TASK_BOUNDS: [f64; 14] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 10_800.0, 21_600.0, 43_200.0];

/// How often values fell into each bucket. Of fixed size, whatever is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram<const N: usize> {
    bounds: [f64; N],
    /// One more than bounds: what is above all of them.
    counts: [u64; N],
    above: u64,
    sum: f64,
}

impl<const N: usize> Histogram<N> {
    /// An empty one with these upper bounds, smallest first.
    #[must_use]
    pub const fn new(bounds: [f64; N]) -> Self {
        Self { bounds, counts: [0; N], above: 0, sum: 0.0 }
    }

    /// One that was counted elsewhere: how many values each bucket has, the one above all bounds last, and their sum.
    #[must_use]
    pub fn of(bounds: [f64; N], count: impl Fn(usize) -> u64, sum: f64) -> Self {
        Self { bounds, counts: std::array::from_fn(&count), above: count(N), sum }
    }

    /// Counts a value.
    pub fn add(&mut self, value: f64) {
        match self.bounds.iter().position(|bound| value <= *bound).and_then(|at| self.counts.get_mut(at)) {
            Some(count) => *count += 1,
            None => self.above += 1,
        }
        self.sum += value;
    }

    /// Upper bounds, with the number of values in each bucket alone; the last is infinite.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        self.bounds.into_iter().zip(self.counts).chain([(f64::INFINITY, self.above)]).collect()
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.above
    }

    /// Their mean; `None` without any.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum / count as f64)
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// The counters of a worker since its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Meters {
    /// Claims that were answered.
    pub claims: u64,
    /// Claims that failed.
    pub claims_failed: u64,
    /// Tasks that claims brought.
    pub claimed: u64,
    /// From asking for tasks to having the answer, seconds.
    pub claim_seconds: Histogram<12>,
    /// Run time of attempts, however they ended, seconds.
    pub task_seconds: Histogram<14>,
    /// Attempts by how they ended, in the order of [`OUTCOMES`].
    pub outcomes: [u64; OUTCOMES.len()],
    /// Results refused because the claim was no longer ours.
    pub fenced: u64,
    /// Times that Redis was found again.
    pub reconnects: u64,
    /// Retries that declare more memory than the attempt before them.
    pub memory_retries: u64,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            claims: 0,
            claims_failed: 0,
            claimed: 0,
            claim_seconds: Histogram::new(CLAIM_BOUNDS),
            task_seconds: Histogram::new(TASK_BOUNDS),
            outcomes: [0; OUTCOMES.len()],
            fenced: 0,
            reconnects: 0,
            memory_retries: 0,
        }
    }
}

impl Meters {
    /// Counts an attempt's end. What no worker ends so, such as a cancellation, is not counted.
    pub fn ended(&mut self, outcome: Outcome) {
        let counts = OUTCOMES.iter().zip(&mut self.outcomes);
        counts.filter(|(code, _)| **code == outcome.code()).for_each(|(_, count)| *count += 1);
    }
}

/// A worker at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerFigures {
    /// Its name.
    pub worker: String,
    /// Its counters.
    pub meters: Meters,
    /// Attempts running.
    pub running: u32,
    /// How many tasks it may run at once.
    pub slots: u32,
    /// Tasks claimed ahead of slots.
    pub held: u32,
    /// Whether it has a session with Redis.
    pub is_linked: bool,
    /// Whether it takes new tasks.
    pub is_open: bool,
    /// Whether it takes none because of what speaks against it.
    pub is_suspect: bool,
    /// Waiting tasks, as the last claim saw them; `None` before the first.
    pub waiting: Option<u64>,
    /// How much of the node is in use.
    pub usage: Usage,
    /// What running tasks have declared and not yet touched.
    pub reserved: Amounts,
    /// Named resources of the node, all of each.
    pub stocks: Stocks,
    /// What of them is free.
    pub free: Stocks,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_bucket() {
        let mut histogram = Histogram::new([1.0, 2.0]);
        for value in [0.0, 1.0, 1.5, 2.5, 1e9] {
            histogram.add(value);
        }
        assert_eq!(histogram.buckets(), [(1.0, 2), (2.0, 1), (f64::INFINITY, 2)]);
        assert_eq!((histogram.count(), histogram.sum()), (5, 1e9 + 5.0));
    }

    #[test]
    fn each_outcome_of_a_worker_is_counted_by_its_code() {
        let mut meters = Meters::default();
        let ends = [Outcome::Exit(0), Outcome::Exit(3), Outcome::Signal(9), Outcome::TimedOut(1), Outcome::Memory];
        let others = [Outcome::Spawn, Outcome::Returned, Outcome::Unstarted, Outcome::Invalid, Outcome::Unsigned];
        ends.into_iter().chain(others).for_each(|outcome| meters.ended(outcome));
        assert_eq!(meters.outcomes, [1; OUTCOMES.len()]);
        meters.ended(Outcome::Cancelled);
        assert_eq!(meters.outcomes, [1; OUTCOMES.len()]);
    }
}
