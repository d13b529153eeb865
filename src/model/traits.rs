//! What a node has beside memory and cores, as far as it decides which tasks its worker may take: named resources, labels, and time to live.

use std::fmt;
use std::str::FromStr;

use super::labels::{Constraint, Label, Labels};
use super::needs::{Amount, Needs};
use super::stock::Stocks;

/// What a worker has all the time it runs. Shown as the scripts read it, `RESOURCES:LABELS:END`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// All of its named resources, whether in use or not.
    pub stocks: Stocks,
    /// Its labels.
    pub labels: Labels,
    /// When it ends by itself, seconds since the epoch; `None` when it does not.
    pub ends_at: Option<u64>,
}

/// Why a worker can never take a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsuited {
    /// It has less of a resource, or none.
    Resource(Amount),
    /// Its labels are others.
    Label(Constraint),
    /// It ends sooner. The seconds that the task asks for.
    Lifetime(u64),
}

impl Traits {
    /// Whether a worker with these could take what needs so much, at this second since the epoch, if nothing else of ours ran there.
    ///
    /// # Errors
    /// The first thing that it lacks.
    pub fn suits(&self, needs: &Needs, now: u64) -> Result<(), Unsuited> {
        self.lacking(needs, now).into_iter().next().map_or(Ok(()), Err)
    }

    /// Everything that it lacks.
    #[must_use]
    pub fn lacking(&self, needs: &Needs, now: u64) -> Vec<Unsuited> {
        let has = |amount: &&Amount| self.stocks.holds(std::slice::from_ref(*amount));
        let resources = needs.resources().iter().filter(|amount| !has(amount)).cloned().map(Unsuited::Resource);
        let labels = needs.constraint().iter().filter(|one| !one.holds(&self.labels)).cloned().map(Unsuited::Label);
        let late = |seconds: &u64| self.ends_at.is_some_and(|end| now.saturating_add(*seconds) > end);
        let lifetime = needs.lifetime().filter(late).map(Unsuited::Lifetime);
        resources.chain(labels).chain(lifetime).collect()
    }
}

impl fmt::Display for Traits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<&str> = self.labels.iter().map(Label::as_str).collect();
        write!(f, "{}:{}:", self.stocks, labels.join(","))?;
        self.ends_at.map_or(Ok(()), |end| write!(f, "{end}"))
    }
}

impl FromStr for Traits {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or(());
        let stocks = part()?.parse()?;
        let labels = part()?.split(',').filter(|label| !label.is_empty()).map(|label| Label::parse(label).ok_or(()));
        let labels = labels.collect::<Result<Labels, ()>>()?;
        let end = part()?;
        let ends_at = if end.is_empty() { None } else { Some(end.parse().map_err(|_| ())?) };
        if parts.next().is_some() { Err(()) } else { Ok(Self { stocks, labels, ends_at }) }
    }
}

/// As it is shown; what cannot be read is nothing.
pub mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(text: &str) -> Traits {
        text.parse().expect(text)
    }

    #[test]
    fn traits_that_were_written_read_back() {
        for text in ["::", "gpus@1000/1000,lic=3000:host=n1,ssd:1700000000", ":ssd:", "lic=0::"] {
            assert_eq!(traits(text).to_string(), text);
        }
        for text in ["", "::x", ":::", "gpus:a:", ":a b:"] {
            assert!(text.parse::<Traits>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn worker_suits_what_it_has_everything_for() {
        let worker = traits("gpus@1000/1000,lic=3000:host=n1,ssd:1000");
        let lacks = |needs: &str| worker.suits(&Needs::parse(needs).expect(needs), 900).err();
        for needs in ["gpus=2", "gpus=0.5,lic=3", "constraint=ssd,constraint=!spot", "time=100", "prefer=nvme"] {
            assert_eq!(lacks(needs), None, "{needs}");
        }
        assert!(matches!(lacks("gpus=3"), Some(Unsuited::Resource(amount)) if amount.milli == 3000));
        assert!(matches!(lacks("fpga=1"), Some(Unsuited::Resource(_))));
        assert!(
            matches!(lacks("constraint=ssd,constraint=nvme"), Some(Unsuited::Label(one)) if one.to_string() == "nvme")
        );
        assert_eq!(lacks("time=101"), Some(Unsuited::Lifetime(101)));
    }
}
