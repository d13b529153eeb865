//! `--joblog`: a row for each task that has ended, appended to a file that GNU parallel, and `--resume`, can read.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::stream_file::open_stream;
use crate::cli::exit::CliError;
use crate::cli::joblog::{HEAD, command_cell, row, start_time};
use crate::model::snapshot::TaskView;

/// The file, open for more rows.
pub(super) struct JobLogFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// On one, commands move nothing.
    is_terminal: bool,
    /// Attempts that have a row, by their start and command: eight bytes each.
    rows: HashSet<u64>,
}

impl JobLogFile {
    /// Opens a file, which may have rows of earlier runs, and makes one with a header where there is none. A row that a crash cut off is removed. A pipe or
    /// a device is written without being read.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let failed = |error| CliError::io(format!("write the job log {}", path.display()), error);
        if let Some(file) = open_stream(path).map_err(failed)? {
            let is_terminal = file.is_terminal();
            let mut log = Self { path: path.to_owned(), file: BufWriter::new(file), is_terminal, rows: HashSet::new() };
            writeln!(log.file, "{HEAD}").and_then(|()| log.file.flush()).map_err(failed)?;
            return Ok(log);
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let rows = match read(&mut file).map_err(failed)? {
            Some((rows, whole)) => {
                file.set_len(whole).map_err(failed)?;
                rows
            }
            None => {
                return Err(CliError::Usage(format!(
                    "{} is no job log: its first line is not the header of one; give another file with --joblog",
                    path.display()
                )));
            }
        };
        let end = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut log = Self { path: path.to_owned(), file: BufWriter::new(file), is_terminal: false, rows };
        if end == 0 {
            writeln!(log.file, "{HEAD}").and_then(|()| log.file.flush()).map_err(failed)?;
        }
        Ok(log)
    }

    /// Adds the row of a task that has ended, unless its last attempt has one. [`Self::flush`] hands it over.
    pub(super) fn add(&mut self, task: &TaskView, command: &str, number: u64) -> Result<(), CliError> {
        let Some(last) = task.last_attempt() else { return Ok(()) };
        let cell = if self.is_terminal { command_cell(command) } else { command.replace('\n', "\0") };
        let Some(row) = row(task, &cell, number) else { return Ok(()) };
        if !self.rows.insert(key(&start_time(last.start.unwrap_or(last.end)), cell.as_bytes())) {
            return Ok(());
        }
        writeln!(self.file, "{row}").map_err(|error| self.failed(error))
    }

    /// Hands the rows over.
    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        self.file.flush().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> CliError {
        CliError::io(format!("write the job log {}", self.path.display()), error)
    }
}

/// The rows that are there, and the length of what is whole; `None` where it is no job log.
fn read(file: &mut File) -> io::Result<Option<(HashSet<u64>, u64)>> {
    let mut reader = BufReader::with_capacity(128 * 1024, file);
    let (mut rows, mut whole) = (HashSet::new(), 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            // Of a header that was cut off only the beginning is there.
            let is_ours = whole > 0 || HEAD.as_bytes().starts_with(&line) || length == 0;
            return Ok(is_ours.then_some((rows, whole)));
        }
        if whole == 0 && line != HEAD.as_bytes() {
            return Ok(None);
        }
        let mut columns = line.splitn(9, |byte| *byte == b'\t');
        if let (Some(start), Some(command)) = (columns.nth(2), columns.nth(5)) {
            rows.insert(key(&String::from_utf8_lossy(start), command));
        }
        whole += length as u64;
    }
}

fn key(start: &str, command: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (start, command).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::sample_tests::ended_task;
    use super::*;

    #[test]
    fn rows_are_added_once_however_a_run_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (task, command) = (ended_task("shell:0:0:1:echo", 0, 1.5), "echo\n'a\tb'");
        let mut log = JobLogFile::open(&path).unwrap();
        log.add(&task, command, 3).unwrap();
        log.add(&task, command, 3).unwrap();
        log.flush().unwrap();
        let expected = format!("{HEAD}\n3\tw\t1.500\t     1.000\t0\t0\t0\t0\techo\0'a\tb'\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        for cut in ["4\tw\t2.0", ""] {
            std::fs::write(&path, format!("{expected}{cut}")).unwrap();
            let mut log = JobLogFile::open(&path).unwrap();
            log.add(&task, command, 3).unwrap();
            log.flush().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
        let mut log = JobLogFile::open(&path).unwrap();
        log.add(&ended_task("shell:0:0:1:echo", 1, 9.0), command, 3).unwrap();
        log.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3, "it ran again");
    }

    #[test]
    fn a_file_of_another_kind_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        for (text, is_log) in [("./sim 1\n", false), ("./sim", false), ("", true), ("Seq\tHo", true)] {
            let path = dir.path().join("file");
            std::fs::write(&path, text).unwrap();
            assert_eq!(JobLogFile::open(&path).is_ok(), is_log, "{text:?}");
            let expected = if is_log { format!("{HEAD}\n") } else { text.to_owned() };
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
    }
}
