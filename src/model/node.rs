//! The memory and cores of a node at one moment, and the text in which every worker reports them, Python's too.

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::amounts::{self, Amounts};
use super::demand::{Demand, Offer};
use super::resource::ResourceKind;

/// The node at one moment, limits of its cgroups included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSample {
    /// All that the node has.
    pub total: Amounts,
    /// What new work could use now, as measured.
    pub free: Amounts,
}

impl NodeSample {
    /// The same as a part in use.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage { used: self.total.minus(&self.free), total: self.total }
    }
}

/// How much of a node is in use, and how much it has. As JSON: `{"cores_used":0.5,"cores_total":8.0,"mem_used_gb":…}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In use, whoever uses it.
    pub used: Amounts,
    /// All that the node has.
    pub total: Amounts,
}

/// The kinds of which `worker_status` tells, in its order, which is that of Python DistComp.
const IN_STATUS: [ResourceKind; 2] = [ResourceKind::Cores, ResourceKind::Memory];

/// More than this of anything, in people's units, is nonsense that somebody wrote there.
const MOST: f64 = 1e6;

impl Usage {
    /// The figures of a `worker_status`, `USEDCORES:TOTALCORES:USEDGB:TOTALGB`.
    #[must_use]
    pub fn status(&self) -> String {
        let figures = IN_STATUS.map(|kind| {
            let [used, total] = [self.used, self.total].map(|amounts| kind.in_units(amounts.get(kind)));
            format!("{used:.2}:{total:.2}")
        });
        figures.join(":")
    }

    /// Reads such figures; one that is missing, no number, or more than any node has is 0.
    #[must_use]
    pub fn of_status(figures: &str) -> Self {
        let figures: Vec<&str> = figures.split(':').collect();
        let mut usage = Self::default();
        for (at, kind) in IN_STATUS.into_iter().enumerate() {
            let amount = |at: usize| {
                let number = figures.get(at).and_then(|figure| figure.parse::<f64>().ok());
                kind.amount(number.filter(|number| (0.0..=MOST).contains(number)).unwrap_or(0.0))
            };
            usage.used = usage.used.with(kind, amount(2 * at));
            usage.total = usage.total.with(kind, amount(2 * at + 1));
        }
        usage
    }

    /// Whether the whole node is large enough for a demand. The totals are written with two decimals; what differs by less than that is not told apart.
    #[must_use]
    pub fn could_hold(&self, demand: &Demand) -> bool {
        let blurred = Amounts::of(|kind| self.total.get(kind).saturating_add(kind.amount(0.01)));
        Offer { amounts: blurred }.holds(demand)
    }
}

const USED: Option<&str> = Some("used");
const TOTAL: Option<&str> = Some("total");

impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2 * ResourceKind::ALL.len()))?;
        for kind in ResourceKind::OF_WORKERS {
            map.serialize_entry(&kind.json_name(USED), &kind.shown(self.used.get(kind)))?;
            map.serialize_entry(&kind.json_name(TOTAL), &kind.shown(self.total.get(kind)))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [used, total] = amounts::deserialize([USED, TOTAL], deserializer)?;
        Ok(Self { used, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bytes, MilliCores};

    const SOME: Amounts = Amounts::NONE.with_mem(Bytes(3 << 29)).with_cpu(MilliCores(250));

    #[test]
    fn usage_is_flat_in_what_holds_it() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Holder {
            name: String,
            #[serde(flatten)]
            usage: Usage,
            done: u64,
        }
        let usage = Usage { used: SOME, total: SOME.plus(&SOME) };
        let holder = Holder { name: "n".to_owned(), usage, done: 1 };
        let json = serde_json::to_string(&holder).expect("JSON");
        assert_eq!(
            json,
            r#"{"name":"n","cores_used":0.25,"cores_total":0.5,"mem_used_gb":1.5,"mem_total_gb":3.0,"done":1}"#
        );
        assert_eq!(serde_json::from_str::<Holder>(&json).expect("a holder"), holder);
    }

    #[test]
    fn a_status_reads_back_and_what_is_no_figure_is_none() {
        let usage = Usage { used: SOME, total: SOME.plus(&SOME) };
        assert_eq!(usage.status(), "0.25:0.50:1.50:3.00");
        assert_eq!(Usage::of_status(&usage.status()), usage);
        for odd in ["", ":::", "NaN:inf:-1:x", "-0:-5"] {
            assert_eq!(Usage::of_status(odd), Usage::default(), "{odd:?}");
        }
        assert_eq!(Usage::of_status("1").used, Amounts::NONE.with_cpu(MilliCores(1000)));
    }

    #[test]
    fn a_node_holds_what_its_two_decimals_do_not_tell_from_its_size() {
        let node = Usage { used: Amounts::NONE, total: SOME };
        let demand = Demand { amounts: SOME };
        assert!(node.could_hold(&demand) && node.could_hold(&demand.with_cpu(MilliCores(260))));
        assert!(
            !node.could_hold(&demand.with_cpu(MilliCores(261))) && !node.could_hold(&demand.with_mem(Bytes(2 << 30)))
        );
    }
}
