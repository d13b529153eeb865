//! The worker's end of a keeper: sends commands and receives events.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::UnixStream;

use super::ProcessError;
use super::codec::{self, Decoded};
use super::protocol::{KeeperCommand, KeeperEvent};
use super::reply_journal::ReplyJournal;

/// A larger buffer is released when it is empty.
const LARGE_BUFFER: usize = 64 * 1024;

/// A connection to the keeper of one slot. On drop the keeper kills its process tree and exits.
#[derive(Debug)]
pub struct Keeper {
    pid: u32,
    stream: UnixStream,
    inbox: Vec<u8>,
    /// Bytes that the socket has not taken yet. They are not in the future of [`Self::send`], which may be dropped.
    outbox: Vec<u8>,
    /// Bytes received so far.
    received: u64,
    /// The replies that a killed keeper could not send; `None` once they have been read.
    journal: Option<ReplyJournal>,
}

impl Keeper {
    /// Takes over the worker's end of the socket. Must be called within a tokio runtime.
    pub(super) fn new(pid: u32, stream: StdUnixStream, journal: Option<ReplyJournal>) -> Result<Self, ProcessError> {
        let stream = UnixStream::from_std(stream).map_err(ProcessError::Socket)?;
        Ok(Self { pid, stream, inbox: Vec::new(), outbox: Vec::new(), received: 0, journal })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a command. Dropping the future is safe: the next call of this method or [`Self::recv`] sends the rest.
    ///
    /// # Errors
    /// [`ProcessError::KeeperGone`] when the keeper has ended. Its earlier events can still be received.
    pub async fn send(&mut self, command: KeeperCommand) -> Result<(), ProcessError> {
        codec::encode(&mut self.outbox, &command)?;
        while !self.flush()? {
            self.stream.writable().await.map_err(ProcessError::Socket)?;
        }
        Ok(())
    }

    /// The next event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ProcessError::KeeperGone`] when the keeper has ended and all its events have been received.
    pub async fn recv(&mut self) -> Result<KeeperEvent, ProcessError> {
        loop {
            let needed = match codec::decode(&self.inbox)? {
                Decoded::Message(event, len) => {
                    self.inbox.drain(..len);
                    if self.inbox.is_empty() && self.inbox.capacity() > LARGE_BUFFER {
                        self.inbox = Vec::new();
                    }
                    return Ok(event);
                }
                Decoded::Needs(needed) => needed,
            };
            self.inbox.reserve(needed.saturating_sub(self.inbox.len()).max(1024));
            if self.outbox.is_empty() {
                // After a short read the runtime waits, and does not read once more for nothing.
                let read = self.stream.read_buf(&mut self.inbox).await;
                self.after_read(read)?;
                continue;
            }
            self.stream.ready(Interest::READABLE | Interest::WRITABLE).await.map_err(ProcessError::Socket)?;
            if self.flush().is_err() {
                // The keeper has ended. Read its last events first.
                self.outbox.clear();
            }
            match self.stream.try_read_buf(&mut self.inbox) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => self.after_read(read)?,
            }
        }
    }

    /// Handles the result of a read; at the end of the stream, continues with the journal.
    fn after_read(&mut self, read: io::Result<usize>) -> Result<(), ProcessError> {
        match read {
            Ok(0) => self.read_journal(),
            Ok(count) => {
                self.received += count as u64;
                Ok(())
            }
            Err(error) if is_gone(&error) => self.read_journal(),
            Err(error) => Err(ProcessError::Socket(error)),
        }
    }

    /// Adds the replies that the keeper did not send, once.
    fn read_journal(&mut self) -> Result<(), ProcessError> {
        let journal = self.journal.take().ok_or(ProcessError::KeeperGone)?;
        self.inbox.extend(journal.after(self.received));
        Ok(())
    }

    /// Sends what the socket takes now, and returns whether that was all.
    fn flush(&mut self) -> Result<bool, ProcessError> {
        while !self.outbox.is_empty() {
            match self.stream.try_write(&self.outbox) {
                Ok(count) => {
                    self.outbox.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if is_gone(&error) => return Err(ProcessError::KeeperGone),
                Err(error) => return Err(ProcessError::Socket(error)),
            }
        }
        Ok(true)
    }
}

/// Whether an error of a socket means that the process at the other end has ended.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected)
}
