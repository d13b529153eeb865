//! Histograms of the whole queue, as the scripts count them (`queue/lua/shared/spread.lua`).

use std::collections::HashMap;

use super::meters::{Histogram, TASK_BOUNDS};

/// Upper bounds of the buckets of the wait from submission to the first claim, seconds.
pub const WAIT_BOUNDS: [f64; 10] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 10_800.0, 43_200.0, 86_400.0];

/// Upper bounds of the buckets of peak memory, in parts of what the task declared.
pub const MEMORY_BOUNDS: [f64; 10] = [0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0];

/// Both run and wait times are counted in milliseconds, parts of memory in thousandths.
const PER_UNIT: f64 = 1000.0;

/// How the times and the memory of tasks are spread, since the queue began.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Run time of attempts that finished or failed, seconds.
    pub run: Histogram<14>,
    /// From submission to the first claim, seconds.
    pub wait: Histogram<10>,
    /// Peak memory of finished tasks, in parts of what they declared.
    pub memory: Histogram<10>,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            run: Histogram::new(TASK_BOUNDS),
            wait: Histogram::new(WAIT_BOUNDS),
            memory: Histogram::new(MEMORY_BOUNDS),
        }
    }
}

impl Spread {
    /// Of the fields of its hash.
    #[must_use]
    pub fn of(fields: &HashMap<String, String>) -> Self {
        let number = |what: &str, part: &str| {
            fields.get(&format!("{what}:{part}")).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        // The scripts count buckets from 1.
        let count = |what: &str, at: usize| number(what, &(at + 1).to_string());
        let sum = |what: &str| number(what, "sum") as f64 / PER_UNIT;
        Self {
            run: Histogram::of(TASK_BOUNDS, |at| count("run", at), sum("run")),
            wait: Histogram::of(WAIT_BOUNDS, |at| count("wait", at), sum("wait")),
            memory: Histogram::of(MEMORY_BOUNDS, |at| count("mem", at), sum("mem")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_read_as_the_scripts_count_it() {
        let fields = [("run:1", "3"), ("run:15", "1"), ("run:sum", "90500"), ("mem:6", "7"), ("wait:x", "?")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let spread = Spread::of(&fields);
        assert_eq!((spread.run.count(), spread.run.sum()), (4, 90.5));
        assert_eq!(spread.run.buckets()[0], (0.01, 3));
        assert_eq!(spread.run.buckets()[14], (f64::INFINITY, 1));
        assert_eq!(spread.memory.buckets()[5], (1.0, 7));
        assert_eq!(spread.wait, Spread::default().wait);
    }

    #[test]
    fn the_scripts_have_the_same_bounds() {
        let lua = include_str!("../queue/lua/shared/spread.lua");
        let bounds_of = |what: &str| -> Vec<f64> {
            let line = lua.lines().find_map(|line| line.trim().strip_prefix(&format!("{what} = {{ ")));
            let numbers = line.and_then(|line| line.split(" }").next()).unwrap_or_default();
            numbers.split(", ").filter_map(|number| Some(number.parse::<f64>().ok()? / PER_UNIT)).collect()
        };
        assert_eq!(bounds_of("run"), TASK_BOUNDS);
        assert_eq!(bounds_of("wait"), WAIT_BOUNDS);
        assert_eq!(bounds_of("mem"), MEMORY_BOUNDS);
    }
}
