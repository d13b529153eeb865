//! `distcomp-ctl edit`: what `--set` and `--replace` make of a task line.

use super::moment;
use super::seconds::seconds;
use crate::model::needs::parse_milli;
use crate::model::{FieldOrder, TaskLine, TaskLineError};

/// The needs that a line may have several of.
const LISTS: [&str; 3] = ["constraint", "limit", "prefer"];

/// A line that every edit can be tried on.
const SAMPLE: &str = "shell:0:0:0:true";

/// What is wrong with an edit, or with what it makes of a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// No `KEY=VALUE`.
    #[error("--set is {0:?}; valid: KEY=VALUE, such as mem=16, priority=9, timeout=1h, gpus=1 or gpus=none")]
    Shape(String),
    /// A key given more than once, where only one value makes sense.
    #[error("--set {0} is given twice")]
    Twice(String),
    /// A value that would be more than one.
    #[error("--set {0}: a value has no comma and no colon; each need has a --set of its own")]
    Several(String),
    /// A value that no line can have.
    #[error("--set {0}: {1}")]
    Value(String, TaskLineError),
    /// A time that cannot be read.
    #[error("--set {0}; valid: {1}")]
    Time(String, &'static str),
    /// What a task waits for: batches know their order, in which there is no circle.
    #[error(
        "--set {0}: what a task waits for is decided when it is submitted; distcomp-ctl release NAME lets all go on that wait for NAME, else purge the tasks and submit them again"
    )]
    Gate(String),
    /// There is nothing to look for.
    #[error("--replace OLD is empty; valid: --replace OLD NEW, with the text to replace")]
    EmptyText,
    /// Made of one line, and no line.
    #[error(transparent)]
    Line(#[from] TaskLineError),
    /// The command would be read as a time limit and a command.
    #[error(
        "the command would begin with digits and a colon, which is a time limit: add --set timeout=0, or another limit"
    )]
    LikeTimeout,
}

/// A field of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Kind,
    Mem,
    Cpu,
    Prio,
    Timeout,
}

impl Field {
    /// The field of a key; `None` for the key of a need.
    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "type" => Self::Kind,
            "mem" | "memory" => Self::Mem,
            "cpu" | "cpus" | "cores" => Self::Cpu,
            "prio" | "priority" => Self::Prio,
            "timeout" => Self::Timeout,
            _ => return None,
        })
    }
}

/// How lines are changed, checked once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineEdit {
    /// Each field once. Empty takes the time limit away.
    fields: Vec<(Field, String)>,
    /// Each key once, with the needs in place of those that the line has of it.
    needs: Vec<(String, Vec<String>)>,
    replaced: Vec<(String, String)>,
}

impl LineEdit {
    /// Reads the values of `--set`, and pairs of `--replace`. `now` is in seconds since the epoch, for `begin=+2h`.
    ///
    /// # Errors
    /// Every value that is wrong.
    pub fn parse(sets: &[String], replaced: &[(String, String)], now: i64) -> Result<Self, Vec<EditError>> {
        let mut edit = Self { replaced: replaced.to_vec(), ..Self::default() };
        let mut wrong: Vec<EditError> = sets.iter().filter_map(|set| edit.set(set, now).err()).collect();
        if replaced.iter().any(|(from, _)| from.is_empty()) {
            wrong.push(EditError::EmptyText);
        }
        if wrong.is_empty() { Ok(edit) } else { Err(wrong) }
    }

    fn set(&mut self, set: &str, now: i64) -> Result<(), EditError> {
        let (key, value) = set.split_once('=').ok_or_else(|| EditError::Shape(set.to_owned()))?;
        if matches!(key, "after" | "afterany") {
            return Err(EditError::Gate(set.to_owned()));
        }
        // As for a flag: a memory of 0, and the family that it is learnt from.
        if let Some(family) = value.strip_prefix("auto:").filter(|_| Field::of(key) == Some(Field::Mem)) {
            self.set("mem=0", now)?;
            return self.set(&format!("learn={family}"), now);
        }
        let mut one = Self::default();
        if let Some(field) = Field::of(key) {
            if self.fields.iter().any(|(known, _)| *known == field) {
                return Err(EditError::Twice(key.to_owned()));
            }
            if value.contains([',', ':']) {
                return Err(EditError::Several(set.to_owned()));
            }
            one.fields.push((field, if field == Field::Timeout { timeout(set, value)? } else { value.to_owned() }));
        } else {
            one.needs.push((key.to_owned(), needs(set, key, value, now)?));
        }
        // Tried alone on a line without anything, so that what is wrong is the value. A key alone must be one too.
        let mut tried = one.clone();
        if let [(key, values)] = tried.needs.as_mut_slice()
            && values.is_empty()
        {
            values.push(format!("{key}={}", if LISTS.contains(&key.as_str()) { "x" } else { "1" }));
        }
        let text = tried.text(&sample()?, FieldOrder::default());
        TaskLine::parse(&text, FieldOrder::default()).map_err(|error| EditError::Value(set.to_owned(), error))?;
        self.fields.append(&mut one.fields);
        for (key, values) in one.needs {
            match self.needs.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) if LISTS.contains(&key.as_str()) => known.extend(values),
                Some(_) => return Err(EditError::Twice(key)),
                None => self.needs.push((key, values)),
            }
        }
        Ok(())
    }

    /// The line that a task becomes; the same where nothing changes. Fields that are not set stay byte for byte.
    ///
    /// # Errors
    /// What is wrong with the line that it would be.
    pub fn apply(&self, task: &TaskLine, order: FieldOrder) -> Result<TaskLine, EditError> {
        let made = TaskLine::parse(&self.text(task, order), order)?;
        let cmd = self.command(task);
        if made.cmd() != cmd { Err(EditError::LikeTimeout) } else { Ok(made) }
    }

    fn command(&self, task: &TaskLine) -> String {
        self.replaced.iter().fold(task.cmd().to_owned(), |cmd, (from, to)| cmd.replace(from, to))
    }

    fn value<'a>(&'a self, field: Field, old: &'a str) -> &'a str {
        self.fields.iter().find(|(set, _)| *set == field).map_or(old, |(_, value)| value)
    }

    fn text(&self, task: &TaskLine, order: FieldOrder) -> String {
        let line = task.as_str();
        let head = &line[..line.len() - task.cmd().len()];
        let mut parts = head.split(':');
        let mut part = || parts.next().unwrap_or_default();
        let (kind, first, second, third) = (part(), part(), part(), part());
        let old_timeout = task.timeout().map_or("", |_| part());
        let (kind, old_needs) = kind.split_once(',').unwrap_or((kind, ""));
        let mut out = self.value(Field::Kind, kind).to_owned();
        let needs = self.needs_of(old_needs);
        if !needs.is_empty() {
            out.push(',');
            out.push_str(&needs);
        }
        let fields = match order {
            FieldOrder::MemCpuPrio => [(Field::Mem, first), (Field::Cpu, second), (Field::Prio, third)],
            FieldOrder::PrioMemCpu => [(Field::Prio, first), (Field::Mem, second), (Field::Cpu, third)],
        };
        for (field, old) in fields {
            out.push(':');
            out.push_str(self.value(field, old));
        }
        let timeout = self.value(Field::Timeout, old_timeout);
        if !timeout.is_empty() {
            out.push(':');
            out.push_str(timeout);
        }
        out.push(':');
        out.push_str(&self.command(task));
        out
    }

    /// The needs after the edit: sorted, as programs write them, unless none changes.
    fn needs_of(&self, old: &str) -> String {
        let before: Vec<&str> = old.split(',').filter(|need| !need.is_empty()).collect();
        let is_kept = |need: &&&str| !self.needs.iter().any(|(key, _)| need.split('=').next() == Some(key.as_str()));
        let mut needs: Vec<&str> = before.iter().filter(is_kept).copied().collect();
        needs.extend(self.needs.iter().flat_map(|(_, values)| values.iter().map(String::as_str)));
        needs.sort_unstable();
        needs.dedup();
        let mut sorted = before;
        sorted.sort_unstable();
        if sorted == needs { old.to_owned() } else { needs.join(",") }
    }
}

fn sample() -> Result<TaskLine, EditError> {
    Ok(TaskLine::parse(SAMPLE, FieldOrder::default())?)
}

fn is_none(value: &str) -> bool {
    value.is_empty() || value == "none"
}

/// Whole seconds; empty for no such field.
fn timeout(set: &str, value: &str) -> Result<String, EditError> {
    const VALID: &str = "seconds, a duration like 90m or 1h30m, 0 for no limit, or none for the default";
    if is_none(value) {
        return Ok(String::new());
    }
    seconds(value).map(|seconds| seconds.to_string()).ok_or_else(|| EditError::Time(set.to_owned(), VALID))
}

/// The needs, each `KEY=VALUE`, that a value of `--set` stands for; none where it takes the need away.
fn needs(set: &str, key: &str, value: &str, now: i64) -> Result<Vec<String>, EditError> {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    let wrong = |valid| EditError::Time(set.to_owned(), valid);
    let values: Vec<String> = match key {
        _ if is_none(value) => Vec::new(),
        "time" => vec![seconds(value).ok_or_else(|| wrong("seconds, or a duration like 90m or 1h30m"))?.to_string()],
        "begin" if !is_number => vec![moment::begin(value, now).ok_or_else(|| wrong(moment::VALID))?.to_string()],
        "constraint" | "prefer" => value.split('&').map(|terms| terms.trim().to_owned()).collect(),
        // None of a resource is no need.
        _ if parse_milli(value) == Some(0) && key != "begin" => Vec::new(),
        _ => vec![value.to_owned()],
    };
    if values.iter().any(|value| value.contains([',', ':'])) {
        return Err(EditError::Several(set.to_owned()));
    }
    Ok(values.into_iter().map(|value| format!("{key}={value}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use FieldOrder::{MemCpuPrio, PrioMemCpu};
    use proptest::prelude::*;

    fn edit(sets: &[&str], replaced: &[(&str, &str)]) -> Result<LineEdit, Vec<EditError>> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let replaced: Vec<_> = replaced.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        LineEdit::parse(&sets, &replaced, 1000)
    }

    fn made(sets: &[&str], replaced: &[(&str, &str)], line: &str, order: FieldOrder) -> String {
        let task = TaskLine::parse(line, order).expect("a task");
        let made = edit(sets, replaced).expect("an edit").apply(&task, order);
        made.map_or_else(|error| error.to_string(), |task| task.to_string())
    }

    #[test]
    fn fields_and_needs_are_set_and_the_rest_stays() {
        for (sets, line, expected) in [
            (&["mem=16"][..], "shell:8:2:5:300:./x a:b", "shell:16:2:5:300:./x a:b"),
            (&["cpus=0.5", "priority=9"], "shell:8.0:2:5:./x", "shell:8.0:0.5:9:./x"),
            (&["timeout=1h"], "shell:8:2:5:./x", "shell:8:2:5:3600:./x"),
            (&["timeout=0"], "shell:8:2:5:9:./x", "shell:8:2:5:0:./x"),
            (&["timeout=none"], "shell:8:2:5:9:./x", "shell:8:2:5:./x"),
            (&["gpus=1"], "shell:8:2:5:./x", "shell,gpus=1:8:2:5:./x"),
            (&["gpus="], "shell,gpus=1:8:2:5:./x", "shell:8:2:5:./x"),
            (&["gpus=0"], "shell,gpus=1,lic=2:8:2:5:./x", "shell,lic=2:8:2:5:./x"),
            (&["gpus=none", "type=demo"], "shell,lic=2,gpus=1:8:2:5:./x", "demo,lic=2:8:2:5:./x"),
            (&["mem=1"], "shell,lic=2,gpus=1:8:2:5:./x", "shell,lic=2,gpus=1:1:2:5:./x"),
            (&["gpus=1"], "shell,lic=2,gpus=1:8:2:5:./x", "shell,lic=2,gpus=1:8:2:5:./x"),
            (
                &["constraint=ssd & !spot"],
                "shell,after=z,constraint=a:8:2:5:./x",
                "shell,after=z,constraint=!spot,constraint=ssd:8:2:5:./x",
            ),
            (&["begin=+1h", "time=10m"], "shell:8:2:5:./x", "shell,begin=4620,time=600:8:2:5:./x"),
        ] {
            assert_eq!(made(sets, &[], line, MemCpuPrio), expected, "{sets:?}");
        }
        assert_eq!(made(&["mem=1", "priority=7"], &[], "shell:5:8:2:./x", PrioMemCpu), "shell:7:1:2:./x");
    }

    #[test]
    fn text_of_the_command_alone_is_replaced() {
        let line = "shell,lic=8:8:2:5:./x 8 8";
        assert_eq!(made(&[], &[("8", "9")], line, MemCpuPrio), "shell,lic=8:8:2:5:./x 9 9");
        assert_eq!(made(&[], &[("./x", "./y"), ("y 8", "z")], line, MemCpuPrio), "shell,lic=8:8:2:5:./z 8");
        assert_eq!(made(&[], &[("nothing", "z")], line, MemCpuPrio), line);
        let like = "the command would begin with digits and a colon";
        assert!(made(&[], &[("./x", "80:./x")], "shell:8:2:5:./x", MemCpuPrio).starts_with(like));
        assert!(made(&["timeout=none"], &[], "shell:8:2:5:9:80:x", MemCpuPrio).starts_with(like));
        assert!(made(&[], &[("./x", "")], "shell:8:2:5:./x", MemCpuPrio).starts_with("cmd is \"\""));
    }

    #[test]
    fn every_wrong_value_is_told() {
        let told = |sets: &[&str], replaced: &[(&str, &str)]| -> Vec<String> {
            edit(sets, replaced).expect_err("wrong").iter().map(ToString::to_string).collect()
        };
        let all = told(&["mem=x", "memory", "gpus=1.5", "priority=65536", "begin=soon"], &[("", "y")]);
        assert_eq!(all.len(), 6, "{all:?}");
        assert!(all[0].starts_with("--set mem=x: mem is \"x\": valid is a decimal number"), "{all:?}");
        assert!(all[1].starts_with("--set is \"memory\"; valid: KEY=VALUE"), "{all:?}");
        assert!(all[2].starts_with("--set gpus=1.5: gpus is \"1.5\"; valid: a part of one"), "{all:?}");
        assert!(all[4].starts_with("--set begin=soon; valid: a time of day"), "{all:?}");
        for (set, said) in [
            ("timeout=soon", "--set timeout=soon; valid: seconds"),
            ("GPUS=1", "--set GPUS=1: the key of a need is"),
            ("GPUS=", "--set GPUS=: the key of a need is"),
            ("=1", "--set =1: a need is"),
            ("after=a", "--set after=a: what a task waits for is decided when it is submitted"),
            ("afterany=none", "--set afterany=none: what a task waits for is decided"),
            ("constraint=a:1", "--set constraint=a:1: a value has no comma"),
            ("lic=1,gpus=2", "--set lic=1,gpus=2: a value has no comma"),
            ("mem=1:2", "--set mem=1:2: a value has no comma"),
            ("type=shell,gpus=1", "--set type=shell,gpus=1: a value has no comma"),
            ("mem=", "--set mem=: mem is \"\""),
            ("type=bash", "--set type=bash: type is \"bash\""),
        ] {
            assert!(told(&[set], &[])[0].starts_with(said), "{set}: {:?}", told(&[set], &[]));
        }
        assert_eq!(told(&["mem=1", "memory=2"], &[]), ["--set memory is given twice"]);
        assert_eq!(told(&["gpus=1", "gpus=2"], &[]), ["--set gpus is given twice"]);
    }

    #[test]
    fn memory_of_a_family_is_learnt() {
        assert_eq!(
            made(&["mem=auto:sim"], &[], "shell,gpus=1:8:2:5:./x", MemCpuPrio),
            "shell,gpus=1,learn=sim:0:2:5:./x"
        );
        assert_eq!(edit(&["mem=auto:a b"], &[]).map_err(|errors| errors.len()), Err(1));
        assert!(edit(&["mem=auto:sim", "memory=2"], &[]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_set_is_what_the_line_says(
            needs in prop_oneof![Just(""), Just(",gpus=1"), Just(",lic=2,gpus=0.5"), Just(",after=a")], mem in 0..99_u32, prio in 0..=u16::MAX,
            timeout in proptest::option::of(0..99_u64), cmd in "[a-z]{1,5}(:[0-9]{1,3}){0,2}", swapped: bool,
        ) {
            let order = if swapped { PrioMemCpu } else { MemCpuPrio };
            let limit = timeout.map(|seconds| format!("{seconds}:")).unwrap_or_default();
            let task = TaskLine::parse(&format!("shell{needs}:3:4:5:{limit}{cmd}"), order).expect("a task");
            let edit = edit(&[&format!("mem={mem}"), &format!("priority={prio}"), "gpus=2"], &[]).expect("an edit");
            let made = edit.apply(&task, order).expect("a line");
            prop_assert_eq!(made.demand().mem().0, u64::from(mem) << 30);
            prop_assert_eq!((made.prio(), made.demand().cpu(), made.timeout()), (prio, task.demand().cpu(), timeout));
            prop_assert_eq!((made.cmd(), made.kind(), made.needs().gates()), (task.cmd(), task.kind(), task.needs().gates()));
            let gpus = made.needs().resources().iter().find(|one| one.name.as_str() == "gpus").map(|one| one.milli);
            prop_assert_eq!(gpus, Some(2000));
            prop_assert_eq!(edit.apply(&made, order).expect("a line"), made.clone(), "twice is once");
        }
    }
}
