//! The tasks of a command line in its order, with what was asked for, on disk: an id is all that the event log says of a task that has ended.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use crate::cli::exit::CliError;
use crate::cli::submit::Files;
use crate::model::TaskId;

/// A task of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its place on the command line, from 1.
    pub(super) number: u64,
    pub(super) line: String,
    /// The command as it was asked for.
    pub(super) command: String,
}

/// Twenty bytes of memory a task; the rest is in a temporary file without a name.
pub(super) struct Roster {
    file: File,
    /// Sorted by id: where its entry is in the order, and in the file.
    places: Vec<(TaskId, u32, u64)>,
    /// Where each entry is in the file, in the order of the command line.
    offsets: Vec<u64>,
}

/// A roster in the making.
pub(super) struct RosterWriter {
    file: BufWriter<File>,
    places: Vec<(TaskId, u32, u64)>,
    offset: u64,
    /// Of the last one.
    number: u64,
}

impl RosterWriter {
    /// Takes in all tasks of the command line.
    pub(super) fn of_files(files: &Files) -> Result<Self, CliError> {
        let mut writer = Self {
            file: BufWriter::new(tempfile::tempfile().map_err(failed)?),
            places: Vec::new(),
            offset: 0,
            number: 0,
        };
        let mut walk = files.walk();
        while let Some(line) = walk.next()? {
            if let Ok(task) = line.task {
                writer.push(walk.number(), task.as_str(), walk.command())?;
            }
        }
        Ok(writer)
    }

    /// Takes one in that is not of the command line, after those that are.
    pub(super) fn add(&mut self, line: &str, command: &str) -> Result<(), CliError> {
        self.push(self.number + 1, line, command)
    }

    fn push(&mut self, number: u64, line: &str, command: &str) -> Result<(), CliError> {
        self.number = number;
        let order = u32::try_from(self.places.len()).map_err(|error| failed(io::Error::other(error)))?;
        self.places.push((TaskId::of(line), order, self.offset));
        for part in [number.to_string().as_str(), line, command] {
            let length = u32::try_from(part.len()).map_err(|error| failed(io::Error::other(error)))?;
            self.file
                .write_all(&length.to_le_bytes())
                .and_then(|()| self.file.write_all(part.as_bytes()))
                .map_err(failed)?;
            self.offset += 4 + u64::from(length);
        }
        Ok(())
    }

    /// Goes on to reading. A line that is there twice is one task, at its first place.
    pub(super) fn finish(self) -> Result<Roster, CliError> {
        let file = self.file.into_inner().map_err(|error| failed(error.into_error()))?;
        let mut places = self.places;
        places.sort_unstable();
        places.dedup_by_key(|(id, ..)| *id);
        let mut in_order: Vec<usize> = (0..places.len()).collect();
        in_order.sort_unstable_by_key(|at| places[*at].1);
        let offsets: Vec<u64> = in_order.iter().map(|at| places[*at].2).collect();
        for (order, at) in (0..).zip(in_order) {
            places[at].1 = order;
        }
        Ok(Roster { file, places, offsets })
    }
}

impl Roster {
    /// How many tasks there are.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The place of a task in the order, from 0.
    pub(super) fn find(&self, id: TaskId) -> Option<usize> {
        let at = self.places.binary_search_by_key(&id, |(id, ..)| *id).ok()?;
        usize::try_from(self.places[at].1).ok()
    }

    /// All tasks, and where each is in the order.
    pub(super) fn places(&self) -> impl Iterator<Item = (TaskId, usize)> {
        self.places.iter().filter_map(|(id, order, _)| Some((*id, usize::try_from(*order).ok()?)))
    }

    /// The task at a place of the order.
    pub(super) fn get(&self, place: usize) -> Result<Entry, CliError> {
        let offset = self.offsets.get(place).copied().unwrap_or(u64::MAX);
        self.read(offset).map_err(|error| CliError::io("read the list of tasks in a temporary file", error))
    }

    fn read(&self, mut offset: u64) -> io::Result<Entry> {
        let mut part = || {
            let mut length = [0; 4];
            self.file.read_exact_at(&mut length, offset)?;
            let mut text = vec![0; usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?];
            self.file.read_exact_at(&mut text, offset + 4)?;
            offset += 4 + text.len() as u64;
            String::from_utf8(text).map_err(io::Error::other)
        };
        let (number, line, command) = (part()?, part()?, part()?);
        Ok(Entry { number: number.parse().map_err(io::Error::other)?, line, command })
    }
}

fn failed(error: io::Error) -> CliError {
    CliError::io("store the list of tasks in a temporary file", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_found_by_id_and_by_order() {
        let file = BufWriter::new(tempfile::tempfile().unwrap());
        let mut writer = RosterWriter { file, places: Vec::new(), offset: 0, number: 0 };
        for (number, line) in (1..).zip(["zz", "b\nc", "zz", "a"]) {
            writer.push(number, line, &format!("{line}!")).unwrap();
        }
        let roster = writer.finish().unwrap();
        let lines: Vec<String> = (0..roster.len()).map(|place| roster.get(place).unwrap().line).collect();
        assert_eq!(lines, ["zz", "b\nc", "a"]);
        assert_eq!(roster.find(TaskId::of("a")), Some(2));
        assert_eq!(roster.find(TaskId::of("x")), None);
        let entry = Entry { number: 2, line: "b\nc".to_owned(), command: "b\nc!".to_owned() };
        assert_eq!(roster.get(1).unwrap(), entry);
        assert!(roster.get(3).is_err());
    }
}
