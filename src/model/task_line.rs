//! The only parser of the task-line grammar (`type:mem:cpu:prio[:timeout]:cmd`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::task::TaskId;
use super::units::{Bytes, DecimalError, MilliCores};

/// The longest command in bytes: Linux's `MAX_ARG_STRLEN` (128 KiB) less the closing NUL,
/// since the command is one argument of the shell.
pub const MAX_COMMAND_BYTES: usize = 128 * 1024 - 1;

/// How the command of a task is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// By the shell: `/bin/sh -c CMD`.
    Shell,
    /// By Python: `python3 -c CMD`.
    Python,
    /// Not run: prints `demo CMD`.
    Demo,
}

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
    /// Cores.
    Cpu,
    /// Priority.
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

/// A valid task line and what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct TaskLine {
    line: Arc<str>,
    id: TaskId,
    kind: TaskKind,
    mem: Bytes,
    cpu: MilliCores,
    prio: u16,
    timeout: Option<u64>,
    cmd_at: usize,
}

impl TaskLine {
    /// Parses a line, byte for byte; the caller has already removed a line end.
    ///
    /// # Errors
    /// Names the first field that is missing or wrong, its value, and what would be valid.
    pub fn parse(line: &str, order: FieldOrder) -> Result<Self, TaskLineError> {
        let (fields, mut cmd_at) = split_four(line, order)?;
        let kind = match fields[0] {
            "shell" => TaskKind::Shell,
            "python" => TaskKind::Python,
            "demo" => TaskKind::Demo,
            other => return Err(invalid(Field::Type, other)),
        };
        let [mem, cpu, prio] = match order {
            FieldOrder::MemCpuPrio => [fields[1], fields[2], fields[3]],
            FieldOrder::PrioMemCpu => [fields[2], fields[3], fields[1]],
        };
        let mem = Bytes::parse_gib(mem).map_err(|_: DecimalError| invalid(Field::Mem, mem))?;
        let cpu = MilliCores::parse_cores(cpu).map_err(|_: DecimalError| invalid(Field::Cpu, cpu))?;
        let prio =
            parse_digits(prio).and_then(|value| u16::try_from(value).ok()).ok_or_else(|| invalid(Field::Prio, prio))?;
        let mut timeout = None;
        if let Some((digits, _)) = line[cmd_at..].split_once(':')
            && !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
        {
            timeout = Some(parse_digits(digits).ok_or_else(|| invalid(Field::Timeout, digits))?);
            cmd_at += digits.len() + 1;
        }
        let cmd = &line[cmd_at..];
        if cmd.is_empty() || cmd.len() > MAX_COMMAND_BYTES || cmd.contains('\0') {
            return Err(invalid(Field::Cmd, cmd));
        }
        Ok(Self { line: line.into(), id: TaskId::of(line), kind, mem, cpu, prio, timeout, cmd_at })
    }

    /// The whole line, the identity of the task.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.line
    }

    /// The whole line, shared.
    #[must_use]
    pub fn line(&self) -> Arc<str> {
        Arc::clone(&self.line)
    }

    /// The short name of the task.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// How the command is run.
    #[must_use]
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    /// DRAM the task needs; zero when it declares none.
    #[must_use]
    pub fn mem(&self) -> Bytes {
        self.mem
    }

    /// Cores the task needs; zero when it declares none.
    #[must_use]
    pub fn cpu(&self) -> MilliCores {
        self.cpu
    }

    /// Larger runs first.
    #[must_use]
    pub fn prio(&self) -> u16 {
        self.prio
    }

    /// Seconds of run time; `Some(0)` is no limit, `None` the configured default.
    #[must_use]
    pub fn timeout(&self) -> Option<u64> {
        self.timeout
    }

    /// The command, colons and all.
    #[must_use]
    pub fn cmd(&self) -> &str {
        &self.line[self.cmd_at..]
    }
}

impl fmt::Display for TaskLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl fmt::Debug for TaskLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskLine").field(&self.line).finish()
    }
}

/// The first four fields and where the fifth begins.
fn split_four(line: &str, order: FieldOrder) -> Result<([&str; 4], usize), TaskLineError> {
    let mut fields = [""; 4];
    let mut at = 0;
    for (index, field) in fields.iter_mut().enumerate() {
        let Some(length) = line[at..].find(':') else {
            return Err(missing(index + 1, order));
        };
        *field = &line[at..at + length];
        at += length + 1;
    }
    Ok((fields, at))
}

fn missing(found: usize, order: FieldOrder) -> TaskLineError {
    let (expected, names) = match order {
        FieldOrder::MemCpuPrio => ("type:mem:cpu:prio[:timeout]:cmd", ["mem", "cpu", "prio", "cmd"]),
        FieldOrder::PrioMemCpu => ("type:prio:mem:cpu[:timeout]:cmd", ["prio", "mem", "cpu", "cmd"]),
    };
    TaskLineError::Missing { found, expected, missing: names[found - 1] }
}

fn parse_digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn invalid(field: Field, value: &str) -> TaskLineError {
    const SHOWN: usize = 60;
    let mut shown: String = value.chars().take(SHOWN).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    TaskLineError::Invalid { field, value: format!("{shown:?}") }
}
