//! The id of a task and the name of a worker.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The short name of a task: the first 64 bits of the SHA-256 of its line, printed as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(u64);

impl TaskId {
    /// The id of a task line.
    #[must_use]
    pub fn of(line: &str) -> Self {
        Self::of_bytes(line.as_bytes())
    }

    /// The id of a line that may not be UTF-8.
    #[must_use]
    pub fn of_bytes(line: &[u8]) -> Self {
        let digest = Sha256::digest(line);
        let mut head = [0; 8];
        head.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(head))
    }

    /// The id that `text` is: 16 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_whole = text.len() == 16 && Self::is_prefix_like(text);
        is_whole.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }

    /// Whether `text` could be an id or the beginning of one: 4 to 16 lower-case hex digits.
    #[must_use]
    pub fn is_prefix_like(text: &str) -> bool {
        (4..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name of a worker: `[A-Za-z0-9._-]{1,64}`, since `,` and `:` would break the wire format.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerName(Arc<str>);

/// A worker name outside `[A-Za-z0-9._-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker name {0:?} is not 1 to 64 letters, digits, dots, underscores or hyphens")]
pub struct WorkerNameError(pub String);

impl WorkerName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerName {
    type Err = WorkerNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) {
            Ok(Self(text.into()))
        } else {
            Err(WorkerNameError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for WorkerName {
    type Error = WorkerNameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WorkerName> for String {
    fn from(name: WorkerName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_head_of_the_sha256() {
        // printf 'shell:1:1:1:true' | sha256sum
        assert_eq!(TaskId::of("").to_string(), "e3b0c44298fc1c14");
    }

    #[test]
    fn names_that_break_the_wire_format_are_refused() {
        for name in ["", "a,b", "a:b", "a b", "ü", &"x".repeat(65)] {
            assert!(name.parse::<WorkerName>().is_err(), "{name:?}");
        }
        assert!("Node-1.rack_2".parse::<WorkerName>().is_ok());
    }
}
