//! A source: where values come from. Read again from its first value as often as it is crossed with others; memory stays bounded for files of any size.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use regex::Regex;

use super::array::Array;
use super::error::ComposeError;
use crate::model::task_line::MAX_COMMAND_BYTES;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A file of values, opened once, so that replacing it under its name changes nothing.
#[derive(Debug)]
pub struct ValueFile {
    /// As it was named, for messages.
    pub name: String,
    /// Open for reading; it must be a regular file, since it is read more than once.
    pub file: File,
}

/// How a value becomes columns.
#[derive(Clone, Debug, Default)]
pub struct Splitting {
    /// `--colsep`: columns end where this matches.
    pub separator: Option<Regex>,
    /// `--header :`: the first value names the columns.
    pub has_header: bool,
}

/// Where values come from.
#[derive(Debug)]
pub enum Source {
    /// `:::`
    Words(Vec<String>),
    /// `::::` and `--arg-file`: a value a line.
    Lines(ValueFile),
    /// `--csv`: a row a record (RFC 4180), with the byte between its fields.
    Csv(ValueFile, u8),
    /// `--array`
    Array(Array),
}

impl Source {
    /// How the source is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Words(_) => ":::",
            Self::Lines(file) | Self::Csv(file, _) => &file.name,
            Self::Array(_) => "--array",
        }
    }

    /// Begins to read, at the first value after the header.
    pub(super) fn open<'a>(&'a self, splitting: &'a Splitting) -> Result<Cursor<'a>, ComposeError> {
        let mut cursor =
            Cursor { source: self, splitting, place: Place::start(self)?, header: Vec::new(), at: 0, line: 0 };
        cursor.skip_header()?;
        Ok(cursor)
    }
}

/// A place in a source.
pub(super) struct Cursor<'a> {
    source: &'a Source,
    splitting: &'a Splitting,
    place: Place<'a>,
    header: Vec<String>,
    /// Values read, the header included.
    at: u64,
    /// The line of the file at which the value read last begins; without a file, which value it is. From 1.
    line: u64,
}

enum Place<'a> {
    Words(std::slice::Iter<'a, String>),
    Lines(BufReader<&'a File>),
    Csv(Box<csv::Reader<&'a File>>, csv::StringRecord),
    Integers(Box<dyn Iterator<Item = u64> + 'a>),
}

impl<'a> Place<'a> {
    fn start(source: &'a Source) -> Result<Self, ComposeError> {
        let from_start = |file: &'a ValueFile| {
            let mut open = &file.file;
            open.seek(SeekFrom::Start(0)).map_err(|error| ComposeError::read(&file.name, error))?;
            Ok::<_, ComposeError>(open)
        };
        Ok(match source {
            Source::Words(words) => Self::Words(words.iter()),
            Source::Array(array) => Self::Integers(Box::new(array.iter())),
            Source::Lines(file) => Self::Lines(BufReader::with_capacity(64 * 1024, from_start(file)?)),
            Source::Csv(file, delimiter) => {
                let mut reader = csv::ReaderBuilder::new();
                let reader = reader.has_headers(false).flexible(true).delimiter(*delimiter);
                Self::Csv(Box::new(reader.from_reader(from_start(file)?)), csv::StringRecord::new())
            }
        })
    }
}

impl Cursor<'_> {
    /// The names of the columns; none without a header.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// Back to the first value.
    pub(super) fn rewind(&mut self) -> Result<(), ComposeError> {
        self.place = Place::start(self.source)?;
        self.at = 0;
        self.skip_header()
    }

    fn skip_header(&mut self) -> Result<(), ComposeError> {
        if self.splitting.has_header && !matches!(self.source, Source::Array(_)) {
            let mut header = Vec::new();
            self.read(&mut header)?;
            let mut names: Vec<&String> = header.iter().filter(|name| !name.is_empty()).collect();
            names.sort();
            if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(self.wrong(format!("two columns are named {:?}", twice[0])));
            }
            self.header = header;
        }
        Ok(())
    }

    /// Reads the next value into `columns`; false at the end. Under a header of several columns a value has as many; empty lines at the end are none.
    pub(super) fn next(&mut self, columns: &mut Vec<String>) -> Result<bool, ComposeError> {
        let is_there = self.read(columns)?;
        let expected = self.header.len();
        if !is_there || expected == 0 || columns.len() == expected {
            return Ok(is_there);
        }
        let fields = |count| format!("{count} {}", if count == 1 { "field" } else { "fields" });
        let wrong = self.wrong(format!("the row has {}, the header {expected}", fields(columns.len())));
        while columns.iter().all(String::is_empty) && columns.len() == 1 {
            if !self.read(columns)? {
                return Ok(false);
            }
        }
        Err(wrong)
    }

    /// Something is wrong with the value that was read last.
    fn wrong(&self, what: String) -> ComposeError {
        let number = self.line + self.skipped_lines();
        ComposeError::Value { file: self.source.name().to_owned(), number, what }
    }

    /// Empty lines before the row read last, which a reader of CSV passes over without telling.
    fn skipped_lines(&self) -> u64 {
        let (Place::Csv(_, record), Source::Csv(file, _)) = (&self.place, self.source) else { return 0 };
        let mut bytes = [0; 4096];
        let read = record.position().map(|at| file.file.read_at(&mut bytes, at.byte()));
        let there = read.and_then(Result::ok).map_or(&[][..], |length| &bytes[..length]);
        there.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| **byte == b'\n').count() as u64
    }

    fn read(&mut self, columns: &mut Vec<String>) -> Result<bool, ComposeError> {
        columns.clear();
        self.at += 1;
        self.line = self.at;
        match &mut self.place {
            Place::Words(words) => {
                let Some(word) = words.next() else { return Ok(false) };
                self.splitting.split(word.clone(), columns);
            }
            Place::Integers(integers) => {
                let Some(integer) = integers.next() else { return Ok(false) };
                columns.push(integer.to_string());
            }
            Place::Lines(reader) => {
                let wrong =
                    |what: String| ComposeError::Value { file: self.source.name().to_owned(), number: self.at, what };
                let Some(line) = read_line(reader).map_err(|error| ComposeError::read(self.source.name(), error))?
                else {
                    return Ok(false);
                };
                let line = line.map_err(|()| wrong(format!("the value is longer than {MAX_COMMAND_BYTES} bytes")))?;
                let mut line = String::from_utf8(line).map_err(|error| {
                    wrong(format!("the value is not UTF-8 (byte {})", error.utf8_error().valid_up_to() + 1))
                })?;
                // A spreadsheet may have written it; the reader of CSV drops its mark as well.
                if self.at == 1 && line.starts_with(BYTE_ORDER_MARK) {
                    line.drain(..BYTE_ORDER_MARK.len_utf8());
                }
                self.splitting.split(line, columns);
            }
            Place::Csv(reader, record) => {
                let line = reader.position().line();
                let failed = |error: csv::Error| {
                    let wrong = |what| ComposeError::Value { file: self.source.name().to_owned(), number: line, what };
                    if error.is_io_error() {
                        return ComposeError::read(self.source.name(), io::Error::other(error));
                    }
                    let is_text = !matches!(error.kind(), csv::ErrorKind::Utf8 { .. });
                    wrong(if is_text { error.to_string() } else { "the row is not UTF-8".to_owned() })
                };
                if !reader.read_record(record).map_err(failed)? {
                    return Ok(false);
                }
                self.line = record.position().map_or(line, csv::Position::line);
                columns.extend(record.iter().map(str::to_owned));
            }
        }
        Ok(true)
    }
}

impl Splitting {
    fn split(&self, value: String, columns: &mut Vec<String>) {
        match &self.separator {
            Some(separator) => columns.extend(separator.split(&value).map(str::to_owned)),
            None => columns.push(value),
        }
    }
}

/// A line without its end, `Err` for one that is longer than any command; `None` at the end.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Result<Vec<u8>, ()>>> {
    let mut line = Vec::new();
    // One more byte than fits, and the line's end.
    let most = MAX_COMMAND_BYTES as u64 + 2;
    if reader.take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(Some(if line.len() > MAX_COMMAND_BYTES { Err(()) } else { Ok(line) }))
}
