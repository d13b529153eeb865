//! Outcomes on their way to Redis, on local disk until they are acknowledged, so that a killed worker reports them when it starts again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::queue::session::Settle;

/// Its name in the directory of a worker.
const FILE: &str = "spool.jsonl";

/// One file. It is not synced: it guards against the death of the process, not of the machine.
#[derive(Debug)]
pub struct Spool {
    file: File,
    path: PathBuf,
    /// Bytes of whole entries.
    len: u64,
}

impl Spool {
    /// Opens or creates the spool in a directory of ours; `shown` is the name of that directory for people.
    ///
    /// # Errors
    /// When it cannot be created or read.
    pub fn open(dir: &Path, shown: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(dir.join(FILE))?;
        let len = file.metadata()?.len();
        Ok(Self { file, path: shown.join(FILE), len })
    }

    /// Where people find it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier process left, oldest first. A last line cut short by its death is passed over.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<Settle>> {
        // Bytes: the cut may be within a character.
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut text)?;
        Ok(text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    /// Puts entries on disk behind those that are there.
    ///
    /// # Errors
    /// When the disk is full, or the file was removed: none of these entries is on disk, and those that were are.
    pub fn add<'a>(&mut self, batch: impl IntoIterator<Item = &'a Settle>) -> io::Result<()> {
        let text = lines(batch)?;
        // Not made anew: with the directory its lock is gone too, by which others on this machine know that this worker lives.
        if self.file.metadata()?.nlink() == 0 {
            return Err(io::Error::other("the directory of this worker in state_dir was removed; restart the worker"));
        }
        match self.file.write_all_at(&text, self.len) {
            Ok(()) => {
                self.len += text.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half an entry before the next one would spoil both.
                let _ = self.file.set_len(self.len);
                Err(error)
            }
        }
    }

    /// Keeps these entries alone: the rest was acknowledged. Nothing of them is off the disk at any moment, since they were there before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep<'a>(&mut self, rest: impl IntoIterator<Item = &'a Settle>) -> io::Result<()> {
        let text = lines(rest)?;
        // Over what was acknowledged. An entry that is there twice for a moment is reported twice, which does no harm.
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)?;
        self.len = text.len() as u64;
        Ok(())
    }

    /// Everything was acknowledged.
    ///
    /// # Errors
    /// When the file cannot be truncated.
    pub fn clear(&mut self) -> io::Result<()> {
        if self.len > 0 {
            self.file.set_len(0)?;
            self.len = 0;
        }
        Ok(())
    }
}

fn lines<'a>(batch: impl IntoIterator<Item = &'a Settle>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for entry in batch {
        serde_json::to_writer(&mut text, entry).map_err(io::Error::other)?;
        text.push(b'\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Outcome, TaskId};
    use crate::queue::session::Settlement;

    fn entry(line: &str) -> Settle {
        Settle {
            line: line.into(),
            id: TaskId::of(line),
            token: "i.1".to_owned(),
            class: None,
            record: None,
            settlement: Settlement::Return,
        }
    }

    fn left_in(dir: &Path) -> Vec<String> {
        let read = Spool::open(dir, dir).expect("open").read().expect("read");
        read.iter().map(|entry| entry.line.to_string()).collect()
    }

    #[test]
    fn what_was_not_acknowledged_is_read_again() {
        let dir = tempfile::tempdir().expect("dir");
        let first = entry("shell:0:0:0:printf 'a\nb'");
        let mut spool = Spool::open(dir.path(), dir.path()).expect("open");
        spool.add([&first, &entry("b")]).expect("add");
        spool.add([&entry("c")]).expect("add");
        let cut = "{\"line\":\"cut \u{fc}".as_bytes().split_last().expect("bytes").1;
        spool.file.write_all_at(cut, spool.len).expect("write");
        assert_eq!(left_in(dir.path()), [&*first.line, "b", "c"]);
        spool.keep([&entry("c")]).expect("keep");
        assert_eq!(left_in(dir.path()), ["c"]);
        spool.clear().expect("clear");
        assert!(left_in(dir.path()).is_empty());
    }

    #[test]
    fn entries_of_earlier_builds_are_read() {
        let line = r#"{"line":"shell:1:1:1:9:a","id":7,"token":"t","demand":{"cpu":2,"mem":1},"record":{"a":1,"w":"n1","e":5,"r":{"timed_out":9}},"settlement":{"Fail":{"kind":{"timed_out":9},"reason":"\"timed out after 9 s\"","delay":{"secs":1,"nanos":0},"is_final":false}}}"#;
        let entry: Settle = serde_json::from_str(line).expect("an entry");
        assert_eq!(entry.outcome(), Outcome::TimedOut(9));
        assert_eq!(entry.record.as_ref().map(|record| record.outcome), Some(Outcome::TimedOut(9)));
        assert_eq!(serde_json::to_string(&entry).expect("JSON"), line);
    }

    #[test]
    fn an_entry_that_does_not_fit_leaves_the_others_there() {
        let dir = tempfile::tempdir().expect("dir");
        let mut spool = Spool::open(dir.path(), dir.path()).expect("open");
        spool.add([&entry("a")]).expect("add");
        let read_only = File::open(spool.path()).expect("read only");
        let writable = std::mem::replace(&mut spool.file, read_only);
        assert!(spool.add([&entry("b")]).is_err());
        spool.file = writable;
        spool.add([&entry("c")]).expect("add");
        assert_eq!(left_in(dir.path()), ["a", "c"]);
    }
}
