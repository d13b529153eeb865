//! Limits across the fleet: how many tasks that count against a name run at once, in all and on one node.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The name of a limit: `disk`, `licence/matlab`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitName(Arc<str>);

/// Not a name of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("valid: {}", LimitName::VALID)]
pub struct NoLimitName;

impl LimitName {
    /// What a name must be.
    pub const VALID: &str = "a name like disk: a lower-case letter, then at most 31 of a-z 0-9 _ . / -";

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LimitName {
    type Err = NoLimitName;

    fn from_str(text: &str) -> Result<Self, NoLimitName> {
        if is_key(text) { Ok(Self(text.into())) } else { Err(NoLimitName) }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for LimitName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Whether a text has the form of the key of a need, which names of limits have too.
pub(super) fn is_key(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_./-".contains(&b))
}

/// How many of the tasks of one limit may run at once. Shown as `20`, or `20/2` with a number for each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In all; 0 stops them.
    pub max: u32,
    /// On one node; `None` for as many as in all.
    pub per_node: Option<u32>,
}

/// Not a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("valid: a number, or N/PER_NODE")]
pub struct NoLimit;

impl FromStr for Limit {
    type Err = NoLimit;

    fn from_str(text: &str) -> Result<Self, NoLimit> {
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| is_number).ok_or(NoLimit)
        };
        match text.split_once('/') {
            None => Ok(Self { max: number(text)?, per_node: None }),
            Some((max, per_node)) => Ok(Self { max: number(max)?, per_node: Some(number(per_node)?) }),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.max)?;
        self.per_node.map_or(Ok(()), |most| write!(f, "/{most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_were_written_read_back() {
        for text in ["0", "20", "20/2", "4294967295/0"] {
            assert_eq!(text.parse::<Limit>().map(|limit| limit.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "-1", "+1", "1/", "/1", "1/2/3", "a", "4294967296", "1.5", "none"] {
            assert_eq!(text.parse::<Limit>(), Err(NoLimit), "{text:?}");
        }
    }

    #[test]
    fn names_of_limits_are_like_keys_of_needs() {
        for name in ["disk", "a", "licence/matlab-2.1_x"] {
            assert_eq!(name.parse::<LimitName>().map(|name| name.to_string()).as_deref(), Ok(name));
        }
        for name in ["", "Disk", "1a", "a b", "a:b", &"a".repeat(33)] {
            assert_eq!(name.parse::<LimitName>(), Err(NoLimitName), "{name:?}");
        }
    }
}
