//! Names of batches and of their steps, and how a batch stands.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The most levels of a name: `s1/prep/w01` has three.
pub const MAX_LEVELS: usize = 4;

/// The most bytes of a part of a name.
const MAX_PART: usize = 64;

/// The name of a batch (`s1`) or of a step of it (`s1/prep`): at most [`MAX_LEVELS`] parts of `A-Z a-z 0-9 . _ -`, 64 bytes each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchName(Arc<str>);

/// What a name of a batch must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.valid())]
pub enum NoBatchName {
    /// It has other characters, or an empty part.
    Form,
    /// It, or a part of it, is too long.
    Length,
}

impl NoBatchName {
    /// What would be right.
    #[must_use]
    pub const fn valid(self) -> &'static str {
        match self {
            Self::Form => "a name like s1 or s1/prep of A-Z a-z 0-9 . _ -",
            Self::Length => "at most 4 parts of at most 64 characters each, like s1/prep",
        }
    }
}

impl BatchName {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The batch that it names, or whose step it names.
    #[must_use]
    pub fn top(&self) -> Self {
        self.ancestors().next().unwrap_or_else(|| self.clone())
    }

    /// Whether it names a batch and no step.
    #[must_use]
    pub fn is_top(&self) -> bool {
        !self.0.contains('/')
    }

    /// Every level of it, the batch first and itself last: `s1`, `s1/prep`.
    pub fn levels(&self) -> impl Iterator<Item = Self> {
        self.ancestors().chain([self.clone()])
    }

    /// Every level above it, the batch first.
    fn ancestors(&self) -> impl Iterator<Item = Self> {
        self.0.match_indices('/').map(|(at, _)| Self(self.0[..at].into()))
    }

    /// Whether it is `other`, or one of its steps.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.strip_prefix(other.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// A step of it.
    ///
    /// # Errors
    /// When the step is no name, or there are too many levels.
    pub fn step(&self, step: &str) -> Result<Self, NoBatchName> {
        format!("{self}/{step}").parse()
    }
}

impl FromStr for BatchName {
    type Err = NoBatchName;

    fn from_str(text: &str) -> Result<Self, NoBatchName> {
        let is_part =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !text.split('/').all(is_part) {
            return Err(NoBatchName::Form);
        }
        if text.split('/').count() > MAX_LEVELS || text.split('/').any(|part| part.len() > MAX_PART) {
            return Err(NoBatchName::Length);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for BatchName {
    type Error = NoBatchName;

    fn try_from(text: String) -> Result<Self, NoBatchName> {
        text.parse()
    }
}

impl From<BatchName> for String {
    fn from(name: BatchName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for BatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a task belongs to: a batch or a step of one, and words to select it by. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Belonging {
    name: BatchName,
    /// `NAME`, or `NAME TAG,TAG`.
    text: Arc<str>,
}

impl Belonging {
    /// With these tags, see [`is_tag`].
    #[must_use]
    pub fn new(name: BatchName, tags: &[String]) -> Self {
        let text = if tags.is_empty() { name.to_string() } else { format!("{name} {}", tags.join(",")) };
        Self { name, text: text.into() }
    }

    /// The batch or step.
    #[must_use]
    pub fn name(&self) -> &BatchName {
        &self.name
    }

    /// As the scripts take it: the name, and after a blank the tags with commas between.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether a word can be a tag: 1 to 64 of `A-Z a-z 0-9 . _ - = / @ +`.
#[must_use]
pub fn is_tag(word: &str) -> bool {
    (1..=MAX_PART).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-=/@+".contains(&b))
}

/// What a task may wait for: its `after=`, `afterany=` and `begin=`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// All of it has finished.
    After(BatchName),
    /// All of it has ended, however.
    AfterAny(BatchName),
    /// This moment, in seconds since the epoch.
    Begin(u64),
}

impl Gate {
    /// The batch or step that it waits for; `None` of a moment.
    #[must_use]
    pub fn name(&self) -> Option<&BatchName> {
        match self {
            Self::After(name) | Self::AfterAny(name) => Some(name),
            Self::Begin(_) => None,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(name) => write!(f, "after={name}"),
            Self::AfterAny(name) => write!(f, "afterany={name}"),
            Self::Begin(seconds) => write!(f, "begin={seconds}"),
        }
    }
}

/// How what a task waited for has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// All of it has finished.
    Finished,
    /// Something of it was given up.
    Failed,
}

impl Upstream {
    /// The word of the scripts, and of `DISTCOMP_UPSTREAM`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }

    /// The other way round; `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Finished, Self::Failed].into_iter().find(|upstream| upstream.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BatchName {
        text.parse().expect("a name")
    }

    #[test]
    fn names_have_one_to_four_parts() {
        for good in ["s1", "s1/prep", "a/b/c/d", "A.b_c-9", &"x".repeat(64)] {
            assert_eq!(name(good).as_str(), good);
        }
        for bad in ["", "s 1", "s1/", "/s1", "a//b", "a:b", "ä", "a,b", "@1"] {
            assert_eq!(bad.parse::<BatchName>(), Err(NoBatchName::Form), "{bad}");
        }
        for long in ["a/b/c/d/e", &"x".repeat(65)] {
            assert_eq!(long.parse::<BatchName>(), Err(NoBatchName::Length), "{long}");
        }
        let limits = format!("at most {MAX_LEVELS} parts of at most {MAX_PART} characters each");
        assert!(NoBatchName::Length.valid().starts_with(&limits), "it says {:?}", NoBatchName::Length.valid());
    }

    #[test]
    fn levels_go_from_the_batch_to_the_step() {
        let levels: Vec<String> = name("s1/prep/w01").levels().map(String::from).collect();
        assert_eq!(levels, ["s1", "s1/prep", "s1/prep/w01"]);
        assert_eq!(name("s1/prep").top(), name("s1"));
        assert_eq!(name("s1").top(), name("s1"));
        assert!(name("s1/prep").is_within(&name("s1")) && name("s1").is_within(&name("s1")));
        assert!(!name("s10").is_within(&name("s1")) && !name("s1").is_within(&name("s1/prep")));
        assert_eq!(name("s1").step("prep"), Ok(name("s1/prep")));
        assert_eq!(name("a/b/c/d").step("e"), Err(NoBatchName::Length));
    }
}
