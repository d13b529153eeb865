//! The kinds of resources that a task asks for and a node offers. A kind is described here once: accounting, views, metrics and JSON go over
//! [`ResourceKind::ALL`] and ask this table for names and units.

use super::units::{Bytes, MilliCores};

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// DRAM, in bytes.
    Memory,
    /// Processor time per second, in thousandths of a core.
    Cores,
}

/// How the room that a node has left for new tasks is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accounting {
    /// What is measured as free, less what running tasks have declared and not yet touched.
    Measured,
    /// The total, less what running tasks have declared.
    Declared,
}

/// What is to be known of a kind.
struct Row {
    key: &'static str,
    noun: &'static str,
    title: &'static str,
    unit: &'static str,
    is_counted: bool,
    per_unit: u64,
    stem: &'static str,
    heading: &'static str,
    suffix: &'static str,
    asked: &'static str,
    metric_suffix: &'static str,
    per_metric_unit: u64,
    accounting: Accounting,
    threshold: Option<&'static str>,
    exact: fn(u64) -> String,
}

const MEMORY: Row = Row {
    key: "mem",
    noun: "memory",
    title: "Memory",
    unit: "GB",
    is_counted: false,
    per_unit: Bytes::GIB.0,
    stem: "mem",
    heading: "mem GB",
    suffix: "_gb",
    asked: "mem_gb",
    metric_suffix: "_bytes",
    per_metric_unit: 1,
    accounting: Accounting::Measured,
    threshold: Some("min_dram_gb_accept_new_task"),
    exact: |bytes| Bytes(bytes).to_string(),
};

const CORES: Row = Row {
    key: "cpu",
    noun: "cores",
    title: "Cores",
    unit: "core",
    is_counted: true,
    per_unit: MilliCores::CORE.0,
    stem: "cores",
    heading: "cores",
    suffix: "",
    asked: "cpus",
    metric_suffix: "",
    per_metric_unit: MilliCores::CORE.0,
    accounting: Accounting::Declared,
    threshold: Some("min_free_cpu_cores"),
    exact: |milli| MilliCores(milli).to_string(),
};

impl ResourceKind {
    /// Every kind, in the order in which they are written.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Cores];

    /// The kinds that the class of a task in Redis names, in this order; the scripts read the same.
    pub const IN_CLASS: [Self; 2] = [Self::Memory, Self::Cores];

    /// Every kind, in the order in which the figures of workers show them.
    pub const OF_WORKERS: [Self; 2] = [Self::Cores, Self::Memory];

    const fn row(self) -> &'static Row {
        match self {
            Self::Memory => &MEMORY,
            Self::Cores => &CORES,
        }
    }

    /// Its name in records of our own, in its smallest unit: `mem`.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.row().key
    }

    /// Its name in texts and metrics: `memory`.
    #[must_use]
    pub fn noun(self) -> &'static str {
        self.row().noun
    }

    /// The same with a capital, for labels: `Memory`.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// The unit that people read, in the singular: `GB`, `core`.
    #[must_use]
    pub fn unit(self) -> &'static str {
        self.row().unit
    }

    /// Whether its unit is a thing that is counted, with a plural: one core, two cores.
    #[must_use]
    pub fn is_counted(self) -> bool {
        self.row().is_counted
    }

    /// The heading of a column of amounts on a terminal.
    #[must_use]
    pub fn heading(self) -> &'static str {
        self.row().heading
    }

    /// Its short name in what the pages of the dashboard read.
    #[must_use]
    pub fn stem(self) -> &'static str {
        self.row().stem
    }

    /// The JSON name of an amount (`mem_gb`) or of a part of it: `mem_used_gb` of `used`.
    #[must_use]
    pub fn json_name(self, part: Option<&str>) -> String {
        let Row { stem, suffix, .. } = self.row();
        part.map_or_else(|| format!("{stem}{suffix}"), |part| format!("{stem}_{part}{suffix}"))
    }

    /// The name of what a task asks for, in events and, in capitals, in the environment of tasks.
    #[must_use]
    pub fn asked(self) -> &'static str {
        self.row().asked
    }

    /// The name of a metric of this kind: `PREFIX_memory_used_bytes` of the part `used`.
    #[must_use]
    pub fn metric_name(self, prefix: &str, part: Option<&str>) -> String {
        let Row { noun, metric_suffix, .. } = self.row();
        part.map_or_else(
            || format!("{prefix}_{noun}{metric_suffix}"),
            |part| format!("{prefix}_{noun}_{part}{metric_suffix}"),
        )
    }

    /// An amount in the unit of its metrics.
    #[must_use]
    pub fn metric_value(self, amount: u64) -> f64 {
        amount as f64 / self.row().per_metric_unit as f64
    }

    /// How the room for new tasks is found.
    #[must_use]
    pub fn accounting(self) -> Accounting {
        self.row().accounting
    }

    /// The key of `conf.json` that says how much must be free before anything starts, where there is one.
    #[must_use]
    pub fn threshold(self) -> Option<&'static str> {
        self.row().threshold
    }

    /// An amount as text: memory with its unit, `8.00 GB`, and of what is counted the number alone.
    #[must_use]
    pub fn exact(self, amount: u64) -> String {
        (self.row().exact)(amount)
    }

    /// An amount in the unit that people read; never for a decision.
    #[must_use]
    pub fn in_units(self, amount: u64) -> f64 {
        amount as f64 / self.row().per_unit as f64
    }

    /// The shortest decimal number of units that [`Self::amount`] reads back as this amount.
    #[must_use]
    pub fn shown(self, amount: u64) -> f64 {
        let exact = self.in_units(amount);
        (0..=12)
            .map(|digits| {
                let scale = 10_f64.powi(digits);
                (exact * scale).round() / scale
            })
            .find(|short| self.amount(*short) == amount)
            .unwrap_or(exact)
    }

    /// The amount that so many units are, a fraction of the smallest unit rounded up as in task lines; 0 for what is no amount.
    #[must_use]
    pub fn amount(self, units: f64) -> u64 {
        let exact = units * self.row().per_unit as f64;
        // What the last bits of the float say beyond a whole number is no fraction. The cast saturates, and makes 0 of what is not a number.
        (exact - exact * 2.0 * f64::EPSILON).ceil() as u64
    }

    /// The amount, rounded down to what two decimals of the unit show: what is printed of it is never more than there is.
    #[must_use]
    pub fn rounded_down(self, amount: u64) -> u64 {
        let hundredths = u128::from(amount) * 100 / u128::from(self.row().per_unit);
        // The least amount that shows as these hundredths.
        u64::try_from((hundredths * u128::from(self.row().per_unit)).div_ceil(100)).unwrap_or(amount).min(amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_table_gives_the_names_of_today() {
        let names = ResourceKind::ALL.map(|kind| [None, Some("used"), Some("total")].map(|part| kind.json_name(part)));
        assert_eq!(names, [["mem_gb", "mem_used_gb", "mem_total_gb"], ["cores", "cores_used", "cores_total"]]);
        let metrics = ResourceKind::ALL.map(|kind| kind.metric_name("distcomp_node", Some("used")));
        assert_eq!(metrics, ["distcomp_node_memory_used_bytes", "distcomp_node_cores_used"]);
    }

    #[test]
    fn amounts_are_shown_with_as_few_digits_as_tell_them() {
        let shown = |text: &str| ResourceKind::Memory.shown(Bytes::parse_gib(text).expect("a number").0);
        assert_eq!([shown("8"), shown("0.3"), shown("12.34"), shown("0.0001")], [8.0, 0.3, 12.34, 0.0001]);
        assert_eq!(ResourceKind::Cores.shown(1250), 1.25);
    }

    #[test]
    fn rounding_down_shows_no_more_than_there_is() {
        assert_eq!(ResourceKind::Memory.shown(ResourceKind::Memory.rounded_down(GIB * 3 / 8)), 0.37);
        assert_eq!(ResourceKind::Cores.rounded_down(1999), 1990);
        assert_eq!(ResourceKind::Memory.rounded_down(0), 0);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same_amount(amount in 0..(1_u64 << 50)) {
            for kind in ResourceKind::ALL {
                prop_assert_eq!(kind.amount(kind.shown(amount)), amount);
                prop_assert!(kind.rounded_down(amount) <= amount);
            }
        }
    }
}
