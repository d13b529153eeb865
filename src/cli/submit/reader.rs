//! Goes through the tasks that a command line names, in order, checked; the same each time while its files stay as they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use super::batches::MOST_KEPT;
use super::blocks::{Blocks, Scope};
use super::checked_line::{CheckedLine, Place};
use super::composer::Composer;
use super::hooks::Hooks;
use super::input::Input;
use super::origin::{Origin, What};
use super::task_file::{ParseRules, TaskFile};
use crate::cli::exit::CliError;
use crate::compose::sources::Rows;
use crate::compose::{Composed, Recipe, Row};
use crate::model::{BatchName, Belonging, TaskKind, TaskLine};

/// Every task, in order.
pub(crate) struct TaskReader<'a> {
    origin: &'a Origin,
    rules: ParseRules,
    reading: Reading<'a>,
    /// Tasks that a job log says have ended.
    left_out: u64,
    /// Their names, and what holds for them.
    ended: BTreeMap<BatchName, &'a Scope>,
    /// All tasks so far, those included.
    number: u64,
    /// The commands for the ends of the batches that were met.
    hooks: Hooks<'a>,
}

enum Reading<'a> {
    Files(Box<FileReading<'a>>),
    Rows(Option<Rows<'a>>, &'a Recipe, Composed),
    /// One command without sources.
    One(Option<&'a Recipe>, Composed),
}

struct FileReading<'a> {
    inputs: std::slice::Iter<'a, (Input, Blocks)>,
    current: Option<(&'a Input, TaskFile<BufReader<&'a File>>)>,
    composer: Composer<'a>,
}

impl<'a> TaskReader<'a> {
    /// Begins at the first task; files are opened again when their turn comes.
    pub(crate) fn new(origin: &'a Origin, rules: ParseRules) -> Self {
        let reading = match origin.what() {
            What::Files(inputs, _) => Reading::Files(Box::new(FileReading {
                inputs: inputs.iter(),
                current: None,
                composer: Composer::new(rules, inputs.first().map_or(origin.no_blocks(), |(_, blocks)| blocks)),
            })),
            What::Rows(_, recipe) => Reading::Rows(None, recipe, Composed::default()),
            What::One(recipe) => Reading::One(Some(recipe), Composed::default()),
        };
        Self { origin, rules, reading, left_out: 0, ended: BTreeMap::new(), number: 0, hooks: Hooks::default() }
    }

    /// How many tasks were passed over so far that a job log says have ended.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The names of those, and what holds for them: the first ones.
    pub(super) fn take_ended(&mut self) -> BTreeMap<BatchName, &'a Scope> {
        std::mem::take(&mut self.ended)
    }

    /// The place of the task given last among all of the command line, from 1: those that a job log leaves out keep theirs.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The command of the task given last, as it was asked for.
    pub(crate) fn command(&self) -> &str {
        match &self.reading {
            Reading::Files(files) => files.composer.command(),
            Reading::Rows(_, _, composed) | Reading::One(_, composed) => &composed.command,
        }
    }

    /// The values of the task given last, where it is made of sources.
    pub(crate) fn row(&self) -> Option<&Row> {
        match &self.reading {
            Reading::Rows(rows, ..) => rows.as_ref().map(Rows::row),
            Reading::Files(_) | Reading::One(..) => None,
        }
    }

    /// The next task; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<CheckedLine<'a>>, CliError> {
        loop {
            let Some(line) = self.step()? else { return Ok(self.hooks.next(self.rules)) };
            self.number += 1;
            if line.task.is_ok() {
                self.hooks.meet(line.scope, line.belonging.as_ref());
            }
            if line.task.is_ok() && self.origin.is_done(self.command()) {
                self.left_out += 1;
                if let Some(name) = line.belonging.as_ref().map(Belonging::name)
                    && self.ended.len() < MOST_KEPT
                    && !self.ended.contains_key(name)
                {
                    self.ended.insert(name.clone(), line.scope);
                }
                continue;
            }
            return Ok(Some(line));
        }
    }

    fn step(&mut self) -> Result<Option<CheckedLine<'a>>, CliError> {
        match &mut self.reading {
            Reading::Files(files) => files.step(),
            Reading::Rows(rows, recipe, composed) => {
                let rows = match rows {
                    Some(rows) => rows,
                    None => rows.insert(self.origin.rows()?),
                };
                let Some(row) = rows.next_row()? else { return Ok(None) };
                let task = make(recipe, row, self.rules, composed);
                Ok(Some(made(row.number, task, composed, self.origin)))
            }
            Reading::One(recipe, composed) => {
                let Some(recipe) = recipe.take() else { return Ok(None) };
                let task = make(recipe, &Row::of(1, Vec::new()), self.rules, composed);
                Ok(Some(made(1, task, composed, self.origin)))
            }
        }
    }
}

/// A task that is made of a command.
fn made<'a>(number: u64, task: Result<TaskLine, String>, composed: &Composed, origin: &'a Origin) -> CheckedLine<'a> {
    let (belonging, limits) = (composed.belonging.clone(), composed.limits.clone());
    CheckedLine { place: Place::Made(number), task, is_meant: true, belonging, limits, scope: origin.scope() }
}

fn make(recipe: &Recipe, row: &Row, rules: ParseRules, composed: &mut Composed) -> Result<TaskLine, String> {
    recipe.compose(row, rules.order, composed).map_err(|error| error.to_string())?;
    rules.check(&composed.line)
}

impl<'a> FileReading<'a> {
    fn step(&mut self) -> Result<Option<CheckedLine<'a>>, CliError> {
        loop {
            if let Some((input, file)) = &mut self.current {
                while let Some(line) = file.next().map_err(|error| input.failed(error))? {
                    let place = Place::Line(input.name(), line.number);
                    if line.is_directive {
                        let Err(problem) = self.composer.direct(line.number) else { continue };
                        let scope = self.composer.scope();
                        let task = Err(problem);
                        let (belonging, limits) = (None, Vec::new());
                        return Ok(Some(CheckedLine { place, task, is_meant: true, belonging, limits, scope }));
                    }
                    let has_kind = |text: &&str| TaskKind::ALL.iter().any(|kind| begins_with(text, kind.as_str()));
                    let is_meant = !self.composer.reads_task_lines() || line.text.as_ref().is_ok_and(has_kind);
                    let task = line.text.and_then(|text| self.composer.make(text));
                    let (belonging, scope) = (self.composer.belonging().cloned(), self.composer.scope());
                    let limits = self.composer.limits().to_vec();
                    return Ok(Some(CheckedLine { place, task, is_meant, belonging, limits, scope }));
                }
            }
            let Some((input, blocks)) = self.inputs.next() else { return Ok(None) };
            self.composer.begin_file(blocks);
            self.current = Some((input, input.lines()?));
        }
    }
}

fn begins_with(line: &str, kind: &str) -> bool {
    line.strip_prefix(kind).is_some_and(|rest| rest.starts_with([':', ',']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FieldOrder;
    use std::io::Write;

    #[test]
    fn lines_carry_their_file_and_number() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"# head\nshell:1:1:1:a\nbad\n#DC --memm 1\n").unwrap();
        let origin = Origin::of_files(&[file.path().to_owned(), file.path().to_owned()]).unwrap();
        let mut reader = TaskReader::new(&origin, ParseRules { order: FieldOrder::MemCpuPrio, python_workers: false });
        let mut seen = Vec::new();
        while let Some(line) = reader.next().unwrap() {
            let Place::Line(_, number) = line.place else { panic!("a file") };
            seen.push((number, line.task.is_ok()));
        }
        assert_eq!(seen, [(2, true), (3, false), (4, false), (2, true), (3, false), (4, false)]);
    }
}
