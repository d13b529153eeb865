//! What a task needs of a node beside memory and cores: the type field of its line after the first comma, `shell,gpus=1,constraint=ssd|nvme`.
//!
//! Here alone needs are parsed, and written as the index names them.

use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::batch::{BatchName, Gate};
use super::family;
use super::labels::Constraint;
use super::limit::{LimitName, NoLimitName, is_key};

/// The most needs of one line.
pub const MAX_NEEDS: usize = 64;

/// The most bytes that the needs of one line take.
pub const MAX_NEEDS_BYTES: usize = 4096;

/// How the index says that a task waits for something.
const GATED: &str = "after";

/// The most bytes of a need's value.
const MAX_VALUE_BYTES: usize = 128;

/// Keys that are no name of a resource.
const RESERVED: [&str; 8] = ["after", "afterany", "constraint", "prefer", "limit", "begin", "time", "learn"];

/// Why the needs of a line were refused: what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeedError {
    /// No key, or no value.
    #[error("a need is {0:?}; valid: KEY=VALUE")]
    Shape(String),
    /// A key that cannot be one.
    #[error("the key of a need is {0:?}; valid: a lower-case letter, then at most 31 of a-z 0-9 _ . / -")]
    Key(String),
    /// A value that the key cannot have.
    #[error("{key} is {value:?}; valid: {valid}")]
    Value {
        /// The key.
        key: String,
        /// The value, shortened.
        value: String,
        /// What would be valid.
        valid: &'static str,
    },
    /// Given more than once, where only one makes sense.
    #[error("{0} is given twice")]
    Twice(String),
    /// More than a line may have.
    #[error(
        "the line has {found} needs in {bytes} bytes; valid: at most {MAX_NEEDS}, in at most {MAX_NEEDS_BYTES} bytes"
    )]
    TooMany {
        /// How many there are.
        found: usize,
        /// How long they are.
        bytes: usize,
    },
}

/// What a task needs of a node beside memory and cores. Cheap to clone; most tasks need nothing.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Needs(Option<Arc<Parts>>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Parts {
    /// Sorted by name; none is zero.
    resources: Vec<Amount>,
    constraint: Vec<Constraint>,
    prefer: Vec<Constraint>,
    lifetime: Option<u64>,
    learn: Option<String>,
    /// Sorted, each once.
    limits: Vec<LimitName>,
    /// Sorted, each once.
    gates: Vec<Gate>,
    text: String,
}

/// So much of a named resource, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    /// The name of the resource, such as `gpus`.
    pub name: ResourceName,
    /// How much of it, in thousandths: 1000 is one device, 500 a part of one.
    pub milli: u64,
}

/// The name of a resource that nodes have of their own: `gpus`, `scratch_gb`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(Arc<str>);

impl ResourceName {
    /// The resource of graphics processors.
    pub const GPUS: &'static str = "gpus";

    /// The name, unless it cannot be one or is a reserved key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (is_key(text) && !RESERVED.contains(&text)).then(|| Self(text.into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Thousandths of a decimal number with at most three digits after the point.
#[must_use]
pub fn parse_milli(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
    // The index reads it as a double, which is exact up to 2^53.
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(fraction).filter(|milli| *milli < 1 << 53)
}

/// What an amount may be that [`parse_milli`] refuses.
#[must_use]
pub fn valid_amount(text: &str) -> &'static str {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if is_digits(whole) && is_digits(fraction) && fraction.len() <= 3 {
        return "a number below 9007199254740";
    }
    "a decimal number, 3 digits after the point at most"
}

/// Thousandths as people write them: `0.5`, `2`.
#[must_use]
pub fn show_milli(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Needs {
    /// None.
    pub const NONE: Self = Self(None);

    /// Parses what follows the first comma of a type field.
    ///
    /// # Errors
    /// The first need that is wrong.
    pub fn parse(text: &str) -> Result<Self, NeedError> {
        let found = text.split(',').count();
        if found > MAX_NEEDS || text.len() > MAX_NEEDS_BYTES {
            return Err(NeedError::TooMany { found, bytes: text.len() });
        }
        let mut parts = Parts::default();
        let mut seen: Vec<&str> = Vec::new();
        for need in text.split(',') {
            let (key, value) = need.split_once('=').ok_or_else(|| NeedError::Shape(shortened(need)))?;
            if !is_key(key) {
                return Err(if key.is_empty() {
                    NeedError::Shape(shortened(need))
                } else {
                    NeedError::Key(shortened(key))
                });
            }
            parts.add(key, value)?;
            let may_repeat = matches!(key, "constraint" | "prefer" | "limit" | "after" | "afterany");
            if seen.contains(&key) && !may_repeat {
                return Err(NeedError::Twice(key.to_owned()));
            }
            seen.push(key);
        }
        parts.settle();
        Ok(Self(Some(Arc::new(parts))))
    }

    /// Those of a line, whatever the order of its fields; none where it has none, or is no task.
    #[must_use]
    pub fn of_line(line: &str) -> Self {
        let needs = line.split_once(':').and_then(|(kind, _)| kind.split_once(','));
        needs.and_then(|(_, needs)| Self::parse(needs).ok()).unwrap_or(Self::NONE)
    }

    /// Whether they ask for nothing, as of most tasks; also where all amounts are zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }

    /// Reads what [`Self::as_str`] answers.
    ///
    /// # Errors
    /// When it is no such text.
    pub fn of_class(text: &str) -> Result<Self, NeedError> {
        let shown = show_class_needs(text).replace(", ", ",");
        let mut needs = if shown.is_empty() { Self::NONE } else { Self::parse(&shown)? };
        // What it waits for is known from the line alone.
        if shown.len() < text.len() && text.split(',').any(|need| need == GATED) {
            let mut parts = needs.0.as_deref().cloned().unwrap_or_default();
            text.clone_into(&mut parts.text);
            needs = Self(Some(Arc::new(parts)));
        }
        Ok(needs)
    }

    /// How much of which resources, sorted by name; none of them is zero.
    #[must_use]
    pub fn resources(&self) -> &[Amount] {
        self.0.as_ref().map_or(&[], |parts| &parts.resources)
    }

    /// What must hold of the labels of a node, all of it.
    #[must_use]
    pub fn constraint(&self) -> &[Constraint] {
        self.0.as_ref().map_or(&[], |parts| &parts.constraint)
    }

    /// What should hold of the labels of a node, all of it.
    #[must_use]
    pub fn prefer(&self) -> &[Constraint] {
        self.0.as_ref().map_or(&[], |parts| &parts.prefer)
    }

    /// How long the worker must have to live, in seconds.
    #[must_use]
    pub fn lifetime(&self) -> Option<u64> {
        self.0.as_ref().and_then(|parts| parts.lifetime)
    }

    /// The family by which its memory is learnt.
    #[must_use]
    pub fn learn(&self) -> Option<&str> {
        self.0.as_ref().and_then(|parts| parts.learn.as_deref())
    }

    /// The limits that the task counts against, while it is in progress.
    #[must_use]
    pub fn limits(&self) -> &[LimitName] {
        self.0.as_ref().map_or(&[], |parts| &parts.limits)
    }

    /// What the task waits for, all of it.
    #[must_use]
    pub fn gates(&self) -> &[Gate] {
        self.0.as_ref().map_or(&[], |parts| &parts.gates)
    }

    /// As the index names it; empty for none. Of what it waits for it says only that there is something.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", |parts| &parts.text)
    }

    /// Whether the type field of a task has a comma: such a line waits apart from those that any worker may run.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Needs").field(&self.as_str()).finish()
    }
}

/// For programs: `{"constraint":["ssd|nvme"],"gpus":0.5,"time":60}`.
impl Serialize for Needs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for Amount { name, milli } in self.resources() {
            if milli.is_multiple_of(1000) {
                map.serialize_entry(name.as_str(), &(milli / 1000))?;
            } else {
                map.serialize_entry(name.as_str(), &(*milli as f64 / 1000.0))?;
            }
        }
        for (key, terms) in [("constraint", self.constraint()), ("prefer", self.prefer())] {
            if !terms.is_empty() {
                map.serialize_entry(key, &terms.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            }
        }
        if let Some(seconds) = self.lifetime() {
            map.serialize_entry("time", &seconds)?;
        }
        if let Some(family) = self.learn() {
            map.serialize_entry("learn", family)?;
        }
        if !self.limits().is_empty() {
            map.serialize_entry("limit", self.limits())?;
        }
        let names = |is_any: bool| -> Vec<&BatchName> {
            let named = self.gates().iter().filter_map(|gate| match gate {
                Gate::After(name) => Some((name, false)),
                Gate::AfterAny(name) => Some((name, true)),
                Gate::Begin(_) => None,
            });
            named.filter(|(_, any)| *any == is_any).map(|(name, _)| name).collect()
        };
        for (key, names) in [("after", names(false)), ("afterany", names(true))] {
            if !names.is_empty() {
                map.serialize_entry(key, &names)?;
            }
        }
        for gate in self.gates() {
            if let Gate::Begin(seconds) = gate {
                map.serialize_entry("begin", seconds)?;
            }
        }
        map.end()
    }
}

impl Parts {
    fn add(&mut self, key: &str, value: &str) -> Result<(), NeedError> {
        let wrong = |valid| Err(NeedError::Value { key: key.to_owned(), value: shortened(value), valid });
        let is_unfit = |c: char| c.is_control() || c.is_whitespace() || c == ':';
        // The rules of names are stricter, and said below.
        let is_name = matches!(key, "after" | "afterany");
        if !is_name && (value.is_empty() || value.len() > MAX_VALUE_BYTES || value.chars().any(is_unfit)) {
            return wrong("1 to 128 bytes without blanks, colons and control characters");
        }
        match key {
            "constraint" | "prefer" => {
                let Some(constraint) = Constraint::parse(value) else { return wrong(Constraint::VALID) };
                if key == "prefer" { &mut self.prefer } else { &mut self.constraint }.push(constraint);
            }
            "time" => match value.parse() {
                Ok(seconds) if value.bytes().all(|b| b.is_ascii_digit()) => self.lifetime = Some(seconds),
                Ok(_) | Err(_) => return wrong("a whole number of seconds"),
            },
            "learn" if family::is_family(value) => self.learn = Some(value.to_owned()),
            "learn" => return wrong(family::VALID),
            "limit" => match value.parse() {
                Ok(name) => self.limits.push(name),
                Err(NoLimitName) => return wrong(LimitName::VALID),
            },
            "after" | "afterany" => match value.parse::<BatchName>() {
                Ok(name) if key == "after" => self.gates.push(Gate::After(name)),
                Ok(name) => self.gates.push(Gate::AfterAny(name)),
                Err(error) => return wrong(error.valid()),
            },
            "begin" => match value.parse() {
                // The index reads it as a double.
                Ok(seconds) if value.bytes().all(|b| b.is_ascii_digit()) && seconds < 1 << 40 => {
                    self.gates.push(Gate::Begin(seconds));
                }
                Ok(_) | Err(_) => return wrong("seconds since the epoch, a whole number below 1099511627776"),
            },
            _ => {
                let Some(milli) = parse_milli(value) else {
                    return wrong(valid_amount(value));
                };
                if key == ResourceName::GPUS && milli > 1000 && !milli.is_multiple_of(1000) {
                    return wrong("a part of one (0.5), or whole ones");
                }
                if milli > 0 {
                    self.resources.push(Amount { name: ResourceName(key.into()), milli });
                }
            }
        }
        Ok(())
    }

    /// Sorts what was added, and writes the name that the index gives it: what means the same has one name. A class may hold no "|".
    fn settle(&mut self) {
        self.resources.sort();
        for terms in [&mut self.constraint, &mut self.prefer] {
            terms.sort();
            terms.dedup();
        }
        self.limits.sort();
        self.limits.dedup();
        self.gates.sort();
        self.gates.dedup();
        let labels = |key: &'static str, terms: &[Constraint]| -> Vec<String> {
            terms.iter().map(|one| format!("{key}={}", one.to_string().replace('|', ";"))).collect()
        };
        let mut needs: Vec<String> = self.resources.iter().map(|one| format!("{}={}", one.name, one.milli)).collect();
        needs.extend(labels("constraint", &self.constraint));
        needs.extend(labels("prefer", &self.prefer));
        needs.extend(self.limits.iter().map(|name| format!("limit={name}")));
        needs.extend(self.lifetime.map(|seconds| format!("time={seconds}")));
        needs.extend(self.learn.iter().map(|family| format!("learn={family}")));
        if !self.gates.is_empty() {
            needs.push(GATED.to_owned());
        }
        needs.sort();
        self.text = needs.join(",");
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// What the index writes of needs, for people: `gpus=0.5, constraint=ssd|nvme`. Of what a task waits for the index says only that there is something.
#[must_use]
pub fn show_class_needs(text: &str) -> String {
    let shown = |need: &str| match need.split_once('=') {
        Some((key @ ("constraint" | "prefer"), value)) => format!("{key}={}", value.replace(';', "|")),
        Some((key @ ("time" | "limit" | "learn"), value)) => format!("{key}={value}"),
        Some((key, value)) => format!("{key}={}", value.parse().map_or_else(|_| value.to_owned(), show_milli)),
        None => need.to_owned(),
    };
    text.split(',').filter(|need| !need.is_empty() && *need != GATED).map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "needs_tests.rs"]
mod tests;
