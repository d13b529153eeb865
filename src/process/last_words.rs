//! What a keeper had to say when its next task killed it.
//!
//! The end of one task and the start of the next go out together, one message and one wake-up of the worker. But the new task runs by then, and may kill
//! its keeper before a word is out: the result of the one before it would be lost, and that one blamed. So a keeper writes what it has yet to say
//! to a file in memory first, which it shares with the worker, and the worker reads on there where the socket broke off.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;

/// Before the words: how much had been sent when they were written, and how many there are.
const HEAD: usize = 16;

/// One end of it, the keeper's or the worker's.
#[derive(Debug)]
pub(super) struct LastWords {
    file: File,
}

impl LastWords {
    /// A new file in memory, and a second descriptor of it for the keeper.
    ///
    /// Before Linux 3.17, and where a filter of system calls forbids them, there are no such files: then it is one without a name, in a file system in
    /// memory if there is one.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let ours =
            memfd_create("distcomp-last-words", MFdFlags::MFD_CLOEXEC).or_else(|errno| unnamed().ok_or(errno))?;
        let theirs = ours.try_clone()?;
        Ok((Self::of(ours), theirs))
    }

    pub(super) fn of(fd: OwnedFd) -> Self {
        Self { file: File::from(fd) }
    }

    /// Keeps what is to be said after `sent` bytes of the stream, in place of what was kept before; false where there is no room for it.
    pub(super) fn keep(&self, sent: u64, words: &[u8]) -> bool {
        let mut bytes = Vec::with_capacity(HEAD + words.len());
        bytes.extend_from_slice(&sent.to_le_bytes());
        bytes.extend_from_slice(&(words.len() as u64).to_le_bytes());
        bytes.extend_from_slice(words);
        self.file.write_all_at(&bytes, 0).is_ok()
    }

    /// What comes after the first `received` bytes of the stream; empty when nothing was kept beyond.
    pub(super) fn after(&self, received: u64) -> Vec<u8> {
        let mut head = [0; HEAD];
        if self.file.read_exact_at(&mut head, 0).is_err() {
            return Vec::new();
        }
        let number = |at: usize| head[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let (sent, len) = (number(0), number(8));
        let skipped = received.checked_sub(sent).filter(|skipped| *skipped < len);
        let Some(missing) = skipped.and_then(|skipped| usize::try_from(len - skipped).ok()) else { return Vec::new() };
        // Written by a process whose memory a task may have changed: no more than one could have kept.
        if missing > 1 << 24 {
            return Vec::new();
        }
        let mut words = vec![0; missing];
        let at = HEAD as u64 + received.saturating_sub(sent);
        if self.file.read_exact_at(&mut words, at).is_err() {
            return Vec::new();
        }
        words
    }
}

/// A file that nobody else can open: it has no name.
fn unnamed() -> Option<OwnedFd> {
    let open = |dir: &str| {
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_EXCL;
        open(dir, flags, Mode::S_IRUSR | Mode::S_IWUSR).ok()
    };
    ["/dev/shm", "/tmp", "/var/tmp", "."].into_iter().find_map(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_name_keeps_words_too() {
        let fd = unnamed().expect("one of the directories takes it");
        let (worker, keeper) = (LastWords::of(fd.try_clone().unwrap()), LastWords::of(fd));
        assert!(keeper.keep(1, b"words"));
        assert_eq!(worker.after(3), b"rds");
    }

    #[test]
    fn the_stream_goes_on_where_it_broke_off() {
        let (worker, fd) = LastWords::new().unwrap();
        let keeper = LastWords::of(fd);
        assert_eq!(worker.after(0), b"", "nothing was kept yet");
        keeper.keep(100, b"the end of one");
        assert_eq!((worker.after(100), worker.after(104)), (b"the end of one".to_vec(), b"end of one".to_vec()));
        assert_eq!((worker.after(114), worker.after(99), worker.after(500)), (Vec::new(), Vec::new(), Vec::new()));
        keeper.keep(114, b"two");
        assert_eq!((worker.after(114), worker.after(100)), (b"two".to_vec(), Vec::new()));
    }
}
