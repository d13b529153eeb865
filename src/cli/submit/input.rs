//! The files to submit. Each is read twice: once to check every line, once to send them. Input that cannot be read twice is copied to disk.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::file_kind::{LOOKED_AT, not_text};
use super::task_file::TaskFile;
use crate::cli::exit::CliError;
use crate::cli::output::detail;
use crate::compose::source::ValueFile;
use crate::model::Belonging;
use crate::queue::submit::{BATCH, BATCH_BYTES};

/// One file, opened once, so that replacing it under its name changes nothing.
pub(crate) struct Input {
    name: String,
    file: File,
    len: u64,
    /// The byte that ends a line.
    end: u8,
}

impl Input {
    /// Opens what a command line names; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        let name = path.display().to_string();
        let failed = |error| CliError::io(format!("read {name}"), error);
        let is_stdin = path == Path::new("-");
        let file = if is_stdin {
            if io::stdin().is_terminal() {
                detail("reading standard input from the terminal; Ctrl-D ends it");
            }
            spool(io::stdin().lock()).map_err(failed)?
        } else {
            let file = File::open(path).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            if metadata.is_dir() {
                return Err(a_directory(path));
            }
            if metadata.is_file() { file } else { spool(file).map_err(failed)? }
        };
        let len = file.metadata().map_err(failed)?.len();
        let (head, end) = first_look(&file).map_err(failed)?;
        if let Some(what) = not_text(&head) {
            let name = if is_stdin { "standard input" } else { &name };
            return Err(CliError::Usage(format!("{name} {what}")));
        }
        Ok(Self { name, file, len, end })
    }

    /// Size in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Goes through the lines that are not skipped, from the first.
    pub(crate) fn lines(&self) -> Result<TaskFile<BufReader<&File>>, CliError> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(|error| self.failed(error))?;
        Ok(TaskFile::new(BufReader::with_capacity(128 * 1024, file), self.end))
    }

    /// As it was named.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As a source of values.
    pub(super) fn into_values(self) -> ValueFile {
        ValueFile { name: self.name, file: self.file }
    }

    pub(super) fn failed(&self, error: io::Error) -> CliError {
        CliError::io(format!("read {}", self.name), error)
    }
}

/// How a file begins, and which byte ends its lines: a newline, or, where there is none in all of it, a carriage return, as on old Macs.
fn first_look(mut file: &File) -> io::Result<(Vec<u8>, u8)> {
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    file.take(LOOKED_AT as u64).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(128 * 1024, file);
    let mut has_return = false;
    loop {
        let part = reader.fill_buf()?;
        if part.is_empty() {
            return Ok((head, if has_return { b'\r' } else { b'\n' }));
        }
        if part.contains(&b'\n') {
            return Ok((head, b'\n'));
        }
        has_return |= part.contains(&b'\r');
        let read = part.len();
        reader.consume(read);
    }
}

fn spool(mut from: impl io::Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    let mut head = Vec::new();
    from.by_ref().take(LOOKED_AT as u64).read_to_end(&mut head)?;
    file.write_all(&head)?;
    // What is no text is refused by its beginning: a device like /dev/zero has no end.
    if not_text(&head).is_none() {
        io::copy(&mut from, &mut file)?;
    }
    Ok(file)
}

/// Checksums over batches of valid lines: eight bytes for at most [`BATCH`] lines and about [`BATCH_BYTES`] tell whether the second reading is the first. Both
/// readings end their batches at the same lines.
#[derive(Default)]
pub(crate) struct BatchChecksums {
    done: Vec<u64>,
    hasher: DefaultHasher,
    lines: usize,
    bytes: usize,
}

impl BatchChecksums {
    /// One more valid line, and what it belongs to; says whether it ends its batch.
    pub(crate) fn add(&mut self, line: &str, belonging: Option<&Belonging>) -> bool {
        line.hash(&mut self.hasher);
        belonging.map(Belonging::as_str).hash(&mut self.hasher);
        self.lines += 1;
        self.bytes += line.len();
        let is_full = self.lines == BATCH || self.bytes >= BATCH_BYTES;
        if is_full {
            self.close();
        }
        is_full
    }

    /// The end of the last batch.
    pub(crate) fn close(&mut self) {
        if self.lines > 0 {
            self.done.push(std::mem::take(&mut self.hasher).finish());
            (self.lines, self.bytes) = (0, 0);
        }
    }

    /// The sum of a batch.
    pub(crate) fn get(&self, batch: usize) -> Option<u64> {
        self.done.get(batch).copied()
    }

    /// How many batches there are.
    pub(crate) fn len(&self) -> usize {
        self.done.len()
    }
}

/// Looks whether every file that is named is there, and names all that are not; nothing is read.
pub(crate) fn are_there(paths: &[PathBuf]) -> Result<(), CliError> {
    let files = paths.iter().filter(|path| *path != Path::new("-"));
    let look = |path: &PathBuf| match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(a_directory(path)),
        Ok(_) => Ok(()),
        Err(error) => Err(unreadable(path, error)),
    };
    CliError::all(files.map(look)).map(drop)
}

fn a_directory(path: &Path) -> CliError {
    CliError::Usage(format!("{} is a directory: give the task files in it", path.display()))
}

/// A file that cannot be read; of one that is not there, the directory in which it was looked for.
fn unreadable(path: &Path, error: io::Error) -> CliError {
    let place = std::env::current_dir().ok().filter(|_| path.is_relative() && error.kind() == io::ErrorKind::NotFound);
    let place = place.map(|dir| format!(" in {}", dir.display())).unwrap_or_default();
    CliError::io(format!("read {}{place}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_changes_the_sum_of_its_batch() {
        let sum = |lines: &[&str]| {
            let mut sums = BatchChecksums::default();
            for line in lines {
                sums.add(line, None);
            }
            sums.close();
            (sums.len(), sums.get(0))
        };
        assert_eq!(sum(&["a", "b"]), sum(&["a", "b"]));
        assert_ne!(sum(&["a", "b"]), sum(&["a", "c"]));
        assert_ne!(sum(&["ab", "c"]), sum(&["a", "bc"]));
        assert_eq!(sum(&[]), (0, None));
    }

    #[test]
    fn carriage_returns_end_lines_where_nothing_else_does() {
        for (text, numbers) in [
            ("shell:1:1:1:a\rshell:1:1:1:b", &[1, 2][..]),
            ("shell:1:1:1:a\r\rshell:1:1:1:b\r", &[1, 3]),
            ("shell:1:1:1:a\rb\nshell:1:1:1:c", &[1, 2]),
            ("shell:1:1:1:a\r", &[1]),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let input = Input::open(file.path()).unwrap();
            let mut lines = input.lines().unwrap();
            let mut seen = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                assert!(!line.text.unwrap().ends_with('\r'), "{text:?}");
                seen.push(line.number);
            }
            assert_eq!(seen, numbers, "{text:?}");
        }
    }
}
