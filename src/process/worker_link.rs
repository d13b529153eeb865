//! The keeper's end of its connection to the worker: buffers, and the journal for events that are not sent yet.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use super::codec::{self, Decoded};
use super::protocol::{KeeperCommand, KeeperEvent};
use super::reply_journal::ReplyJournal;
use super::syscalls;

/// While so many bytes are unsent, no further task starts: events must not pile up for a worker that does not read them. A larger inbox is released when
/// it is empty.
const BUFFER_LIMIT: usize = 64 * 1024;

/// The worker has closed its end, or sends what this program does not understand.
#[derive(Debug)]
pub(super) struct WorkerGone;

/// The connection. All calls return at once.
pub(super) struct WorkerLink {
    socket: OwnedFd,
    inbox: Vec<u8>,
    /// How many bytes of the inbox have been decoded.
    taken: usize,
    outbox: Vec<u8>,
    /// Bytes sent so far.
    sent: u64,
    /// Keeps unsent events if the next task kills this keeper. `None` if there is no such file: then events are sent before a task starts.
    journal: Option<ReplyJournal>,
}

impl WorkerLink {
    pub(super) fn new(socket: OwnedFd, journal: Option<ReplyJournal>) -> Self {
        Self { socket, inbox: Vec::new(), taken: 0, outbox: Vec::new(), sent: 0, journal }
    }

    /// To be polled.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether events are waiting to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether so many events are waiting that no further task may start.
    pub(super) fn is_congested(&self) -> bool {
        self.outbox.len() >= BUFFER_LIMIT
    }

    /// Adds an event to what is sent next.
    pub(super) fn push(&mut self, event: &KeeperEvent) -> Result<(), WorkerGone> {
        codec::encode(&mut self.outbox, event).map_err(|_| WorkerGone)
    }

    /// Makes unsent events survive the death of this keeper: they are in the journal, or sent. False if neither is possible now.
    pub(super) fn secure_unsent(&mut self) -> Result<bool, WorkerGone> {
        if self.outbox.is_empty() || self.journal.as_ref().is_some_and(|file| file.keep(self.sent, &self.outbox)) {
            return Ok(true);
        }
        self.flush()?;
        Ok(self.outbox.is_empty())
    }

    /// Sends what the socket takes now.
    pub(super) fn flush(&mut self) -> Result<(), WorkerGone> {
        let mut sent = 0;
        while sent < self.outbox.len() {
            match send(self.socket.as_raw_fd(), &self.outbox[sent..], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => sent += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => break,
                Err(_) => return Err(WorkerGone),
            }
        }
        self.outbox.drain(..sent);
        self.sent += sent as u64;
        Ok(())
    }

    /// Frees the memory of a large outbox.
    pub(super) fn release_outbox(&mut self) {
        self.outbox.shrink_to_fit();
    }

    /// Reads once what the worker has sent.
    pub(super) fn receive(&mut self) -> Result<(), WorkerGone> {
        self.inbox.reserve(4096);
        match syscalls::read_to_spare(&self.socket, &mut self.inbox) {
            Ok(0) => Err(WorkerGone),
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(_) => Err(WorkerGone),
        }
    }

    /// The next command that has been received whole.
    pub(super) fn next_command(&mut self) -> Result<Option<KeeperCommand>, WorkerGone> {
        match codec::decode(&self.inbox[self.taken..]).map_err(|_| WorkerGone)? {
            Decoded::Message(command, len) => {
                self.taken += len;
                Ok(Some(command))
            }
            Decoded::Needs(needed) => {
                self.inbox.drain(..self.taken);
                self.taken = 0;
                if self.inbox.is_empty() && self.inbox.capacity() > BUFFER_LIMIT {
                    self.inbox = Vec::new();
                } else {
                    self.inbox.reserve(needed.saturating_sub(self.inbox.len()));
                }
                Ok(None)
            }
        }
    }
}

/// Sends the reason why a keeper cannot run.
pub(super) fn send_setup_failure(socket: &OwnedFd, error: String) {
    let mut bytes = Vec::new();
    if codec::encode(&mut bytes, &KeeperEvent::SetupFailed { error }).is_ok() {
        // The empty buffer of a new socket takes it whole.
        let _ = send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL);
    }
}
