//! Classes and lanes: how the index names what tasks ask for, and where they wait.

use std::fmt;

use super::{Demand, Needs};

/// A whole demand as the index names it: all that decides where and when a task may run, the line itself aside. Shown as `MEM:CPU:NEEDS:`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Class {
    /// Memory and cores.
    pub demand: Demand,
    /// All else.
    pub needs: Needs,
}

/// What the name of a lane says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane<'a> {
    /// Memory and cores.
    pub demand: Demand,
    /// The needs as the index writes them.
    pub needs: &'a str,
    /// The batch of its tasks; empty for none.
    pub batch: &'a str,
    /// The workers that it is kept from.
    pub failed_on: &'a str,
}

impl Class {
    /// Reads the name of a lane of the index. `None` for what names none.
    #[must_use]
    pub fn of_lane(lane: &str) -> Option<Lane<'_>> {
        let (demand, rest) = Demand::of_class(lane)?;
        let (needs, rest) = rest.split_once(':')?;
        let (batch, failed_on) = rest.split_once(':')?;
        Some(Lane { demand, needs, batch, failed_on })
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:", self.demand, self.needs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_name_of_needs_fits_a_class(text in "([a-z]{1,6}=[a-z0-9.|!=-]{1,8}){1}(,(gpus|constraint|prefer|time|lic|limit|after|begin|learn)=[a-z0-9.|!=-]{1,8}){0,4}") {
            if let Ok(needs) = Needs::parse(&text) {
                let class = Class { demand: Demand::NONE, needs: needs.clone() };
                let lane = format!("{class}s1:w1,");
                prop_assert!(!lane.contains('|'));
                let (demand, needs) = (Demand::NONE, needs.as_str());
                prop_assert_eq!(Class::of_lane(&lane), Some(Lane { demand, needs, batch: "s1", failed_on: "w1," }));
                prop_assert_eq!(Needs::of_class(needs).map(|read| read.as_str().to_owned()), Ok(needs.to_owned()));
            }
        }
    }
}
