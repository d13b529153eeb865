//! Replies of a keeper that the worker can still read when a task has killed the keeper.
//!
//! A keeper sends the end of one task and the start of the next together: one message, one wake-up of the worker. But the new task runs before the
//! message is sent. If it kills its keeper, the result of the task before it would be lost, and the worker would blame that task. So before each
//! start the keeper writes its unsent replies to a file in memory that it shares with the worker. When the socket breaks off, the worker reads the
//! rest from this file.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;

/// Two numbers before the replies: how many bytes of the stream had been sent before them, and their length.
const HEAD: usize = 16;

/// The keeper's or the worker's descriptor of the file.
#[derive(Debug)]
pub(super) struct ReplyJournal {
    file: File,
}

impl ReplyJournal {
    /// Creates a file in memory, and a second descriptor of it for the keeper. If the kernel (before Linux 3.17) or a system call filter does not
    /// allow such files, it creates a file without a name in a temporary directory.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let ours =
            memfd_create("distcomp-reply-journal", MFdFlags::MFD_CLOEXEC).or_else(|errno| unnamed().ok_or(errno))?;
        let theirs = ours.try_clone()?;
        Ok((Self::of(ours), theirs))
    }

    pub(super) fn of(fd: OwnedFd) -> Self {
        Self { file: File::from(fd) }
    }

    /// Stores the replies that follow the first `sent` bytes of the stream, in place of those stored before. False if there is no space.
    pub(super) fn keep(&self, sent: u64, replies: &[u8]) -> bool {
        let mut bytes = Vec::with_capacity(HEAD + replies.len());
        bytes.extend_from_slice(&sent.to_le_bytes());
        bytes.extend_from_slice(&(replies.len() as u64).to_le_bytes());
        bytes.extend_from_slice(replies);
        self.file.write_all_at(&bytes, 0).is_ok()
    }

    /// The replies that follow the first `received` bytes of the stream; empty if none are stored.
    pub(super) fn after(&self, received: u64) -> Vec<u8> {
        let mut head = [0; HEAD];
        if self.file.read_exact_at(&mut head, 0).is_err() {
            return Vec::new();
        }
        let number = |at: usize| head[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let (sent, len) = (number(0), number(8));
        let skipped = received.checked_sub(sent).filter(|skipped| *skipped < len);
        let Some(missing) = skipped.and_then(|skipped| usize::try_from(len - skipped).ok()) else { return Vec::new() };
        // A task may have changed the memory of the keeper: allocate no more than a keeper could have stored.
        if missing > 1 << 24 {
            return Vec::new();
        }
        let mut replies = vec![0; missing];
        let at = HEAD as u64 + received.saturating_sub(sent);
        if self.file.read_exact_at(&mut replies, at).is_err() {
            return Vec::new();
        }
        replies
    }
}

/// A file without a name, which no other process can open.
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
    fn file_without_a_name_stores_replies() {
        let fd = unnamed().expect("one of the directories takes it");
        let (worker, keeper) = (ReplyJournal::of(fd.try_clone().unwrap()), ReplyJournal::of(fd));
        assert!(keeper.keep(1, b"words"));
        assert_eq!(worker.after(3), b"rds");
    }

    #[test]
    fn stream_continues_where_it_broke_off() {
        let (worker, fd) = ReplyJournal::new().unwrap();
        let keeper = ReplyJournal::of(fd);
        assert_eq!(worker.after(0), b"", "nothing was kept yet");
        keeper.keep(100, b"the end of one");
        assert_eq!((worker.after(100), worker.after(104)), (b"the end of one".to_vec(), b"end of one".to_vec()));
        assert_eq!((worker.after(114), worker.after(99), worker.after(500)), (Vec::new(), Vec::new(), Vec::new()));
        keeper.keep(114, b"two");
        assert_eq!((worker.after(114), worker.after(100)), (b"two".to_vec(), Vec::new()));
    }
}
