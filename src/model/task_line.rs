//! The only parser of the task-line grammar (`type:mem:cpu:prio[:timeout]:cmd`).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::class::Class;
use super::demand::Demand;
use super::field::{Field, FieldOrder, TaskLineError, invalid, missing};
use super::needs::Needs;
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

impl TaskKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Shell, Self::Python, Self::Demo];

    /// The kind that a type field names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// As it stands in a task line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Python => "python",
            Self::Demo => "demo",
        }
    }
}

/// A valid task line and what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct TaskLine {
    line: Arc<str>,
    id: TaskId,
    kind: TaskKind,
    class: Class,
    /// What it declares now.
    demand: Demand,
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
        let (kind, needs) = fields[0].split_once(',').map_or((fields[0], None), |(kind, needs)| (kind, Some(needs)));
        let kind = TaskKind::parse(kind).ok_or_else(|| invalid(Field::Type, fields[0]))?;
        let needs = needs.map_or(Ok(Needs::NONE), Needs::parse)?;
        let [mem, cpu, prio] = match order {
            FieldOrder::MemCpuPrio => [fields[1], fields[2], fields[3]],
            FieldOrder::PrioMemCpu => [fields[2], fields[3], fields[1]],
        };
        let mem = Bytes::parse_gib(mem).map_err(|_: DecimalError| invalid(Field::Mem, mem))?;
        let cpu = MilliCores::parse_cores(cpu).map_err(|_: DecimalError| invalid(Field::Cpu, cpu))?;
        let demand = Demand::NONE.with_mem(mem).with_cpu(cpu);
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
        let class = Class { demand, needs };
        Ok(Self { line: line.into(), id: TaskId::of(line), kind, class, demand, prio, timeout, cmd_at })
    }

    /// The same, declaring this much memory now, whatever the line says: after it was killed for want of memory, or where that is learnt. `None` changes
    /// nothing.
    #[must_use]
    pub fn declaring(self, mem: Option<Bytes>) -> Self {
        let demand = mem.map_or(self.demand, |mem| self.demand.with_mem(mem));
        Self { demand, ..self }
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

    /// The memory and cores that the task asks of a node now.
    #[must_use]
    pub fn demand(&self) -> &Demand {
        &self.demand
    }

    /// The memory that it declares now, where that is not what its line says.
    #[must_use]
    pub fn declared_instead(&self) -> Option<Bytes> {
        Some(self.demand.mem()).filter(|mem| *mem != self.class.demand.mem())
    }

    /// What it needs of a node beside them.
    #[must_use]
    pub fn needs(&self) -> &Needs {
        &self.class.needs
    }

    /// Both as its line has them, which is how scripts know it.
    #[must_use]
    pub fn class(&self) -> &Class {
        &self.class
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

fn parse_digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
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
            let seen = (task.demand().mem(), task.demand().cpu(), task.prio(), task.timeout(), task.cmd());
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
