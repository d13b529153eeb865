//! Named resources of a node, whole or what is free of them, and the text in which the scripts read them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::needs::{Amount, ResourceName};

/// How much there is of one resource, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stock {
    /// Devices, in the order of their indices: a task has whole ones, or a part of one.
    Devices(Vec<u64>),
    /// An amount of which tasks have parts.
    Sum(u64),
}

impl Stock {
    /// All of it, in thousandths.
    #[must_use]
    pub fn total(&self) -> u64 {
        match self {
            Self::Devices(left) => left.iter().sum(),
            Self::Sum(left) => *left,
        }
    }

    /// Whether so much can be taken: whole devices only from those that nobody shares, a part from one that has as much left.
    #[must_use]
    pub fn holds(&self, milli: u64) -> bool {
        match self {
            Self::Sum(left) => milli <= *left,
            Self::Devices(left) if milli < 1000 => left.iter().any(|left| *left >= milli),
            Self::Devices(left) => {
                let whole = left.iter().filter(|left| **left == 1000).count() as u64;
                milli.is_multiple_of(1000) && milli / 1000 <= whole
            }
        }
    }
}

/// The named resources of a node by name. Shown as the scripts read them: `gpus@1000/500,lic=3000`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stocks(pub BTreeMap<ResourceName, Stock>);

impl Stocks {
    /// Whether all of these amounts can be taken.
    #[must_use]
    pub fn holds(&self, wanted: &[Amount]) -> bool {
        self.lacking(wanted).is_none()
    }

    /// The first of these amounts that cannot be taken.
    #[must_use]
    pub fn lacking<'a>(&self, wanted: &'a [Amount]) -> Option<&'a Amount> {
        wanted.iter().find(|one| !self.0.get(&one.name).is_some_and(|stock| stock.holds(one.milli)))
    }
}

impl fmt::Display for Stocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, stock)) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            match stock {
                Stock::Sum(left) => write!(f, "{name}={left}")?,
                Stock::Devices(left) => {
                    let left: Vec<String> = left.iter().map(u64::to_string).collect();
                    write!(f, "{name}@{}", left.join("/"))?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for Stocks {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let entry = |text: &str| {
            let at = text.find(['=', '@'])?;
            let name = ResourceName::parse(&text[..at])?;
            let value = &text[at + 1..];
            let stock = if text.as_bytes()[at] == b'=' {
                Stock::Sum(value.parse().ok()?)
            } else {
                Stock::Devices(value.split('/').map(|left| left.parse().ok()).collect::<Option<_>>()?)
            };
            Some((name, stock))
        };
        text.split(',').filter(|part| !part.is_empty()).map(entry).collect::<Option<_>>().map(Self).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_stocks() -> impl Strategy<Value = Stocks> {
        let stock = prop_oneof![
            (0..10_000_u64).prop_map(Stock::Sum),
            proptest::collection::vec(0..=1000_u64, 1..5).prop_map(Stock::Devices),
        ];
        proptest::collection::btree_map("[b-d][a-z_./-]{0,8}", stock, 0..4).prop_map(|by_name| {
            let named = by_name.into_iter().filter_map(|(name, stock)| Some((ResourceName::parse(&name)?, stock)));
            Stocks(named.collect())
        })
    }

    #[test]
    fn whole_devices_are_not_shared() {
        let gpus = Stock::Devices(vec![1000, 500, 1000]);
        for (milli, wanted) in [(500, true), (600, true), (1000, true), (2000, true), (3000, false), (1500, false)] {
            assert_eq!(gpus.holds(milli), wanted, "{milli}");
        }
        assert!(!Stock::Devices(vec![500, 500]).holds(1000));
        assert!(Stock::Sum(1500).holds(1500) && !Stock::Sum(1500).holds(1501));
    }

    proptest! {
        #[test]
        fn stocks_that_were_written_read_back(stocks in any_stocks()) {
            prop_assert_eq!(stocks.to_string().parse(), Ok(stocks));
        }
    }
}
