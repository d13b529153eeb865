//! The worker's side: starting the zygote, asking it for keepers, talking to them.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, recv, sendmsg, socketpair,
};
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::UnixStream;

use super::ProcessError;
use super::codec::{self, Decoded};
use super::confinement::Confinement;
use super::protocol::{KeeperCommand, KeeperEvent};
use super::reply_journal::ReplyJournal;
use super::zygote::{DISCARD, FORK, HIDDEN_MODE, LONGEST_REPLY, REPLY_LEN, REQUEST_LEN, SETUP_FAILED, ZygoteSettings};

/// How long [`Zygote::shutdown`] waits: longer than keepers need for a tree that does not die at once.
const SHUTDOWN_BOUND: Duration = Duration::from_secs(8);
/// The zygote answers within milliseconds, unless a task has stopped it: then it is killed, and another makes the keepers.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one that was killed may take to be gone.
const KILL_BOUND: Duration = Duration::from_secs(1);
/// A timer for an answer that is later than this was not late by itself: the worker stood still, and maybe those who owe the answer with it.
pub const STALL_TOLERANCE: Duration = Duration::from_secs(1);
/// Buffers of more than this are given back when they are empty.
const LARGE_BUFFER: usize = 64 * 1024;

/// How to start the zygote.
#[derive(Clone, Debug)]
pub struct KeeperSettings {
    /// The program to re-execute, whose `main` begins with [`keeper_main_if_asked`](super::keeper_main_if_asked). `/proc/self/exe` is this
    /// one even when its file has been replaced since.
    pub exe: PathBuf,
    /// Variables that no task shall see.
    pub env_remove: Vec<OsString>,
    /// Variables that every task shall see besides the worker's.
    pub env_add: Vec<(OsString, OsString)>,
    /// The soft limit of open files that tasks get: what the worker had before it raised its own. `None`: the worker's.
    pub nofile_soft: Option<u64>,
    /// What tasks are held to.
    pub confinement: Confinement,
    /// The file that all processes of tasks inherit an open descriptor of, see [`TagFile`](super::TagFile). `None`: no such descriptor.
    pub tag_file: Option<PathBuf>,
}

/// The process from which keepers are forked. Clones are the same one; when the last is dropped, or the worker dies, it ends by itself.
/// Should a task kill it, its keepers go on, and a new one must be started for more.
#[derive(Clone, Debug)]
pub struct Zygote {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pid: u32,
    control: tokio::sync::Mutex<Control>,
    child: std::sync::Mutex<Child>,
}

#[derive(Debug)]
struct Control {
    socket: Socket,
    next_id: u64,
}

/// The control socket becomes the runtime's at its first use, so that the zygote may be started before there is a runtime, and threads.
#[derive(Debug)]
enum Socket {
    Fresh(StdUnixStream),
    Registered(UnixStream),
    Closed,
}

impl Zygote {
    /// Starts it. Best done early: it inherits the working directory, umask, limits and environment that tasks will have.
    ///
    /// # Errors
    /// [`ProcessError::Start`] when the program cannot be executed. That it does not know the hidden mode shows at the first keeper.
    pub fn start(settings: &KeeperSettings) -> Result<Self, ProcessError> {
        let spawn = || -> io::Result<(Child, StdUnixStream)> {
            // Messages with bounds: an answer is whole or not there, also when the one who asked has stopped waiting.
            let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
            let ours = StdUnixStream::from(ours);
            ours.set_nonblocking(true)?;
            let for_zygote =
                ZygoteSettings { nofile_soft: settings.nofile_soft, confinement: settings.confinement.clone() };
            let for_zygote = serde_json::to_string(&for_zygote)?;
            let tag_file = settings.tag_file.as_deref().map_or(OsStr::new(""), Path::as_os_str);
            let mut command = Command::new(&settings.exe);
            command
                .args([OsStr::new(HIDDEN_MODE), OsStr::new(&for_zygote), tag_file])
                .stdin(theirs)
                .stdout(Stdio::null());
            for name in &settings.env_remove {
                command.env_remove(name);
            }
            command.envs(settings.env_add.iter().map(|(name, value)| (name, value)));
            Ok((command.spawn()?, ours))
        };
        let (child, control) =
            spawn().map_err(|cause| ProcessError::Start { exe: settings.exe.display().to_string(), cause })?;
        Ok(Self {
            inner: Arc::new(Inner {
                pid: child.id(),
                control: tokio::sync::Mutex::new(Control { socket: Socket::Fresh(control), next_id: 0 }),
                child: std::sync::Mutex::new(child),
            }),
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inner.pid
    }

    /// A new keeper, for one slot. Dropping the future is safe: a keeper that was forked meanwhile ends at once.
    ///
    /// # Errors
    /// [`ProcessError::Fork`] when the machine is short of processes or memory; [`ProcessError::ZygoteGone`] when there is nobody to ask, or nobody who
    /// answers within ten seconds.
    pub async fn keeper(&self) -> Result<Keeper, ProcessError> {
        let mut control = self.inner.control.lock().await;
        // From here on: who waits behind others for a turn does not wait for the zygote.
        let asked = Self::ask_for_keeper(&mut control);
        tokio::pin!(asked);
        loop {
            let since = Instant::now();
            match tokio::time::timeout(PATIENCE, &mut asked).await {
                Ok(keeper) => return keeper,
                Err(_) if since.elapsed() > PATIENCE + STALL_TOLERANCE => {}
                Err(_) => {
                    tracing::error!(pid = self.pid(), "the process that creates keepers does not answer; killing it");
                    self.inner.kill().await;
                    return Err(ProcessError::ZygoteGone);
                }
            }
        }
    }

    async fn ask_for_keeper(control: &mut Control) -> Result<Keeper, ProcessError> {
        let id = control.next_id;
        control.next_id += 1;
        let stream = control.socket.stream()?;
        let (ours, theirs) = StdUnixStream::pair().map_err(ProcessError::Socket)?;
        // Of the keeper's end too: it never waits but in `poll`.
        ours.set_nonblocking(true).and_then(|()| theirs.set_nonblocking(true)).map_err(ProcessError::Socket)?;
        let mut theirs = vec![OwnedFd::from(theirs)];
        let journal = match ReplyJournal::new() {
            Ok((journal, theirs_too)) => {
                theirs.push(theirs_too);
                Some(journal)
            }
            // The keeper then waits until it has been heard, before it starts its next task.
            Err(error) => {
                tracing::debug!(error = %error, "cannot create a file for the reply of a keeper");
                None
            }
        };
        if let Err(error) = request(stream, FORK, id, &theirs).await {
            // One that has ended at its start has said why.
            if matches!(error, ProcessError::ZygoteGone)
                && let Err(said @ ProcessError::SetupFailed(_)) = reply(stream).await
            {
                return Err(said);
            }
            return Err(error);
        }
        loop {
            let (answered, pid, errno) = reply(stream).await?;
            if answered != id {
                continue;
            }
            if errno != 0 {
                return Err(ProcessError::Fork(io::Error::from_raw_os_error(errno)));
            }
            let stream = UnixStream::from_std(ours).map_err(ProcessError::Socket)?;
            let (inbox, outbox) = (Vec::new(), Vec::new());
            return Ok(Keeper { pid, stream, inbox, outbox, received: 0, journal });
        }
    }

    /// Kills a keeper that does not answer, which a task can bring about by stopping it; the zygote then kills what it kept. What it had to say
    /// before can still be received.
    ///
    /// # Errors
    /// As for [`Self::keeper`].
    pub async fn discard(&self, keeper: &Keeper) -> Result<(), ProcessError> {
        let mut control = self.inner.control.lock().await;
        request(control.socket.stream()?, DISCARD, u64::from(keeper.pid), &[]).await
    }

    /// Closes the lifeline and waits, at most eight seconds, until the zygote has seen the last process below it end; what does not end is killed.
    /// Keepers must have been dropped before, or their tasks are killed after a second.
    pub async fn shutdown(self) {
        self.inner.control.lock().await.socket = Socket::Closed;
        self.inner.until_ended(SHUTDOWN_BOUND).await;
        self.inner.kill().await;
    }
}

impl Inner {
    /// Its keepers go on, until their own ends are closed.
    async fn kill(&self) {
        // One that has ended and was waited for is not signalled: its number may be another's by now.
        if !self.has_ended() {
            let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
            self.until_ended(KILL_BOUND).await;
        }
    }

    async fn until_ended(&self, bound: Duration) {
        let end = Instant::now() + bound;
        while !self.has_ended() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(child.try_wait(), Ok(None))
    }
}

impl Socket {
    fn stream(&mut self) -> Result<&UnixStream, ProcessError> {
        *self = match std::mem::replace(self, Self::Closed) {
            Self::Fresh(socket) => Self::Registered(UnixStream::from_std(socket).map_err(ProcessError::Socket)?),
            other @ (Self::Registered(_) | Self::Closed) => other,
        };
        match self {
            Self::Registered(stream) => Ok(stream),
            Self::Fresh(_) | Self::Closed => Err(ProcessError::ZygoteGone),
        }
    }
}

async fn request(stream: &UnixStream, kind: u8, number: u64, fds: &[OwnedFd]) -> Result<(), ProcessError> {
    let mut bytes = [kind; REQUEST_LEN];
    bytes[1..].copy_from_slice(&number.to_le_bytes());
    let fds: Vec<_> = fds.iter().map(OwnedFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let messages = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    let send = || {
        let parts = [IoSlice::new(&bytes)];
        sendmsg::<UnixAddr>(stream.as_raw_fd(), &parts, messages, MsgFlags::MSG_NOSIGNAL, None).map_err(io::Error::from)
    };
    stream.async_io(Interest::WRITABLE, send).await.map(|_| ()).map_err(zygote_error)
}

/// Id, pid and error number of the next answer.
async fn reply(stream: &UnixStream) -> Result<(u64, u32, i32), ProcessError> {
    let mut bytes = [0; LONGEST_REPLY];
    let receive = || recv(stream.as_raw_fd(), &mut bytes, MsgFlags::empty()).map_err(io::Error::from);
    let count = stream.async_io(Interest::READABLE, receive).await.map_err(zygote_error)?;
    let (Some(&head), text) = (bytes.first_chunk::<REPLY_LEN>(), bytes.get(REPLY_LEN..count)) else {
        return Err(ProcessError::ZygoteGone);
    };
    let Some(text) = text else { return Err(ProcessError::ZygoteGone) };
    let [a, b, c, d, e, f, g, h, p0, p1, p2, p3, e0, e1, e2, e3] = head;
    let id = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let errno = i32::from_le_bytes([e0, e1, e2, e3]);
    if id == SETUP_FAILED {
        let call = String::from_utf8_lossy(text);
        return Err(ProcessError::SetupFailed(format!("{call} failed: {}", Errno::from_raw(errno).desc())));
    }
    Ok((id, u32::from_le_bytes([p0, p1, p2, p3]), errno))
}

fn zygote_error(error: io::Error) -> ProcessError {
    if is_gone(&error) { ProcessError::ZygoteGone } else { ProcessError::Socket(error) }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected)
}

/// One keeper, for one slot. Dropping it kills its task's tree and ends the keeper.
#[derive(Debug)]
pub struct Keeper {
    pid: u32,
    stream: UnixStream,
    inbox: Vec<u8>,
    /// What the socket has not taken yet: here, and not in a future that may be dropped.
    outbox: Vec<u8>,
    /// Bytes of answers received so far.
    received: u64,
    /// Until the keeper has ended and they have been read.
    journal: Option<ReplyJournal>,
}

impl Keeper {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a command. Dropping the future is safe: the command is sent whole, by the next call of this or [`Self::recv`].
    ///
    /// # Errors
    /// [`ProcessError::KeeperGone`] when the keeper has ended; what it had to say before can still be received.
    pub async fn send(&mut self, command: KeeperCommand) -> Result<(), ProcessError> {
        codec::encode(&mut self.outbox, &command)?;
        while !self.flush()? {
            self.stream.writable().await.map_err(ProcessError::Socket)?;
        }
        Ok(())
    }

    /// The next answer. Dropping the future is safe: nothing is lost.
    ///
    /// # Errors
    /// [`ProcessError::KeeperGone`] when the keeper has ended and everything it said has been received.
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
                // A short read says that there is no more: the runtime then waits instead of asking once more.
                let read = self.stream.read_buf(&mut self.inbox).await;
                self.note_read(read)?;
                continue;
            }
            self.stream.ready(Interest::READABLE | Interest::WRITABLE).await.map_err(ProcessError::Socket)?;
            if self.flush().is_err() {
                // Gone; but what it said before is read first.
                self.outbox.clear();
            }
            match self.stream.try_read_buf(&mut self.inbox) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => self.note_read(read)?,
            }
        }
    }

    /// What a read of the socket came to.
    fn note_read(&mut self, read: io::Result<usize>) -> Result<(), ProcessError> {
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

    /// The keeper has ended: reads on, once, where its socket broke off.
    fn read_journal(&mut self) -> Result<(), ProcessError> {
        let journal = self.journal.take().ok_or(ProcessError::KeeperGone)?;
        self.inbox.extend(journal.after(self.received));
        Ok(())
    }

    /// Sends what the socket takes now; answers whether that was all.
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
