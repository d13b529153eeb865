//! The fields of a task line: their order, names and valid values, and the message about an invalid one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::needs::NeedError;

/// The order of the three numbers after the type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FieldOrder {
    /// `type:mem:cpu:prio[:timeout]:cmd`, the default.
    #[default]
    #[serde(rename = "mem:cpu:prio")]
    MemCpuPrio,
    /// `type:prio:mem:cpu[:timeout]:cmd`, the order of Python DistComp.
    #[serde(rename = "prio:mem:cpu")]
    PrioMemCpu,
}

impl FieldOrder {
    /// As written in `conf.json` and in Redis.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemCpuPrio => "mem:cpu:prio",
            Self::PrioMemCpu => "prio:mem:cpu",
        }
    }
}

impl FromStr for FieldOrder {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "mem:cpu:prio" => Ok(Self::MemCpuPrio),
            "prio:mem:cpu" => Ok(Self::PrioMemCpu),
            _ => Err(()),
        }
    }
}

impl fmt::Display for FieldOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A field of a task line, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `shell`, `python` or `demo`.
    Type,
    /// DRAM in GB.
    Mem,
    /// The cores that the task needs.
    Cpu,
    /// The priority: larger runs first.
    Prio,
    /// Run-time limit in seconds.
    Timeout,
    /// The command.
    Cmd,
}

impl Field {
    /// The field's name in the documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Mem => "mem",
            Self::Cpu => "cpu",
            Self::Prio => "prio",
            Self::Timeout => "timeout",
            Self::Cmd => "cmd",
        }
    }

    /// What the field may hold.
    #[must_use]
    pub fn valid(self) -> &'static str {
        match self {
            Self::Type => "shell, python or demo",
            Self::Mem => "a decimal number of GB, 0 or more, such as 8 or 0.5",
            Self::Cpu => "a decimal number of cores, 0 or more, such as 2 or 0.5",
            Self::Prio => "an integer from 0 to 65535",
            Self::Timeout => "an integer number of seconds, 0 for no limit",
            Self::Cmd => "a command that is not empty, has no NUL and at most 131071 bytes",
        }
    }
}

/// Why a line is not a task: the field, its value, and what would be valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskLineError {
    /// Fewer fields than the grammar has.
    #[error("{found} of the 5 or 6 fields {expected} are there; {missing} is missing (valid: {})", missing_valid(.missing))]
    Missing {
        /// How many colon-separated fields were found.
        found: usize,
        /// The grammar for the field order in use.
        expected: &'static str,
        /// The first field that is not there.
        missing: &'static str,
    },
    /// The needs after the type are wrong.
    #[error(transparent)]
    Need(#[from] NeedError),
    /// A field holds what it may not.
    #[error("{} is {value}: valid is {}", .field.name(), .field.valid())]
    Invalid {
        /// Which field.
        field: Field,
        /// What it holds, quoted and shortened.
        value: String,
    },
}

fn missing_valid(name: &str) -> &'static str {
    [Field::Type, Field::Mem, Field::Cpu, Field::Prio, Field::Cmd]
        .into_iter()
        .find(|field| field.name() == name)
        .map_or("", Field::valid)
}

pub(super) fn missing(found: usize, order: FieldOrder) -> TaskLineError {
    let (expected, names) = match order {
        FieldOrder::MemCpuPrio => ("type:mem:cpu:prio[:timeout]:cmd", ["mem", "cpu", "prio", "cmd"]),
        FieldOrder::PrioMemCpu => ("type:prio:mem:cpu[:timeout]:cmd", ["prio", "mem", "cpu", "cmd"]),
    };
    TaskLineError::Missing { found, expected, missing: names[found - 1] }
}

pub(super) fn invalid(field: Field, value: &str) -> TaskLineError {
    const SHOWN: usize = 60;
    let mut shown: String = value.chars().take(SHOWN).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    TaskLineError::Invalid { field, value: format!("{shown:?}") }
}
