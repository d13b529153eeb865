//! Where the tasks of a command line come from: files of task lines, commands or JSON objects, or a command with sources of values.

use std::fs::File;
use std::io::{BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};

use regex::Regex;

use super::batch_flags::{BatchFlags, BatchSettings, check_name};
use super::blocks::{Blocks, Form, Scope};
use super::flags::{FieldFlags, SourceFlags};
use super::input::{Input, are_there};
use crate::cli::exit::CliError;
use crate::cli::output::warn_of;
use crate::compose::arguments::{self, Arguments, Words};
use crate::compose::joblog::Done;
use crate::compose::source::{Source, Splitting};
use crate::compose::sources::Rows;
use crate::compose::{BelongingRecipe, ComposeError, NeedRecipe, Recipe, Settings, Sources, Template, array};
use crate::model::{LimitName, NoLimitName};

/// What the arguments of a submission or a local run name, opened once and read as often as needed.
pub(crate) struct Origin {
    what: What,
    /// Commands of `--resume`.
    done: Done,
    /// What the command line says about the batch, where tasks are made of a command.
    scope: Scope,
    /// What the directives say where there is no file.
    no_blocks: Blocks,
}

/// What makes the tasks.
pub(super) enum What {
    /// The lines of these files.
    Files(Vec<(Input, Blocks)>, Scope),
    /// A command, for each row.
    Rows(Sources, Recipe),
    /// A command.
    One(Recipe),
}

impl What {
    /// The files, and what their directives say.
    pub(super) fn files(&self) -> &[(Input, Blocks)] {
        match self {
            Self::Files(files, _) => files,
            Self::Rows(..) | Self::One(_) => &[],
        }
    }
}

/// What a command line says about tasks.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) files: &'a [PathBuf],
    pub(crate) fields: &'a FieldFlags,
    pub(crate) sources: &'a SourceFlags,
    /// `--name`.
    pub(crate) name: Option<&'a str>,
    pub(crate) batch: &'a BatchFlags,
}

impl From<ComposeError> for CliError {
    fn from(error: ComposeError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl Named<'_> {
    /// Checks what needs no file to be read, and whether all files are there.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        let Self { files, sources, .. } = self;
        if let Some(mark) = files.iter().find_map(|file| arguments::mark(file.to_str()?)) {
            return Err(CliError::Usage(format!(
                "{mark} belongs to a command: write -- before it: -- COMMAND {mark} …"
            )));
        }
        if !sources.command.is_empty() && !files.is_empty() {
            let file = files[0].display();
            return Err(CliError::Usage(format!(
                "{file} and a command: give either files of tasks, or a command after --; for values of the command from a file, use :::: {file}"
            )));
        }
        if !sources.command.is_empty() && (sources.commands || sources.jsonl) {
            let flag = if sources.commands { "--commands" } else { "--jsonl" };
            return Err(CliError::Usage(format!(
                "{flag} cannot be used with a command after --: it says how to read a file"
            )));
        }
        let arguments = Arguments::parse(&sources.command).map_err(|error| CliError::Usage(error.to_string()))?;
        let of_arguments = arguments.sources.iter().filter_map(|given| match &given.words {
            Words::OfFile(file) => Some(PathBuf::from(file)),
            Words::Here(_) => None,
        });
        let all: Vec<PathBuf> = (files.iter().chain(&sources.arg_file).chain(&sources.csv).chain(&sources.resume))
            .cloned()
            .chain(of_arguments)
            .collect();
        if all.iter().filter(|path| *path == Path::new("-")).count() > 1 {
            return Err(CliError::Usage("- (standard input) can be read only once".to_owned()));
        }
        are_there(&all).map_err(|error| self.with_hint(error))
    }

    /// What the flags say about every task.
    fn scope(&self) -> Result<Scope, CliError> {
        let batch: BatchSettings = self.batch.settings().map_err(CliError::Usage)?;
        let (name, tags) = (self.name.map(str::to_owned), self.batch.tag.clone());
        let settings = Settings { name: name.clone(), tags, ..self.fields.settings() };
        Ok(Scope { settings, batch, base: name, ..Scope::default() })
    }

    /// Words of a command without `--` before them are taken for files.
    fn with_hint(&self, error: CliError) -> CliError {
        let has_blank = |path: &PathBuf| path.to_string_lossy().contains(char::is_whitespace);
        let looks_like_a_command = self.files.len() > 1 || self.files.iter().any(has_blank);
        if !looks_like_a_command || self.files.iter().skip(1).any(|path| path.exists()) {
            return error;
        }
        let words: Vec<_> = self.files.iter().map(|path| path.to_string_lossy()).collect();
        CliError::Usage(format!("{error}\nto run a command, write -- before it: -- {}", words.join(" ")))
    }
}

/// Commands that are piped in need no `-`, as in GNU parallel.
pub(crate) fn read_stdin_if_alone(files: &mut Vec<PathBuf>, sources: &SourceFlags) -> Result<(), CliError> {
    if !files.is_empty() || !sources.command.is_empty() {
        return Ok(());
    }
    if !(sources.commands || sources.jsonl) || std::io::stdin().is_terminal() {
        return Err(CliError::Usage(
            "there are no tasks: give a command after -- (-- ./sim {} ::: a b), files of commands after --commands, or task files".to_owned(),
        ));
    }
    files.push(PathBuf::from("-"));
    Ok(())
}

impl Origin {
    /// Opens everything that is named, and measures the sources.
    pub(crate) fn open(named: Named<'_>) -> Result<Self, CliError> {
        named.check()?;
        let done = match &named.sources.resume {
            Some(path) => read_joblog(path)?,
            None => Done::default(),
        };
        let scope = named.scope()?;
        let settings = scope.settings.clone();
        let what = if named.sources.command.is_empty() {
            let form = match (named.sources.commands, named.sources.jsonl) {
                (true, _) => Form::Commands,
                (_, true) => Form::Json,
                (false, false) => Form::TaskLines,
            };
            let inputs = CliError::all(named.files.iter().map(|path| Input::open(path)))?;
            match form {
                Form::TaskLines => {
                    checked(NeedRecipe::of_whole_lines(&settings.needs))?;
                    checked(BelongingRecipe::of_whole_lines(&settings))?;
                }
                Form::Commands | Form::Json => drop(checked(Recipe::of_whole_commands(&settings))?),
            }
            let scope = Scope { form, ..scope.clone() };
            let read = |input: Input| {
                let blocks = Blocks::read(&mut input.lines()?, &scope).map_err(|error| input.failed(error))?;
                Ok((input, blocks))
            };
            let files = inputs.into_iter().map(read).collect::<Result<Vec<_>, CliError>>()?;
            faults_of(&files)?;
            What::Files(files, scope)
        } else {
            check_name(named.batch, named.name.is_some())?;
            of_command(named.sources, settings)?
        };
        Ok(Self { what, done, scope, no_blocks: Blocks::default() })
    }

    /// Whether a command is made into tasks, rather than files read.
    pub(super) fn is_composed(&self) -> bool {
        match self.what {
            What::Files(..) => false,
            What::Rows(..) | What::One(_) => true,
        }
    }

    /// The lines of task files, with no flags about them.
    pub(crate) fn of_files(files: &[PathBuf]) -> Result<Self, CliError> {
        let (fields, sources) = (FieldFlags::default(), SourceFlags::default());
        let batch = BatchFlags::default();
        Self::open(Named { files, fields: &fields, sources: &sources, name: None, batch: &batch })
    }

    pub(super) fn what(&self) -> &What {
        &self.what
    }

    /// What the directives of no file say.
    pub(super) fn no_blocks(&self) -> &Blocks {
        &self.no_blocks
    }

    /// What the command line says about the batch.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The rows of the sources, from the first.
    pub(super) fn rows(&self) -> Result<Rows<'_>, CliError> {
        match &self.what {
            What::Rows(sources, _) => Ok(sources.rows()?),
            What::Files(..) | What::One(_) => {
                Err(CliError::Usage("cannot combine values: no ::: or :::: follows the command".to_owned()))
            }
        }
    }

    /// The names of the columns from which the tasks are made, empty for those without one; no column where they are made of lines of files.
    pub(super) fn columns(&self) -> Vec<String> {
        match &self.what {
            What::Rows(sources, _) => {
                let mut names = sources.names().to_vec();
                names.resize(sources.columns(), String::new());
                names
            }
            What::Files(..) | What::One(_) => Vec::new(),
        }
    }

    /// Whether a job log says that this command has ended with 0.
    pub(super) fn is_done(&self, command: &str) -> bool {
        self.done.contains(command)
    }

    /// Size of the files in bytes; 0 where tasks are made of a command.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.what {
            What::Files(files, _) => files.iter().map(|(input, _)| input.len()).sum(),
            What::Rows(..) | What::One(_) => 0,
        }
    }

    /// How many tasks there are, where that is known beforehand; else 0.
    pub(crate) fn expected(&self) -> u64 {
        match &self.what {
            What::Files(..) => 0,
            What::Rows(sources, _) => sources.tasks(),
            What::One(_) => 1,
        }
    }

    /// Whether the lines of files are read as task lines where no directive says otherwise.
    pub(super) fn is_of_task_lines(&self) -> bool {
        matches!(&self.what, What::Files(_, Scope { form: Form::TaskLines, .. }))
    }
}

fn checked<T>(made: Result<T, Vec<ComposeError>>) -> Result<T, CliError> {
    made.map_err(|faults| CliError::Usage(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

/// What makes files useless as a whole: their directives name no batch, or cannot be honoured.
fn faults_of(files: &[(Input, Blocks)]) -> Result<(), CliError> {
    let of_file = |(input, blocks): &(Input, Blocks)| {
        let said = |(line, fault): &(u64, String)| match line {
            0 => fault.clone(),
            line => format!("{}:{line}: {fault}", input.name()),
        };
        blocks.faults.iter().map(said).collect::<Vec<_>>()
    };
    let mut faults: Vec<String> = files.iter().flat_map(of_file).collect();
    faults.dedup();
    if faults.is_empty() { Ok(()) } else { Err(CliError::Usage(faults.join("\n"))) }
}

/// A command, with or without sources. Sources of flags come before those that stand behind the command.
fn of_command(flags: &SourceFlags, mut settings: Settings) -> Result<What, CliError> {
    let arguments = Arguments::parse(&flags.command).map_err(|error| CliError::Usage(error.to_string()))?;
    settings.needs.limit.extend(limit_of_array(flags, settings.name.as_deref())?);
    let mut groups = sources_of_flags(flags)?;
    for given in arguments.sources {
        let source = match given.words {
            Words::Here(words) => Source::Words(words),
            Words::OfFile(path) => Source::Lines(Input::open(Path::new(&path))?.into_values()),
        };
        match groups.last_mut().filter(|_| given.is_linked) {
            Some(group) => group.push(source),
            None => groups.push(vec![source]),
        }
    }
    let words = &arguments.command;
    if groups.is_empty() {
        if let Some(word) = words.iter().find(|word| Template::parse(word, &[]).has_placeholder()) {
            let text = "has placeholders and no values, so that they are left as they are; values come from ::: VALUE..., :::: FILE, or -a - (standard input)";
            warn_of("COMMAND", &format!("{word} {text}"));
        }
        return Ok(What::One(checked(Recipe::new(Template::literal(&joined(words, flags.quote)), &settings, &[], 0))?));
    }
    if let Some(word) = words.iter().find(|word| word.contains("{%}") || word.contains("{=")) {
        return Err(CliError::Usage(format!(
            "COMMAND: {word}: of GNU parallel's placeholders, {{%}} and {{= ... =}} are not supported; valid: {{}} {{.}} {{/}} {{//}} {{/.}} {{#}} {{N}} {{NAME}}"
        )));
    }
    let sources = Sources::measure(groups, splitting(flags)?)?;
    let command = Template::of_words(words, sources.names(), flags.quote).with_all_appended();
    let recipe = checked(Recipe::new(command, &settings, sources.names(), sources.columns()))?;
    Ok(What::Rows(sources, recipe))
}

fn joined(words: &[String], quote: bool) -> String {
    let word = |word: &String| if quote { crate::compose::template::quoted(word).into_owned() } else { word.clone() };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn array_of(text: &str) -> Result<array::Array, CliError> {
    text.parse().map_err(|error: array::ArrayError| CliError::Usage(format!("--array is {text:?}; {error}")))
}

/// `%N`: a limit of N with the name of the batch, as `--limit` has it.
fn limit_of_array(flags: &SourceFlags, batch: Option<&str>) -> Result<Option<String>, CliError> {
    let Some(text) = &flags.array else { return Ok(None) };
    let Some(most) = array_of(text)?.at_once else { return Ok(None) };
    let wrong = |what: String| CliError::Usage(format!("--array is {text:?}; {what}"));
    let batch = batch.ok_or_else(|| wrong("%N is of a batch: give it a name with --name".to_owned()))?;
    match batch.parse::<LimitName>() {
        Ok(name) => Ok(Some(format!("{name}={most}"))),
        Err(NoLimitName) => Err(wrong(format!(
            "%{most} makes a limit with the name of the batch, and {batch:?} cannot be one ({}): leave %{most} out and give --limit NAME={most}, or another --name",
            LimitName::VALID
        ))),
    }
}

fn sources_of_flags(flags: &SourceFlags) -> Result<Vec<Vec<Source>>, CliError> {
    let mut groups = Vec::new();
    if let Some(text) = &flags.array {
        groups.push(vec![Source::Array(array_of(text)?)]);
    }
    for path in &flags.arg_file {
        groups.push(vec![Source::Lines(Input::open(path)?.into_values())]);
    }
    let delimiter = match &flags.colsep {
        None => b',',
        Some(_) if flags.csv.is_empty() => b',',
        Some(text) => match text.as_bytes() {
            [byte] => *byte,
            b"\\t" => b'\t',
            _ => return Err(CliError::Usage(format!("--colsep is {text:?}; valid with --csv: one character, or \\t"))),
        },
    };
    for path in &flags.csv {
        groups.push(vec![Source::Csv(Input::open(path)?.into_values(), delimiter)]);
    }
    Ok(groups)
}

fn splitting(flags: &SourceFlags) -> Result<Splitting, CliError> {
    if let Some(header) = flags.header.as_ref().filter(|header| *header != ":") {
        return Err(CliError::Usage(format!("--header is {header:?}; valid: \":\"")));
    }
    let separator = flags.colsep.as_ref().filter(|_| flags.csv.is_empty()).map(|text| {
        Regex::new(text)
            .map_err(|error| CliError::Usage(format!("--colsep is {text:?}; valid: a regular expression ({error})")))
    });
    Ok(Splitting { separator: separator.transpose()?, has_header: flags.header.is_some() })
}

fn read_joblog(path: &Path) -> Result<Done, CliError> {
    let failed = |error| CliError::io(format!("read {}", path.display()), error);
    Done::read(BufReader::new(File::open(path).map_err(failed)?)).map_err(failed)
}
