//! A recipe: a command and its settings, checked once, from which each row makes a task line.

use std::borrow::Cow;

use super::belonging::BelongingRecipe;
use super::error::ComposeError;
use super::needs::NeedRecipe;
use super::row::Row;
use super::seconds::seconds;
use super::settings::Settings;
use super::template::{Quoting, Template, near_name, quoted};
use crate::model::units::{Bytes, MilliCores};
use crate::model::{Belonging, FieldOrder, Limit, LimitName, TaskKind, family};

/// A flag whose value is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    Type,
    Mem,
    Cpus,
    Priority,
    Timeout,
    Cwd,
    Env,
    Stdin,
    Output,
    Error,
}

impl Flag {
    fn name(self) -> &'static str {
        match self {
            Self::Type => "--type",
            Self::Mem => "--mem",
            Self::Cpus => "--cpus",
            Self::Priority => "--priority",
            Self::Timeout => "--timeout",
            Self::Cwd => "--cwd",
            Self::Env => "--env",
            Self::Stdin => "--stdin",
            Self::Output => "--output",
            Self::Error => "--error",
        }
    }

    fn valid(self) -> &'static str {
        match self {
            Self::Type => "shell, python, demo",
            Self::Mem => {
                "a decimal number of GB, auto, or auto:FAMILY with a FAMILY of at most 64 of A-Z a-z 0-9 . _ -"
            }
            Self::Cpus => "a decimal number of cores",
            Self::Priority => "an integer from 0 to 65535",
            Self::Timeout => "seconds, or a duration like 90m or 1h30m; 0 is no limit",
            Self::Env => "NAME=VALUE, with a NAME of letters, digits and _",
            Self::Cwd | Self::Stdin | Self::Output | Self::Error => "a path",
        }
    }

    /// Refuses a value that is not what this flag takes.
    fn check(self, value: &str) -> Result<(), ComposeError> {
        let is_valid = match self {
            Self::Type => TaskKind::parse(value).is_some(),
            Self::Mem => match learnt_family(value) {
                Some(family) => family.is_none_or(family::is_family),
                None => Bytes::parse_gib(value).is_ok(),
            },
            Self::Cpus => MilliCores::parse_cores(value).is_ok(),
            Self::Priority => value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u16>().is_ok(),
            Self::Timeout => seconds(value).is_some(),
            Self::Env => value.split_once('=').is_some_and(|(name, _)| is_name(name)),
            Self::Cwd | Self::Stdin | Self::Output | Self::Error => !value.is_empty(),
        };
        if is_valid { Ok(()) } else { Err(self.invalid(value)) }
    }

    fn invalid(self, value: &str) -> ComposeError {
        ComposeError::Invalid { flag: self.name(), value: value.to_owned(), valid: self.valid() }
    }
}

/// Makes task lines.
#[derive(Debug)]
pub struct Recipe {
    /// `None`: the command is the first column, and stands as it is.
    command: Option<Template>,
    kind: Option<Template>,
    needs: NeedRecipe,
    belonging: BelongingRecipe,
    mem: Option<Template>,
    cpus: Option<Template>,
    priority: Option<Template>,
    timeout: Option<Template>,
    cwd: Option<Template>,
    env: Vec<Template>,
    stdin: Option<Template>,
    output: Option<Template>,
    error: Option<Template>,
}

/// A task line in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Composed {
    /// The whole line.
    pub line: String,
    /// The command as it was asked for, without what the flags put before it.
    pub command: String,
    /// The batch or step that it belongs to.
    pub belonging: Option<Belonging>,
    /// Limits that are to be set where none is set.
    pub limits: Vec<(LimitName, Limit)>,
}

impl Recipe {
    /// Parses the templates of the flags. `names` are those of the columns, and `columns` is how many there are.
    ///
    /// # Errors
    /// Every placeholder of a column that does not exist, and every value that is wrong in whichever row.
    pub fn new(
        command: Template,
        settings: &Settings,
        names: &[String],
        columns: usize,
    ) -> Result<Self, Vec<ComposeError>> {
        Self::check(Some(command), settings, names, columns)
    }

    /// For commands that are whole: the only column of a row is one, in which braces mean nothing.
    ///
    /// # Errors
    /// As of [`Recipe::new`].
    pub fn of_whole_commands(settings: &Settings) -> Result<Self, Vec<ComposeError>> {
        Self::check(None, settings, &[], 1)
    }

    fn check(
        command: Option<Template>,
        settings: &Settings,
        names: &[String],
        columns: usize,
    ) -> Result<Self, Vec<ComposeError>> {
        let template = |text: &String| Template::parse(text, names);
        let recipe = Self {
            command,
            kind: settings.kind.as_ref().map(template),
            needs: NeedRecipe::parse(&settings.needs, names),
            belonging: BelongingRecipe::parse(settings, names),
            mem: settings.mem.as_ref().map(template),
            cpus: settings.cpus.as_ref().map(template),
            priority: settings.priority.as_ref().map(template),
            timeout: settings.timeout.as_ref().map(template),
            cwd: settings.cwd.as_ref().map(template),
            env: settings.env.iter().map(template).collect(),
            stdin: settings.stdin.as_ref().map(template),
            output: settings.output.as_ref().map(template),
            error: settings.error.as_ref().map(template),
        };
        let beyond = |(place, template): (&str, &Template)| {
            let placeholder = template.beyond(columns)?.to_owned();
            Some(ComposeError::NoColumn { place: place.to_owned(), placeholder, columns })
        };
        let mut faults: Vec<ComposeError> = recipe.templates().filter_map(beyond).collect();
        let no_such = |(place, name): (&str, &String)| ComposeError::NoSuchColumn {
            place: place.to_owned(),
            placeholder: format!("{{{name}}}"),
            near: near_name(name, names).map(str::to_owned),
            names: names.iter().filter(|name| !name.is_empty()).cloned().collect(),
        };
        let unknown =
            recipe.templates().flat_map(|(place, template)| template.unknown().iter().map(move |name| (place, name)));
        faults.extend(unknown.map(no_such));
        faults.extend(recipe.constant_faults());
        if faults.is_empty() { Ok(recipe) } else { Err(faults) }
    }

    fn templates(&self) -> impl Iterator<Item = (&'static str, &Template)> {
        let command = self.command.iter().map(|command| ("COMMAND", command));
        let flags = self.flags().map(|(flag, template)| (flag.name(), template));
        command.chain(flags).chain(self.needs.templates()).chain(self.belonging.templates())
    }

    /// The flags that are given.
    fn flags(&self) -> impl Iterator<Item = (Flag, &Template)> {
        let flags = [
            (Flag::Type, &self.kind),
            (Flag::Mem, &self.mem),
            (Flag::Cpus, &self.cpus),
            (Flag::Priority, &self.priority),
            (Flag::Timeout, &self.timeout),
            (Flag::Cwd, &self.cwd),
            (Flag::Stdin, &self.stdin),
            (Flag::Output, &self.output),
            (Flag::Error, &self.error),
        ];
        let given = flags.into_iter().filter_map(|(flag, template)| Some((flag, template.as_ref()?)));
        given.chain(self.env.iter().map(|template| (Flag::Env, template)))
    }

    /// What is wrong with values that are the same for every row.
    fn constant_faults(&self) -> Vec<ComposeError> {
        let row = Row::default();
        let constant = |template: &Template| {
            (!template.has_placeholder()).then(|| template.filled(&row, Quoting::None).into_owned())
        };
        let wrong = |(flag, template): (Flag, &Template)| flag.check(&constant(template)?).err();
        let mut faults: Vec<ComposeError> = self.flags().filter_map(wrong).collect();
        faults.extend(self.needs.constant_faults());
        faults.extend(self.belonging.constant_faults());
        let is_of_shell = |flag| matches!(flag, Flag::Cwd | Flag::Env | Flag::Stdin | Flag::Output | Flag::Error);
        let kind = self.kind.as_ref().and_then(constant);
        if kind.is_some_and(|kind| kind != "shell") && self.flags().any(|(flag, _)| is_of_shell(flag)) {
            faults.push(ComposeError::NotShell);
        }
        faults
    }

    /// Makes the line of a row into `out`, whose buffers are used again.
    ///
    /// # Errors
    /// A value is not what its flag must be.
    pub fn compose(&self, row: &Row, order: FieldOrder, out: &mut Composed) -> Result<(), ComposeError> {
        out.command.clear();
        match &self.command {
            Some(command) => command.fill(row, Quoting::Shell, &mut out.command),
            None => out.command.push_str(row.get(0).unwrap_or_default()),
        }
        let kind = filled(&self.kind, row).unwrap_or(Cow::Borrowed("shell"));
        Flag::Type.check(&kind)?;
        let mut needs = self.needs.fill(row)?;
        out.limits = self.needs.limits(row);
        out.belonging = self.belonging.fill(row)?;
        let mut mem = filled(&self.mem, row).unwrap_or(Cow::Borrowed("0"));
        Flag::Mem.check(&mem)?;
        if let Some(family) = learnt_family(&mem) {
            let family = match (family, &out.belonging) {
                (Some(family), _) => family.to_owned(),
                (None, Some(belonging)) => family::of_batch(belonging.name().as_str()),
                (None, None) if kind != "shell" => kind.to_string(),
                (None, None) => family::of_command(&out.command),
            };
            needs.push(format!("learn={family}"));
            needs.sort();
            mem = Cow::Borrowed("0");
        }
        let cpus = filled(&self.cpus, row).unwrap_or(Cow::Borrowed("1"));
        Flag::Cpus.check(&cpus)?;
        let priority = filled(&self.priority, row).unwrap_or(Cow::Borrowed("0"));
        Flag::Priority.check(&priority)?;
        let timeout = match filled(&self.timeout, row) {
            Some(text) => Some(seconds(&text).ok_or_else(|| Flag::Timeout.invalid(&text))?),
            None => None,
        };
        let numbers = match order {
            FieldOrder::MemCpuPrio => [&mem, &cpus, &priority],
            FieldOrder::PrioMemCpu => [&priority, &mem, &cpus],
        };
        out.line.clear();
        out.line.push_str(&kind);
        for need in needs {
            out.line.push(',');
            out.line.push_str(&need);
        }
        for field in numbers {
            out.line.push(':');
            out.line.push_str(field);
        }
        out.line.push(':');
        if let Some(timeout) = timeout {
            out.line.push_str(&format!("{timeout}:"));
        }
        let fields = out.line.len();
        self.statements(row, &mut out.line)?;
        let has_statements = out.line.len() > fields;
        if has_statements && kind != "shell" {
            return Err(ComposeError::NotShell);
        }
        // Digits and a colon at the beginning of a command would be read as its limit.
        if timeout.is_none() && !has_statements && begins_as_a_limit(&out.command) {
            out.line.push(' ');
        }
        out.line.push_str(&out.command);
        Ok(())
    }

    /// What stands before the command. Each statement ends the task with 125 where it fails: a shell that a worker starts knows no `set -e` for the rest of
    /// a line that it did not write.
    fn statements(&self, row: &Row, out: &mut String) -> Result<(), ComposeError> {
        if let Some(dir) = path(Flag::Cwd, &self.cwd, row)? {
            out.push_str(&format!("cd {} || exit 125; ", quoted(&dir)));
        }
        if !self.env.is_empty() {
            out.push_str("export");
            for variable in &self.env {
                let variable = variable.filled(row, Quoting::None);
                let Some((name, value)) = variable.split_once('=').filter(|(name, _)| is_name(name)) else {
                    return Err(Flag::Env.invalid(&variable));
                };
                out.push_str(&format!(" {name}={}", quoted(value)));
            }
            out.push_str(" || exit 125; ");
        }
        // A redirection of `exec` that fails ends some shells at once, so each file is opened by a plain statement first.
        if let Some(file) = path(Flag::Stdin, &self.stdin, row)? {
            let file = quoted(&file);
            out.push_str(&format!("{{ :; }} <{file} || exit 125; exec <{file}; "));
        }
        let output = path(Flag::Output, &self.output, row)?;
        let error = path(Flag::Error, &self.error, row)?;
        for file in [&output, &error].into_iter().flatten() {
            if let Some((dir, _)) = file.rsplit_once('/').filter(|(dir, _)| !dir.is_empty()) {
                out.push_str(&format!("mkdir -p {} || exit 125; ", quoted(dir)));
            }
            out.push_str(&format!("{{ :; }} >{} || exit 125; ", quoted(file)));
        }
        match (&output, &error) {
            (Some(output), Some(error)) if output == error => out.push_str(&format!("exec >{} 2>&1; ", quoted(output))),
            (Some(output), Some(error)) => out.push_str(&format!("exec >{} 2>{}; ", quoted(output), quoted(error))),
            (Some(output), None) => out.push_str(&format!("exec >{}; ", quoted(output))),
            (None, Some(error)) => out.push_str(&format!("exec 2>{}; ", quoted(error))),
            (None, None) => {}
        }
        Ok(())
    }
}

/// Of `auto` and `auto:FAMILY` the family, where it is named; `None` for an amount.
fn learnt_family(mem: &str) -> Option<Option<&str>> {
    match mem.split_once(':') {
        None => (mem == "auto").then_some(None),
        Some((auto, family)) => (auto == "auto").then_some(Some(family)),
    }
}

fn filled<'a>(template: &'a Option<Template>, row: &Row) -> Option<Cow<'a, str>> {
    template.as_ref().map(|template| template.filled(row, Quoting::None))
}

fn path<'a>(flag: Flag, template: &'a Option<Template>, row: &Row) -> Result<Option<Cow<'a, str>>, ComposeError> {
    let Some(path) = filled(template, row) else { return Ok(None) };
    flag.check(&path)?;
    // One that begins with a hyphen would be taken for an option.
    Ok(Some(if path.starts_with('-') { Cow::Owned(format!("./{path}")) } else { path }))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn begins_as_a_limit(command: &str) -> bool {
    command
        .split_once(':')
        .is_some_and(|(digits, _)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
#[path = "recipe_tests.rs"]
mod tests;
