//! `--results`: a row for each task of the command line, with its values, its outcome and its output, as CSV or JSON lines.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use tempfile::NamedTempFile;

use super::stream_file::{is_stream, open_stream};
use crate::cli::exit::CliError;
use crate::cli::status::{ExactStdout, StdoutSource, no_formula};
use crate::cli::submit::Files;
use crate::cli::task_set::{TaskEnd, TaskSet};
use crate::compose::Row;
use crate::model::Outcome;
use crate::model::snapshot::{Standing, TaskView};
use crate::queue::{Connection, inspect};

/// Tasks whose output is in memory at once.
const AT_ONCE: usize = 100;

/// The columns of every table, behind those of the values.
const COLUMNS: [&str; 8] = ["id", "state", "exit_code", "signal", "seconds", "attempts", "stdout", "command"];

/// A file for results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultsFile {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

/// The name of a file from which no format can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("valid: a name that ends in .csv or .jsonl")]
pub struct ResultsFileError;

impl FromStr for ResultsFile {
    type Err = ResultsFileError;

    fn from_str(text: &str) -> Result<Self, ResultsFileError> {
        let path = PathBuf::from(text);
        let format = match path.extension().and_then(OsStr::to_str) {
            Some("csv") => Format::Csv,
            Some("jsonl") => Format::JsonLines,
            Some(_) | None => return Err(ResultsFileError),
        };
        Ok(Self { path, format })
    }
}

/// A table in the making.
enum Begun {
    /// A pipe or a device.
    Stream(File),
    /// The new file, beside the old one.
    Beside(NamedTempFile),
}

impl Write for Begun {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(file) => file.write(bytes),
            Self::Beside(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(file) => file.flush(),
            Self::Beside(file) => file.flush(),
        }
    }
}

/// A task in the table.
struct Cells<'a> {
    /// The names of the columns of values.
    names: &'a [String],
    values: Vec<Option<String>>,
    command: String,
    task: TaskView,
}

impl ResultsFile {
    /// Refuses a file that cannot be written, before anything runs.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if self.path.is_dir() {
            return Err(CliError::Usage(format!("--results: {} is a directory", self.path.display())));
        }
        // The reader of a pipe that was opened and closed would take that for the end of the table.
        if is_stream(&self.path) { Ok(()) } else { self.begin_beside().map(drop) }
    }

    fn begin(&self) -> Result<Begun, CliError> {
        match open_stream(&self.path).map_err(|error| self.failed(error))? {
            Some(stream) => Ok(Begun::Stream(stream)),
            None => Ok(Begun::Beside(self.begin_beside()?)),
        }
    }

    /// The new file, beside the old one. Its mode is that of any new file.
    fn begin_beside(&self) -> Result<NamedTempFile, CliError> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        let begun = builder.prefix(".results").permissions(Permissions::from_mode(0o666)).tempfile_in(dir);
        begun.map_err(|error| self.failed(error))
    }

    /// Writes the whole file and puts it in its place: there is never a part of one. A pipe or a device gets the rows as they are.
    pub(super) async fn write(&self, conn: &Connection, files: &Files, members: &TaskSet) -> Result<(), CliError> {
        let names = column_names(&files.columns());
        let mut file = BufWriter::new(self.begin()?);
        if self.format == Format::Csv {
            let head = names.iter().map(String::as_str).chain(COLUMNS).map(str::to_owned).collect();
            csv_row(&mut file, head).map_err(|error| self.failed(error))?;
        }
        let mut seen = members.tally();
        let mut walk = files.walk();
        loop {
            let mut batch: Vec<(String, String, Vec<Option<String>>)> = Vec::new();
            while batch.len() < AT_ONCE {
                let Some(line) = walk.next()? else { break };
                // One that is there twice is one task.
                if let Some(task) = line.task.ok().filter(|task| seen.note(task.id(), TaskEnd::Open)) {
                    batch.push((task.as_str().to_owned(), walk.command().to_owned(), values(walk.row(), names.len())));
                }
            }
            if batch.is_empty() {
                break;
            }
            let lines: Vec<String> = batch.iter().map(|(line, ..)| line.clone()).collect();
            for (task, (_, command, values)) in inspect::tasks(conn, &lines).await?.into_iter().zip(batch) {
                let cells = Cells { names: &names, values, command, task };
                cells.write(self.format, &mut file).map_err(|error| self.failed(error))?;
            }
        }
        let file = file.into_inner().map_err(|error| self.failed(error.into_error()))?;
        match file {
            Begun::Stream(_) => Ok(()),
            Begun::Beside(file) => file.persist(&self.path).map(drop).map_err(|error| self.failed(error.error)),
        }
    }

    fn failed(&self, error: io::Error) -> CliError {
        CliError::io(format!("write the results to {}", self.path.display()), error)
    }
}

/// What each column of values is called: by its name or, where it has none or one of ours, by its placeholder.
fn column_names(names: &[String]) -> Vec<String> {
    let of = |(number, name): (usize, &String)| match name.as_str() {
        "" => format!("{{{number}}}"),
        name if COLUMNS.contains(&name) => format!("{{{name}}}"),
        name => name.to_owned(),
    };
    (1..).zip(names).map(of).collect()
}

fn values(row: Option<&Row>, columns: usize) -> Vec<Option<String>> {
    (0..columns).map(|column| row.and_then(|row| row.get(column)).map(str::to_owned)).collect()
}

impl Cells<'_> {
    fn write(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        match format {
            Format::JsonLines => {
                serde_json::to_writer(&mut *out, self)?;
                out.write_all(b"\n")
            }
            Format::Csv => csv_row(out, self.csv()),
        }
    }

    fn csv(&self) -> Vec<String> {
        let number = |number: Option<i32>| number.map_or_else(String::new, |number| number.to_string());
        let mut cells: Vec<String> = self.values.iter().map(|value| value.clone().unwrap_or_default()).collect();
        cells.extend([
            self.task.id.clone(),
            state(&self.task).to_owned(),
            number(self.outcome().and_then(Outcome::exit_code)),
            number(self.outcome().and_then(Outcome::signal)),
            self.seconds().map_or_else(String::new, |seconds| format!("{seconds:.3}")),
            self.attempts().to_string(),
            stdout(&self.task),
            self.command.clone(),
        ]);
        cells
    }

    fn outcome(&self) -> Option<Outcome> {
        self.task.last_attempt().map(|last| last.outcome)
    }

    /// How long the last attempt ran.
    fn seconds(&self) -> Option<f64> {
        let last = self.task.last_attempt()?;
        // Clocks tell milliseconds: what is beyond them is of the subtraction.
        last.start.map(|start| ((last.end - start).max(0.0) * 1000.0).round() / 1000.0)
    }

    fn attempts(&self) -> usize {
        self.task.attempts.iter().filter(|attempt| attempt.attempt > 0).count()
    }
}

impl Serialize for Cells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len() + COLUMNS.len()))?;
        for (name, value) in self.names.iter().zip(&self.values) {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("id", &self.task.id)?;
        map.serialize_entry("state", state(&self.task))?;
        map.serialize_entry("exit_code", &self.outcome().and_then(Outcome::exit_code))?;
        map.serialize_entry("signal", &self.outcome().and_then(Outcome::signal))?;
        map.serialize_entry("seconds", &self.seconds())?;
        map.serialize_entry("attempts", &self.attempts())?;
        map.serialize_entry("stdout", &stdout(&self.task))?;
        map.serialize_entry("command", &self.command)?;
        map.end()
    }
}

/// One word.
fn state(task: &TaskView) -> &'static str {
    Standing::of(&task.states).as_str()
}

/// All of it, as far as this machine has it.
fn stdout(task: &TaskView) -> String {
    match ExactStdout::of(task).source {
        StdoutSource::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        StdoutSource::File(mut file) => {
            let mut bytes = Vec::new();
            // What can be read of a file that goes away meanwhile is better than nothing.
            drop(file.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }
}

fn csv_row(out: &mut impl Write, cells: Vec<String>) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(cells.into_iter().map(no_formula))?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::super::sample_tests::ended_task;
    use super::*;

    #[test]
    fn the_name_of_a_file_says_its_format() {
        let format = |text: &str| text.parse::<ResultsFile>().map(|file| file.format);
        assert_eq!(format("a/b.csv"), Ok(Format::Csv));
        assert_eq!(format("r.jsonl"), Ok(Format::JsonLines));
        assert_eq!(format("r.json"), Err(ResultsFileError));
        assert_eq!(format("csv"), Err(ResultsFileError));
    }

    #[test]
    fn columns_have_names_of_their_own() {
        let names = ["", "trace", "state"].map(str::to_owned);
        assert_eq!(column_names(&names), ["{1}", "trace", "{state}"]);
    }

    #[test]
    fn a_row_says_what_was_asked_for_and_what_came_of_it() {
        let names = vec!["{1}".to_owned(), "b".to_owned()];
        let task = ended_task("shell:0:0:1:echo", 0, 1.5);
        let values = vec![Some("=x".to_owned()), None];
        let cells = Cells { names: &names, values, command: "echo, \"a\"".to_owned(), task };
        let written = |format| {
            let mut out = Vec::new();
            cells.write(format, &mut out).expect("memory");
            String::from_utf8(out).expect("UTF-8")
        };
        let id = &cells.task.id;
        assert_eq!(
            written(Format::JsonLines),
            format!(
                "{{\"{{1}}\":\"=x\",\"b\":null,\"id\":\"{id}\",\"state\":\"finished\",\"exit_code\":0,\"signal\":null,\"seconds\":1.0,\"attempts\":1,\"stdout\":\"out\",\"command\":\"echo, \\\"a\\\"\"}}\n"
            )
        );
        assert_eq!(written(Format::Csv), format!("'=x,,{id},finished,0,,1.000,1,out,\"echo, \"\"a\"\"\"\n"));
    }
}
