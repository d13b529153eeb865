//! Writes `results.jsonl`: every task that has ended in this directory, as JSON lines, for reading after the server is gone.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The name of the file.
const NAME: &str = "results.jsonl";

/// The file in the making: beside the old one, which it replaces when it is whole.
pub(super) struct Results {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    tasks: u64,
}

impl Results {
    /// Begins a file in `dir`, which is made where somebody has removed it.
    pub(super) fn begin(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (path, temporary) = (dir.join(NAME), dir.join(format!("{NAME}.new")));
        Ok(Self { path, file: BufWriter::new(File::create(&temporary)?), temporary, tasks: 0 })
    }

    /// One more task.
    pub(super) fn add(&mut self, task: &impl Serialize) -> io::Result<()> {
        self.tasks += 1;
        serde_json::to_writer(&mut self.file, task)?;
        self.file.write_all(b"\n")
    }

    /// Puts the file in its place, and answers where that is. Should the old one hold more tasks (some wait again, or were purged), it is kept under the next
    /// free number, and that name answered too.
    pub(super) fn finish(mut self) -> io::Result<(PathBuf, Option<PathBuf>)> {
        self.file.flush()?;
        let kept = if lines_of(&self.path) > self.tasks { Some(keep(&self.path)?) } else { None };
        std::fs::rename(&self.temporary, &self.path)?;
        Ok((self.path.clone(), kept))
    }
}

/// What did not become whole is not left lying about; a whole one has gone to its place.
impl Drop for Results {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.temporary));
    }
}

fn lines_of(path: &Path) -> u64 {
    let Ok(file) = File::open(path) else { return 0 };
    let mut file = BufReader::with_capacity(128 * 1024, file);
    let mut lines = 0;
    loop {
        let length = match file.fill_buf() {
            Ok([]) | Err(_) => return lines,
            Ok(buffer) => {
                lines += buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
                buffer.len()
            }
        };
        file.consume(length);
    }
}

/// Renames `results.jsonl` to `results.N.jsonl`.
fn keep(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1_u64;
    loop {
        let kept = path.with_file_name(format!("results.{number}.jsonl"));
        if !kept.exists() {
            std::fs::rename(path, &kept)?;
            return Ok(kept);
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, tasks: u64) -> (PathBuf, Option<PathBuf>) {
        let mut results = Results::begin(dir).unwrap();
        for _ in 0..tasks {
            results.add(&"a task").unwrap();
        }
        results.finish().unwrap()
    }

    #[test]
    fn a_file_that_would_hold_less_does_not_take_the_place_of_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        assert_eq!(write(dir.path(), 3), (path.clone(), None));
        assert_eq!(write(dir.path(), 3), (path.clone(), None));
        for (number, before) in [(1, 3), (2, 2)] {
            let kept = dir.path().join(format!("results.{number}.jsonl"));
            assert_eq!(write(dir.path(), before - 1), (path.clone(), Some(kept.clone())));
            assert_eq!((lines_of(&kept), lines_of(&path)), (before, before - 1));
        }
        drop(Results::begin(dir.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "no half of one is left");
    }
}
