//! Outcomes on their way to Redis, on local disk until they are acknowledged, so that a killed worker reports them when it starts again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::queue::session::Settle;

/// One file, rewritten with every batch. It is not synced: it guards against the death of the process, not of the machine.
#[derive(Debug)]
pub struct Spool {
    file: File,
    is_empty: bool,
}

impl Spool {
    /// Opens or creates the spool in a directory of ours.
    ///
    /// # Errors
    /// When it cannot be created or read.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(dir.join("spool.jsonl"))?;
        let is_empty = file.metadata()?.len() == 0;
        Ok(Self { file, is_empty })
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

    /// Puts a batch on disk in place of what was there.
    ///
    /// # Errors
    /// When the disk is full, or the file was removed; the batch is still in memory and goes on its way.
    pub fn write<'a>(&mut self, batch: impl IntoIterator<Item = &'a Settle>) -> io::Result<()> {
        self.clear()?;
        let mut text = Vec::new();
        for entry in batch {
            serde_json::to_writer(&mut text, entry).map_err(io::Error::other)?;
            text.push(b'\n');
        }
        if text.is_empty() {
            return Ok(());
        }
        self.is_empty = false;
        // Not made anew: with the directory its lock is gone too, by which others on this machine know that this worker lives.
        if self.file.metadata()?.nlink() == 0 {
            return Err(io::Error::other(
                "the directory of this worker in state_dir was removed; start the worker again",
            ));
        }
        self.file.write_all(&text)
    }

    /// Everything was acknowledged.
    ///
    /// # Errors
    /// When the file cannot be truncated.
    pub fn clear(&mut self) -> io::Result<()> {
        if !self.is_empty {
            self.file.set_len(0)?;
            self.is_empty = true;
        }
        self.file.seek(SeekFrom::Start(0))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskId;
    use crate::queue::session::Settlement;

    #[test]
    fn what_was_not_acknowledged_is_read_again() {
        let dir = tempfile::tempdir().expect("dir");
        let entry = Settle {
            line: "shell:0:0:0:printf 'a\nb'".into(),
            id: TaskId::of("x"),
            token: "i.1".to_owned(),
            demand: None,
            record: None,
            settlement: Settlement::Return,
        };
        let mut spool = Spool::open(dir.path()).expect("open");
        spool.write([&entry, &entry]).expect("write");
        spool.write([&entry]).expect("write");
        spool.file.write_all("{\"line\":\"cut \u{fc}".as_bytes().split_last().expect("bytes").1).expect("write");
        drop(spool);
        let mut spool = Spool::open(dir.path()).expect("open");
        let read = spool.read().expect("read");
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].line, entry.line);
        spool.clear().expect("clear");
        drop(spool);
        assert!(Spool::open(dir.path()).expect("open").read().expect("read").is_empty());
    }
}
