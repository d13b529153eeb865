//! The worker's end of the zygote: starts it, requests keepers from it, and ends it.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, recv, sendmsg, socketpair,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::ProcessError;
use super::confinement::Confinement;
use super::keeper_handle::{Keeper, is_gone};
use super::reply_journal::ReplyJournal;
use super::zygote_control::{HIDDEN_MODE, MAX_MESSAGE, Reply, Request, ZygoteSettings};

/// How long [`Zygote::shutdown`] waits: longer than keepers may take to kill a process tree.
const SHUTDOWN_BOUND: Duration = Duration::from_secs(8);
/// The zygote answers within milliseconds, unless a task has stopped it. After this time it is killed, and another one is started.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a killed zygote may take to exit.
const EXIT_BOUND: Duration = Duration::from_secs(1);
/// A timer that fires later than this has not measured the silence of another process: the worker itself stood still, and maybe the other with it.
pub const STALL_TOLERANCE: Duration = Duration::from_secs(1);

/// How to start the zygote.
#[derive(Clone, Debug)]
pub struct KeeperSettings {
    /// The program to execute, whose `main` begins with [`keeper_main_if_asked`](super::keeper_main_if_asked). `/proc/self/exe` is this
    /// program, even if its file has been replaced by another version: worker, zygote and keepers must have one version.
    pub exe: PathBuf,
    /// Variables of the worker that tasks do not get.
    pub env_remove: Vec<OsString>,
    /// Variables that tasks get in addition.
    pub env_add: Vec<(OsString, OsString)>,
    /// The soft limit of open files for tasks: that of the worker before it raised it. `None`: that of the worker now.
    pub nofile_soft: Option<u64>,
    /// Limits, user and other restrictions of tasks.
    pub confinement: Confinement,
    /// The file that all processes of tasks inherit an open descriptor of, see [`TagFile`](super::TagFile). `None`: no such descriptor.
    pub tag_file: Option<PathBuf>,
}

/// The process from which keepers are forked. It exits when the last clone of this handle is dropped, or the worker dies. If a task kills it, its
/// keepers go on, and a new zygote must be started for further keepers.
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

/// The control socket. It is registered with the runtime at its first use, so that the zygote can be started before there is a runtime with threads.
#[derive(Debug)]
enum Socket {
    Fresh(StdUnixStream),
    Registered(UnixStream),
    Closed,
}

impl Zygote {
    /// Starts a zygote. Start it early: tasks inherit its working directory, umask, limits and environment.
    ///
    /// # Errors
    /// [`ProcessError::Start`] when the program cannot be executed. If it does not know the hidden mode, the first request for a keeper fails.
    pub fn start(settings: &KeeperSettings) -> Result<Self, ProcessError> {
        let spawn = || -> io::Result<(Child, StdUnixStream)> {
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

    /// Starts a keeper for one slot. Dropping the future is safe: a keeper that was forked in the meantime exits at once.
    ///
    /// # Errors
    /// [`ProcessError::Fork`] when the node is short of processes or memory. [`ProcessError::ZygoteGone`] when the zygote has ended, or does not answer
    /// within ten seconds.
    pub async fn keeper(&self) -> Result<Keeper, ProcessError> {
        let mut control = self.inner.control.lock().await;
        // The timeout starts here: waiting for the lock is not waiting for the zygote.
        let asked = Self::ask_for_keeper(&mut control);
        tokio::pin!(asked);
        loop {
            let since = Instant::now();
            match tokio::time::timeout(REPLY_TIMEOUT, &mut asked).await {
                Ok(keeper) => return keeper,
                Err(_) if since.elapsed() > REPLY_TIMEOUT + STALL_TOLERANCE => {}
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
        // The keeper's end too: a keeper waits nowhere but in `poll`.
        ours.set_nonblocking(true).and_then(|()| theirs.set_nonblocking(true)).map_err(ProcessError::Socket)?;
        let mut theirs = vec![OwnedFd::from(theirs)];
        let journal = match ReplyJournal::new() {
            Ok((journal, theirs_too)) => {
                theirs.push(theirs_too);
                Some(journal)
            }
            // Without it, the keeper sends its events before it starts the next task.
            Err(error) => {
                tracing::debug!(error = %error, "cannot create a file for the reply of a keeper");
                None
            }
        };
        if let Err(error) = request(stream, &Request::Fork { id }, &theirs).await {
            // A zygote that has failed at its start has sent the reason.
            if matches!(error, ProcessError::ZygoteGone)
                && let Ok(Reply::SetupFailed { error }) = reply(stream).await
            {
                return Err(ProcessError::SetupFailed(error));
            }
            return Err(error);
        }
        loop {
            match reply(stream).await? {
                Reply::Forked { id: answered, keeper } if answered == id => return Keeper::new(keeper, ours, journal),
                Reply::ForkFailed { id: answered, errno } if answered == id => {
                    return Err(ProcessError::Fork(io::Error::from_raw_os_error(errno)));
                }
                // Of a request whose future was dropped.
                Reply::Forked { .. } | Reply::ForkFailed { .. } => {}
                Reply::SetupFailed { error } => return Err(ProcessError::SetupFailed(error)),
            }
        }
    }

    /// Kills a keeper that does not answer, because its task has stopped it. The zygote then kills the process tree. Earlier events of the keeper can
    /// still be received.
    ///
    /// # Errors
    /// As for [`Self::keeper`].
    pub async fn discard(&self, keeper: &Keeper) -> Result<(), ProcessError> {
        let mut control = self.inner.control.lock().await;
        request(control.socket.stream()?, &Request::Kill { keeper: keeper.pid() }, &[]).await
    }

    /// Closes the control socket and waits at most eight seconds until all processes below the zygote have ended. Then it kills the zygote. Drop the
    /// keepers before, or their tasks are killed after a second.
    pub async fn shutdown(self) {
        self.inner.control.lock().await.socket = Socket::Closed;
        self.inner.until_ended(SHUTDOWN_BOUND).await;
        self.inner.kill().await;
    }
}

impl Inner {
    /// Its keepers go on until their sockets are closed.
    async fn kill(&self) {
        // Never signal one that was waited for: another process may have its pid.
        if !self.has_ended() {
            let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
            self.until_ended(EXIT_BOUND).await;
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

async fn request(stream: &UnixStream, request: &Request, fds: &[OwnedFd]) -> Result<(), ProcessError> {
    let bytes = postcard::to_stdvec(request).map_err(|cause| ProcessError::Protocol(cause.to_string()))?;
    let fds: Vec<_> = fds.iter().map(OwnedFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let messages = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    let send = || {
        let parts = [IoSlice::new(&bytes)];
        sendmsg::<UnixAddr>(stream.as_raw_fd(), &parts, messages, MsgFlags::MSG_NOSIGNAL, None).map_err(io::Error::from)
    };
    stream.async_io(Interest::WRITABLE, send).await.map(|_| ()).map_err(zygote_error)
}

/// The next reply.
async fn reply(stream: &UnixStream) -> Result<Reply, ProcessError> {
    let mut bytes = [0; MAX_MESSAGE];
    let receive = || recv(stream.as_raw_fd(), &mut bytes, MsgFlags::empty()).map_err(io::Error::from);
    match stream.async_io(Interest::READABLE, receive).await.map_err(zygote_error)? {
        0 => Err(ProcessError::ZygoteGone),
        len => postcard::from_bytes(&bytes[..len]).map_err(|cause| ProcessError::Protocol(cause.to_string())),
    }
}

fn zygote_error(error: io::Error) -> ProcessError {
    if is_gone(&error) { ProcessError::ZygoteGone } else { ProcessError::Socket(error) }
}
