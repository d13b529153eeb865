//! What a task asks for (`Demand`), what a node offers (`Offer`), how much of that is unreserved (`Room`), and whether one fits into the other.
//!
//! Here alone is the text in which the queue's index and its scripts write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::amounts::Amounts;
use super::resource::ResourceKind;
use super::units::{Bytes, MilliCores};

/// What a task asks for. Shown as the index names its class, `MEM:CPU:`, in bytes and thousandths of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Demand {
    /// How much of each kind.
    pub amounts: Amounts,
}

impl Demand {
    /// A demand for no memory and no cores.
    pub const NONE: Self = Self { amounts: Amounts::NONE };

    /// The same but for one kind.
    #[must_use]
    pub const fn with(self, kind: ResourceKind, amount: u64) -> Self {
        Self { amounts: self.amounts.with(kind, amount) }
    }

    /// The same with this much memory.
    #[must_use]
    pub const fn with_mem(self, mem: Bytes) -> Self {
        Self { amounts: self.amounts.with_mem(mem) }
    }

    /// The same with this many cores.
    #[must_use]
    pub const fn with_cpu(self, cpu: MilliCores) -> Self {
        Self { amounts: self.amounts.with_cpu(cpu) }
    }

    /// DRAM; zero when it declares none.
    #[must_use]
    pub const fn mem(&self) -> Bytes {
        self.amounts.mem()
    }

    /// Cores; zero when it declares none.
    #[must_use]
    pub const fn cpu(&self) -> MilliCores {
        self.amounts.cpu()
    }

    /// How much more it is than another, of each kind for itself; zero where it is not more.
    #[must_use]
    pub fn excess_over(&self, other: &Self) -> Self {
        Self { amounts: self.amounts.minus(&other.amounts) }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self { amounts: self.amounts.plus(&other.amounts) }
    }

    /// The larger of each kind.
    #[must_use]
    pub fn most(&self, other: &Self) -> Self {
        Self { amounts: self.amounts.max(&other.amounts) }
    }

    /// Reads the name of a class: the demand, and what the index has beside it, the workers that the class is kept from. `None` for what names none.
    #[must_use]
    pub fn of_class(class: &str) -> Option<(Self, &str)> {
        let mut rest = class;
        let mut demand = Self::NONE;
        for kind in ResourceKind::IN_CLASS {
            let (amount, after) = rest.split_once(':')?;
            demand = demand.with(kind, digits(amount)?);
            rest = after;
        }
        Some((demand, rest))
    }
}

/// Digits only: `u64` would read a sign too.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ResourceKind::IN_CLASS.into_iter().try_for_each(|kind| write!(f, "{}:", self.amounts.get(kind)))
    }
}

/// As [`Amounts`].
impl Serialize for Demand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.amounts.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Demand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { amounts: Amounts::deserialize(deserializer)? })
    }
}

/// The form of a class among the outcomes that a worker keeps on disk until it has reported them: `{"mem":BYTES,"cpu":MILLICORES}`, and `"needs"` as the
/// index writes them where there are any.
pub mod on_disk {
    use super::super::{Class, Needs};
    use super::{Amounts, Demand, ResourceKind};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    #[derive(Serialize, Deserialize)]
    struct Record {
        #[serde(flatten)]
        amounts: BTreeMap<String, u64>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        needs: String,
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(class: &Option<Class>, serializer: S) -> Result<S::Ok, S::Error> {
        let record = |class: &Class| Record {
            amounts: (ResourceKind::ALL.into_iter())
                .map(|kind| (kind.key().to_owned(), class.demand.amounts.get(kind)))
                .collect(),
            needs: class.needs.to_string(),
        };
        class.as_ref().map(record).serialize(serializer)
    }

    /// For `#[serde(with)]`. A kind that is not there is not asked for.
    ///
    /// # Errors
    /// Those of the deserializer, and needs that are none.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Class>, D::Error> {
        let Some(Record { amounts, needs }) = Option::<Record>::deserialize(deserializer)? else { return Ok(None) };
        let demand = Demand { amounts: Amounts::of(|kind| amounts.get(kind.key()).copied().unwrap_or(0)) };
        Ok(Some(Class { demand, needs: Needs::of_class(&needs).map_err(D::Error::custom)? }))
    }
}

/// What a node could give to one task if nothing else of ours ran there. Shown as scripts read it, `MEM:CPU`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// How much of each kind.
    pub amounts: Amounts,
}

impl Offer {
    /// Whether a demand fits.
    #[must_use]
    pub fn holds(&self, demand: &Demand) -> bool {
        self.amounts.holds(&demand.amounts)
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, kind) in ResourceKind::IN_CLASS.into_iter().enumerate() {
            write!(f, "{}{}", if at > 0 { ":" } else { "" }, self.amounts.get(kind))?;
        }
        Ok(())
    }
}

/// A text that names no offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an offer; valid: MEM:CPU, an amount of each resource")]
pub struct OfferError;

impl FromStr for Offer {
    type Err = OfferError;
    fn from_str(text: &str) -> Result<Self, OfferError> {
        // The name of a class has one colon more.
        match Demand::of_class(&format!("{text}:")) {
            Some((Demand { amounts }, "")) => Ok(Self { amounts }),
            Some(_) | None => Err(OfferError),
        }
    }
}

/// What a node has left for new tasks now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Free slots.
    pub slots: u32,
    /// What new tasks may declare together.
    pub amounts: Amounts,
}

impl Room {
    /// Whether a demand fits.
    #[must_use]
    pub fn holds(&self, demand: &Demand) -> bool {
        self.slots > 0 && self.amounts.holds(&demand.amounts)
    }

    /// Whether a demand fits, and what it lacks.
    #[must_use]
    pub fn fit(&self, demand: &Demand) -> Fit {
        let short = |kind| {
            let (wanted, left) = (demand.amounts.get(kind), self.amounts.get(kind));
            (wanted > left).then_some(Shortage { kind, wanted, left })
        };
        let shortages: Vec<Shortage> = ResourceKind::ALL.into_iter().filter_map(short).collect();
        if shortages.is_empty() { Fit::Now } else { Fit::Short(shortages) }
    }
}

/// Whether a demand fits into the room there is, a slot aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Now,
    /// It does not, for these: at least one.
    Short(Vec<Shortage>),
}

/// A kind of which more is asked than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The kind.
    pub kind: ResourceKind,
    /// How much is asked for.
    pub wanted: u64,
    /// How much there is.
    pub left: u64,
}

#[cfg(test)]
mod tests {
    use super::super::{Class, Needs};
    use super::*;
    use proptest::prelude::*;

    fn any_amounts() -> impl Strategy<Value = Amounts> {
        proptest::array::uniform2(any::<u64>()).prop_map(|amounts| {
            ResourceKind::IN_CLASS.into_iter().zip(amounts).fold(Amounts::NONE, |all, (kind, one)| all.with(kind, one))
        })
    }

    #[test]
    fn a_class_is_written_as_the_scripts_read_it() {
        let demand = Demand::NONE.with_mem(Bytes(1 << 30)).with_cpu(MilliCores(500));
        assert_eq!(demand.to_string(), "1073741824:500:");
        assert_eq!(Offer { amounts: demand.amounts }.to_string(), "1073741824:500");
        assert_eq!(Demand::of_class("1073741824:500:w1,w2,"), Some((demand, "w1,w2,")));
    }

    #[test]
    fn what_names_no_class_is_refused() {
        for class in ["", ":", "1", "1:", "1:2", "a:2:", "1:b:", "-1:2:", "+1:2:", "1:99999999999999999999:"] {
            assert_eq!(Demand::of_class(class), None, "{class:?}");
        }
        for offer in ["", "1", "1:2:", "1:2:3", "1:x"] {
            assert_eq!(offer.parse::<Offer>(), Err(OfferError), "{offer:?}");
        }
    }

    #[test]
    fn a_demand_on_disk_is_as_earlier_versions_wrote_it() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Record(#[serde(with = "on_disk")] Option<Class>);
        let class = |needs: &str| Class {
            demand: Demand::NONE.with_mem(Bytes(7)).with_cpu(MilliCores(500)),
            needs: Needs::of_class(needs).expect("needs"),
        };
        let some = Record(Some(class("")));
        assert_eq!(serde_json::from_str::<Record>(r#"{"mem":7,"cpu":500}"#).expect("a demand"), some);
        for record in [some, Record(Some(class("constraint=a;b,gpus=500,time=60"))), Record(None)] {
            let json = serde_json::to_string(&record).expect("JSON");
            assert_eq!(serde_json::from_str::<Record>(&json).expect("a demand"), record);
        }
    }

    #[test]
    fn a_shortage_names_each_kind_that_lacks() {
        let room = Room { slots: 1, amounts: Amounts::NONE.with_mem(Bytes(4)).with_cpu(MilliCores(2000)) };
        let demand = Demand::NONE.with_mem(Bytes(5)).with_cpu(MilliCores(2000));
        let lack = Shortage { kind: ResourceKind::Memory, wanted: 5, left: 4 };
        assert_eq!(room.fit(&demand), Fit::Short(vec![lack]));
        assert_eq!(room.fit(&demand.with_mem(Bytes(4))), Fit::Now);
        assert!(room.holds(&demand.with_mem(Bytes(4))) && !Room { slots: 0, ..room }.holds(&Demand::NONE));
    }

    proptest! {
        #[test]
        fn a_class_that_was_written_reads_back(amounts in any_amounts(), workers in "([a-z0-9._-]{1,8},){0,3}") {
            let demand = Demand { amounts };
            let class = format!("{demand}{workers}");
            prop_assert_eq!(Demand::of_class(&class), Some((demand, workers.as_str())));
            let offer = Offer { amounts };
            prop_assert_eq!(offer.to_string().parse::<Offer>(), Ok(offer));
        }

        #[test]
        fn a_class_that_reads_is_written_the_same(class in "(0|[1-9][0-9]{0,18}|[a+-][0-9]?):(0|[1-9][0-9]{0,18}|x)(:[a-z,]{0,6})?") {
            if let Some((demand, workers)) = Demand::of_class(&class) {
                prop_assert_eq!(format!("{demand}{workers}"), class);
            }
        }

        #[test]
        fn a_demand_fits_exactly_where_nothing_is_short(room in any_amounts(), demand in any_amounts()) {
            let (room, demand) = (Room { slots: 1, amounts: room }, Demand { amounts: demand });
            prop_assert_eq!(room.holds(&demand), room.fit(&demand) == Fit::Now);
            prop_assert_eq!(room.holds(&demand), demand.excess_over(&Demand { amounts: room.amounts }) == Demand::NONE);
        }
    }
}
