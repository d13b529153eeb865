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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use FieldOrder::{MemCpuPrio, PrioMemCpu};

    /// A line, then memory in MiB, milli-cores, priority, limit and command in either field order.
    type Vector = (&'static str, FieldOrder, u64, u64, u16, Option<u64>, &'static str);

    const GOOD: &[Vector] = &[
        ("shell:8:2:5:300:./cachesim trace.bin 64", MemCpuPrio, 8192, 2000, 5, Some(300), "./cachesim trace.bin 64"),
        ("shell:8:2:5:./cachesim trace.bin 64", MemCpuPrio, 8192, 2000, 5, None, "./cachesim trace.bin 64"),
        ("shell:5:8:2:./cachesim trace.bin 64", PrioMemCpu, 8192, 2000, 5, None, "./cachesim trace.bin 64"),
        ("shell:5:8:2:300:./x", PrioMemCpu, 8192, 2000, 5, Some(300), "./x"),
        ("shell:1:1:1:cp host:a b", MemCpuPrio, 1024, 1000, 1, None, "cp host:a b"),
        ("shell:1:1:1:8080:x", MemCpuPrio, 1024, 1000, 1, Some(8080), "x"),
        ("shell:1:1:1:8080", MemCpuPrio, 1024, 1000, 1, None, "8080"),
        ("shell:1:1:1:0:x", MemCpuPrio, 1024, 1000, 1, Some(0), "x"),
        ("shell:1:1:1:007:x", MemCpuPrio, 1024, 1000, 1, Some(7), "x"),
        ("shell:1:1:1::x", MemCpuPrio, 1024, 1000, 1, None, ":x"),
        ("shell:1:1:1: 5:x", MemCpuPrio, 1024, 1000, 1, None, " 5:x"),
        ("shell:1:1:1:5s:x", MemCpuPrio, 1024, 1000, 1, None, "5s:x"),
        ("shell:0:0:0: ", MemCpuPrio, 0, 0, 0, None, " "),
        ("shell:0.5:0.25:65535:1:a\nb", MemCpuPrio, 512, 250, 65535, Some(1), "a\nb"),
        ("shell:1:1:1:5:5:5:x", MemCpuPrio, 1024, 1000, 1, Some(5), "5:5:x"),
        ("python:1:1:1:print('ü:1')", MemCpuPrio, 1024, 1000, 1, None, "print('ü:1')"),
        ("demo:1:1:1:x\r", MemCpuPrio, 1024, 1000, 1, None, "x\r"),
    ];

    #[test]
    fn good_lines_mean_what_the_contract_says() {
        for (line, order, mib, millis, prio, timeout, cmd) in GOOD {
            let task = TaskLine::parse(line, *order).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            let seen = (task.mem(), task.cpu(), task.prio(), task.timeout(), task.cmd());
            assert_eq!(seen, (Bytes(mib << 20), MilliCores(*millis), *prio, *timeout, *cmd), "{line:?}");
            assert_eq!(task.to_string(), *line);
        }
    }

    #[test]
    fn bad_lines_name_the_first_wrong_field_and_its_value() {
        let vectors = [
            ("bash:1:1:1:x", MemCpuPrio, "type is \"bash\""),
            (":1:1:1:x", MemCpuPrio, "type is \"\""),
            ("Shell:1:1:1:x", MemCpuPrio, "type is \"Shell\""),
            ("shell:a:1:1:x", MemCpuPrio, "mem is \"a\""),
            ("shell:-1:1:1:x", MemCpuPrio, "mem is \"-1\""),
            ("shell:1e3:1:1:x", MemCpuPrio, "mem is \"1e3\""),
            ("shell: 1:1:1:x", MemCpuPrio, "mem is \" 1\""),
            ("shell:99999999999:1:1:x", MemCpuPrio, "mem is \"99999999999\""),
            ("shell:1:+1:1:x", MemCpuPrio, "cpu is \"+1\""),
            ("shell:1:1:65536:x", MemCpuPrio, "prio is \"65536\""),
            ("shell:1:1:1.5:x", MemCpuPrio, "prio is \"1.5\""),
            ("shell:1:1::x", MemCpuPrio, "prio is \"\""),
            ("shell:1.5:1:1:x", PrioMemCpu, "prio is \"1.5\""),
            ("shell:1:x:1:x", PrioMemCpu, "mem is \"x\""),
            ("shell:1:1:1:99999999999999999999:x", MemCpuPrio, "timeout is \"99999999999999999999\""),
            ("shell:1:1:1:", MemCpuPrio, "cmd is \"\""),
            ("shell:1:1:1:5:", MemCpuPrio, "cmd is \"\""),
            ("shell:1:1:1:a\0b", MemCpuPrio, "cmd is \"a\\0b\""),
            ("shell:1:1:1", MemCpuPrio, "cmd is missing"),
            ("shell:1:1", PrioMemCpu, "cpu is missing"),
            ("shell", PrioMemCpu, "prio is missing"),
            ("", MemCpuPrio, "mem is missing"),
        ];
        for (line, order, wanted) in vectors {
            let error = TaskLine::parse(line, order).expect_err(line).to_string();
            assert!(error.contains(wanted), "{line:?}: {error}");
            assert!(error.contains("valid"), "{line:?} does not say what is valid: {error}");
        }
    }

    #[test]
    fn a_command_may_be_as_long_as_an_argument_and_no_longer() {
        let line = |length: usize| format!("shell:1:1:1:{}", "x".repeat(length));
        assert!(TaskLine::parse(&line(MAX_COMMAND_BYTES), MemCpuPrio).is_ok());
        let error = TaskLine::parse(&line(MAX_COMMAND_BYTES + 1), MemCpuPrio).expect_err("too long").to_string();
        assert!(error.len() < 300, "the command is shortened: {error}");
    }

    fn any_order() -> impl Strategy<Value = FieldOrder> {
        prop_oneof![Just(MemCpuPrio), Just(PrioMemCpu)]
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line in ".{0,60}", order in any_order()) {
            let _ = TaskLine::parse(&line, order);
        }

        #[test]
        fn lines_of_the_right_shape_never_panic(line in "(shell|demo|x)?(:[0-9.e+ -]{0,25}){0,6}:?.{0,10}", order in any_order()) {
            let _ = TaskLine::parse(&line, order);
        }

        #[test]
        fn parse_print_parse_is_the_identity(
            kind in "shell|python|demo", mem in "[0-9]{1,6}(\\.[0-9]{1,9})?", cpu in "[0-9]{1,4}(\\.[0-9]{1,3})?", prio in 0..=u16::MAX,
            timeout in proptest::option::of(0..1_000_000_u64), cmd in "[a-z][^\\x00]{0,40}", order in any_order(),
        ) {
            let numbers = match order {
                MemCpuPrio => format!("{mem}:{cpu}:{prio}"),
                PrioMemCpu => format!("{prio}:{mem}:{cpu}"),
            };
            let limit = timeout.map(|seconds| format!("{seconds}:")).unwrap_or_default();
            let line = format!("{kind}:{numbers}:{limit}{cmd}");
            let task = TaskLine::parse(&line, order).expect("valid");
            prop_assert_eq!(task.to_string(), line.clone());
            prop_assert_eq!(task.cmd(), &cmd);
            prop_assert_eq!((task.prio(), task.timeout()), (prio, timeout));
            prop_assert_eq!(TaskLine::parse(&task.to_string(), order).expect("valid"), task);
        }
    }
}
