//! An amount of each kind of resource, such as 8 GiB and 2 cores.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::resource::ResourceKind;
use super::units::{Bytes, MilliCores};

const KINDS: usize = ResourceKind::ALL.len();

/// An amount of each kind, in the kind's smallest unit. As JSON: a number of people's units under the name of each kind, `{"mem_gb":8.0,"cores":2.0}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amounts([u64; KINDS]);

impl Amounts {
    /// Nothing of any kind.
    pub const NONE: Self = Self([0; KINDS]);

    /// The same but for one kind.
    #[must_use]
    pub const fn with(mut self, kind: ResourceKind, amount: u64) -> Self {
        self.0[kind as usize] = amount;
        self
    }

    /// The same but for memory.
    #[must_use]
    pub const fn with_mem(self, mem: Bytes) -> Self {
        self.with(ResourceKind::Memory, mem.0)
    }

    /// The same but for cores.
    #[must_use]
    pub const fn with_cpu(self, cpu: MilliCores) -> Self {
        self.with(ResourceKind::Cores, cpu.0)
    }

    /// An amount of each kind as a function of it.
    #[must_use]
    pub fn of(amount: impl Fn(ResourceKind) -> u64) -> Self {
        Self(ResourceKind::ALL.map(amount))
    }

    /// How much of this kind.
    #[must_use]
    pub const fn get(&self, kind: ResourceKind) -> u64 {
        self.0[kind as usize]
    }

    /// How much memory.
    #[must_use]
    pub const fn mem(&self) -> Bytes {
        Bytes(self.get(ResourceKind::Memory))
    }

    /// How many cores.
    #[must_use]
    pub const fn cpu(&self) -> MilliCores {
        MilliCores(self.get(ResourceKind::Cores))
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self::of(|kind| self.get(kind).saturating_add(other.get(kind)))
    }

    /// What of it goes beyond the other, of each kind for itself.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self::of(|kind| self.get(kind).saturating_sub(other.get(kind)))
    }

    /// The larger amount of each kind.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self::of(|kind| self.get(kind).max(other.get(kind)))
    }

    /// The smaller amount of each kind.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        Self::of(|kind| self.get(kind).min(other.get(kind)))
    }

    /// Whether it is at least as much as the other of every kind.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        ResourceKind::ALL.into_iter().all(|kind| other.get(kind) <= self.get(kind))
    }
}

impl Serialize for Amounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(KINDS))?;
        for kind in ResourceKind::ALL {
            map.serialize_entry(&kind.json_name(None), &kind.shown(self.get(kind)))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Amounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [amounts] = deserialize([None], deserializer)?;
        Ok(amounts)
    }
}

/// Reads the amounts of some parts; what is not there is 0, and other names are passed over.
pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
    parts: [Option<&'static str>; N],
    deserializer: D,
) -> Result<[Amounts; N], D::Error> {
    struct Named<const N: usize>([Option<&'static str>; N]);
    impl<'de, const N: usize> Visitor<'de> for Named<N> {
        type Value = [Amounts; N];
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object with an amount of each resource")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut read = [Amounts::NONE; N];
            while let Some(name) = map.next_key::<String>()? {
                let known = ResourceKind::ALL.into_iter().find_map(|kind| {
                    let part = self.0.iter().position(|part| kind.json_name(*part) == name)?;
                    Some((kind, part))
                });
                match known {
                    Some((kind, part)) => read[part] = read[part].with(kind, kind.amount(map.next_value()?)),
                    None => {
                        map.next_value::<serde::de::IgnoredAny>()?;
                    }
                }
            }
            Ok(read)
        }
    }
    deserializer.deserialize_map(Named(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Amounts = Amounts::NONE.with_mem(Bytes(3 << 29)).with_cpu(MilliCores(250));

    #[test]
    fn json_has_one_number_a_kind_under_the_names_of_today() {
        let json = serde_json::to_string(&SOME).expect("JSON");
        assert_eq!(json, r#"{"mem_gb":1.5,"cores":0.25}"#);
        assert_eq!(serde_json::from_str::<Amounts>(&json).expect("amounts"), SOME);
        assert_eq!(serde_json::from_str::<Amounts>(r#"{"other":[1]}"#).expect("amounts"), Amounts::NONE);
    }

    #[test]
    fn one_holds_another_only_in_every_kind() {
        let more = SOME.with_cpu(MilliCores(9000));
        assert!(more.holds(&SOME) && SOME.holds(&SOME) && !SOME.holds(&more));
        assert!(!more.holds(&SOME.with_mem(Bytes(2 << 30))), "cores do not stand for memory");
        assert_eq!(more.minus(&SOME), Amounts::NONE.with_cpu(MilliCores(8750)));
        assert_eq!(more.max(&SOME.with_mem(Bytes(9))), more);
    }
}
