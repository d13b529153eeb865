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
                (None, Some(belonging)) => belonging.name().top().to_string(),
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
mod tests {
    use super::*;
    use crate::model::TaskLine;
    use proptest::prelude::*;
    use std::process::Command;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn row(values: &[&str]) -> Row {
        Row::of(1, values.iter().map(|value| some(value)).collect())
    }

    fn compose(command: &str, settings: &Settings, values: &[&str]) -> Result<String, String> {
        let recipe = Recipe::new(Template::parse(command, &[]), settings, &[], values.len())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        let mut out = Composed::default();
        recipe.compose(&row(values), FieldOrder::MemCpuPrio, &mut out).map_err(|error| error.to_string())?;
        Ok(out.line)
    }

    #[test]
    fn fields_come_from_flags_and_their_placeholders() {
        let settings = Settings {
            mem: some("{2}"),
            cpus: some("2"),
            priority: some("5"),
            timeout: some("1h30m"),
            ..Settings::default()
        };
        assert_eq!(compose("./sim {1}", &settings, &["a b", "0.5"]).unwrap(), "shell:0.5:2:5:5400:./sim 'a b'");
        assert_eq!(compose("./sim", &Settings::default(), &[]).unwrap(), "shell:0:1:0:./sim");
        let learns = |mem: &str| Settings { mem: some(mem), ..Settings::default() };
        assert_eq!(compose("./sim x", &learns("auto"), &[]).unwrap(), "shell,learn=sim:0:1:0:./sim x");
        assert_eq!(compose("./sim {1}", &learns("auto:f-{1}"), &["7"]).unwrap(), "shell,learn=f-7:0:1:0:./sim 7");
        let named = Settings { name: some("s1/prep"), ..learns("auto") };
        assert_eq!(compose("./sim", &named, &[]).unwrap(), "shell,learn=s1:0:1:0:./sim");
        let python = Settings { kind: some("python"), timeout: some("0"), ..Settings::default() };
        assert_eq!(compose("print(1)", &python, &[]).unwrap(), "python:0:1:0:0:print(1)");
    }

    #[test]
    fn bad_values_are_named_with_what_is_valid() {
        for (settings, expected) in [
            (Settings { mem: some("4G"), ..Settings::default() }, "--mem is \"4G\"; valid: a decimal number of GB"),
            (
                Settings { mem: some("auto:a b"), ..Settings::default() },
                "--mem is \"auto:a b\"; valid: a decimal number of GB",
            ),
            (
                Settings { cpus: some("{1}"), ..Settings::default() },
                "--cpus is \"v\"; valid: a decimal number of cores",
            ),
            (
                Settings { priority: some("70000"), ..Settings::default() },
                "--priority is \"70000\"; valid: an integer from 0 to 65535",
            ),
            (Settings { priority: some("+1"), ..Settings::default() }, "--priority is \"+1\""),
            (Settings { timeout: some("-1h"), ..Settings::default() }, "--timeout is \"-1h\""),
            (Settings { kind: some("bash"), ..Settings::default() }, "--type is \"bash\"; valid: shell, python, demo"),
            (Settings { env: vec!["1A=x".to_owned()], ..Settings::default() }, "--env is \"1A=x\""),
            (Settings { cwd: some(""), ..Settings::default() }, "--cwd is \"\"; valid: a path"),
            (
                Settings { kind: some("demo"), stdin: some("f"), ..Settings::default() },
                "--cwd, --env, --stdin, --output and --error are of shell tasks",
            ),
            (
                Settings { mem: some("{3}"), output: some("{4}"), ..Settings::default() },
                "--mem: {3}: there is 1 column; --output: {4}: there is 1 column",
            ),
        ] {
            let error = compose("x", &settings, &["v"]).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_command_that_begins_as_a_limit_stays_a_command() {
        for (settings, cmd) in
            [(Settings::default(), " 8080:x"), (Settings { timeout: some("5"), ..Settings::default() }, "8080:x")]
        {
            let line = compose("8080:x", &settings, &[]).unwrap();
            let task = TaskLine::parse(&line, FieldOrder::MemCpuPrio).unwrap();
            assert_eq!((task.cmd(), task.timeout()), (cmd, settings.timeout.map(|_| 5)), "{line}");
        }
    }

    /// Runs the command of a line as a worker does.
    fn run(line: &str, shell: &str, dir: &std::path::Path) -> (i32, String, String) {
        let task = TaskLine::parse(line, FieldOrder::MemCpuPrio).unwrap();
        let output = Command::new(shell).arg("-c").arg(task.cmd()).current_dir(dir).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    #[test]
    fn directory_variables_and_files_reach_the_command_in_any_shell() {
        for shell in ["sh", "bash"] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("a b")).unwrap();
            std::fs::write(dir.path().join("a b/-in"), "from 'in'\n").unwrap();
            let settings = Settings {
                cwd: some("a b"),
                env: vec!["A=it's $HOME \"x\" {1}".to_owned(), "B=".to_owned()],
                stdin: some("-in"),
                output: some("lo gs/{1}.out"),
                error: some("lo gs/{1}.err"),
                ..Settings::default()
            };
            let line = compose("cat; echo \"$A|$B|{1}\"; echo oops >&2", &settings, &["v"]).unwrap();
            assert_eq!(run(&line, shell, dir.path()), (0, String::new(), String::new()), "{shell}: {line}");
            let read = |name: &str| std::fs::read_to_string(dir.path().join("a b/lo gs").join(name)).unwrap();
            assert_eq!(read("v.out"), "from 'in'\nit's $HOME \"x\" v||v\n", "{shell}");
            assert_eq!(read("v.err"), "oops\n", "{shell}");
            let both = Settings { output: some("both"), error: some("both"), ..Settings::default() };
            let line = compose("echo 1; echo 2 >&2", &both, &[]).unwrap();
            assert_eq!(run(&line, shell, dir.path()).0, 0);
            assert_eq!(std::fs::read_to_string(dir.path().join("both")).unwrap(), "1\n2\n");
        }
    }

    #[test]
    fn what_is_missing_ends_the_task_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plain"), "").unwrap();
        for shell in ["sh", "bash"] {
            for settings in [
                Settings { cwd: some("no such"), ..Settings::default() },
                Settings { stdin: some("no such"), ..Settings::default() },
                Settings { output: some("plain/no such/x"), ..Settings::default() },
                Settings { error: some("./"), ..Settings::default() },
            ] {
                let line = compose("echo ran; echo ran", &settings, &[]).unwrap();
                let (code, stdout, stderr) = run(&line, shell, dir.path());
                assert_eq!((code, stdout.as_str()), (125, ""), "{shell}: {line}");
                assert!(["no such", "plain", "./"].iter().any(|name| stderr.contains(name)), "{shell}: {stderr}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_composed_parses_to_what_was_said(
            command in "[^\0{]{1,30}", value in "[^\0]{0,10}", mem in 0..100_u32, timeout in prop::option::of(0..100_u32), cwd in prop::option::of("[^\0]{1,10}"),
        ) {
            let settings = Settings {
                mem: Some(mem.to_string()), timeout: timeout.map(|seconds| seconds.to_string()), cwd: cwd.clone(), ..Settings::default()
            };
            let Ok(line) = compose(&command, &settings, &[&value]) else { return Ok(()) };
            let task = TaskLine::parse(&line, FieldOrder::MemCpuPrio).unwrap();
            prop_assert_eq!(task.demand().mem(), Bytes(u64::from(mem) << 30));
            prop_assert_eq!(task.timeout(), timeout.map(u64::from));
            prop_assert!(task.cmd().contains(&command), "{}", line);
        }
    }
}
