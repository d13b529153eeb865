//! Fair share: who is counted as the owner of a task, and how much more than others an owner may use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose tasks are weighed against each other: among waiting tasks of equal priority those of the owner with the least cores in use come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FairShare {
    /// Who made the batch of a task; tasks outside batches have one owner together.
    User,
    /// The batch of a task.
    Batch,
}

impl FairShare {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Batch => "batch",
        }
    }
}

impl fmt::Display for FairShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many times the cores of others an owner may use, in thousandths; 1 where nothing is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u64);

impl Weight {
    /// That of an owner for whom nothing is set.
    pub const ONE: Self = Self(1000);

    /// As a number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

/// What a weight must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("valid: a number above 0, at most 1000, 3 digits after the point at most")]
pub struct NoWeight;

impl FromStr for Weight {
    type Err = NoWeight;

    fn from_str(text: &str) -> Result<Self, NoWeight> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 3 || whole.len() > 4 {
            return Err(NoWeight);
        }
        let whole: u64 = whole.parse().map_err(|_| NoWeight)?;
        let part: u64 = format!("{part:0<3}").parse().map_err(|_| NoWeight)?;
        let weight = whole * 1000 + part;
        if (1..=1_000_000).contains(&weight) { Ok(Self(weight)) } else { Err(NoWeight) }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_weight_is_read_as_it_is_written(thousandths in 1..=1_000_000_u64) {
            let weight = Weight(thousandths);
            prop_assert_eq!(weight.to_string().parse(), Ok(weight));
        }
    }

    #[test]
    fn what_is_no_weight_is_refused() {
        for text in ["", "0", "0.0", "-1", "1.", ".5", "1.2345", "1000.001", "99999", "1e3", "x", "+1", " 1"] {
            assert_eq!(text.parse::<Weight>(), Err(NoWeight), "{text}");
        }
        assert_eq!("0.5".parse::<Weight>().map(Weight::as_f64), Ok(0.5));
    }
}
