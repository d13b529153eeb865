//! The zygote: a small process of one thread from which keepers are forked, and the second line behind them.
//!
//! It exists because forking the worker itself would be neither safe (it has threads) nor cheap (it has memory). When a keeper dies, say by the
//! hand of its own task, what it kept falls to the zygote, which kills it. When the worker dies, it waits for its keepers to clear up
//! and kills what is left.

use std::ffi::OsStr;
use std::fs;
use std::io::{IoSliceMut, stdin};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, send};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, close, dup2_stdin, setsid};

use serde::{Deserialize, Serialize};

use super::confinement::Confinement;
use super::keeper;
use super::reaper::{KILL_BOUND, Reaper};
use super::reply_journal::ReplyJournal;
use super::spawn::Spawner;
use super::syscalls;
use super::tag_file;
use super::terminate::{Guard, Target};

/// The first argument of the hidden mode.
pub(super) const HIDDEN_MODE: &str = "__keeper";
/// The second, as JSON; the third is the path of the tag file, or empty.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct ZygoteSettings {
    /// The soft limit of open files that tasks get; `None`: as it is.
    pub(super) nofile_soft: Option<u64>,
    pub(super) confinement: Confinement,
}
/// Length of a request: kind, id or pid. With a request for a keeper come the keeper's ends of its socket and its last words.
pub(super) const REQUEST_LEN: usize = 9;
/// Length of the answer to a request for a keeper: id, pid, error number.
pub(super) const REPLY_LEN: usize = 16;
/// In place of an id: the zygote ends, because a call that it cannot do without failed. The name of the call follows.
pub(super) const SETUP_FAILED: u64 = u64::MAX;
/// The longest answer: one of a zygote that ends.
pub(super) const LONGEST_REPLY: usize = 256;
/// Kind of a request: fork a keeper.
pub(super) const FORK: u8 = 0;
/// Kind of a request: kill a keeper that does not answer. It has no reply.
pub(super) const DISCARD: u8 = 1;

/// How long the keepers have to clear up by themselves when the worker has gone.
const CLEANUP_GRACE: Duration = Duration::from_secs(1);

/// Becomes the zygote, or in time one of its keepers, when this process was started as one: then `Some` is what `main` must return. `None`
/// for everybody else. To be called first thing in `main`, before any thread exists and before the arguments are looked at.
#[must_use]
pub fn keeper_main_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != OsStr::new(HIDDEN_MODE) {
        return None;
    }
    // Without a socket as standard input somebody has typed the hidden mode in: a wrong usage like any other.
    let settings = args.next().and_then(|settings| serde_json::from_str(settings.to_str()?).ok())?;
    let tag_file = args.next().filter(|path| !path.is_empty()).map(PathBuf::from);
    Some(run(&settings, tag_file.as_deref()))
}

/// A call that cannot be done without, and failed.
struct SetupError {
    call: &'static str,
    errno: Errno,
}

impl SetupError {
    fn of(call: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self { call, errno }
    }

    fn text(&self) -> String {
        format!("{} failed: {}", self.call, self.errno.desc())
    }
}

/// A request, as it came.
struct Request {
    kind: u8,
    number: u64,
    socket: Option<OwnedFd>,
    journal: Option<OwnedFd>,
}

fn run(settings: &ZygoteSettings, tag_file: Option<&Path>) -> ExitCode {
    let Ok(control) = stdin().as_fd().try_clone_to_owned() else { return ExitCode::from(2) };
    close_inherited(control.as_raw_fd());
    let begun = set_up_zygote(settings, tag_file).and_then(|()| Reaper::new().map_err(SetupError::of("signalfd4")));
    let mut reaper = match begun {
        Ok(reaper) => reaper,
        Err(error) => {
            // Heard by the worker with its first request.
            reply(&control, SETUP_FAILED, 0, error.errno as i32, error.call);
            return ExitCode::from(2);
        }
    };
    let spawner = Spawner::new(&settings.confinement);
    let mut keepers: Vec<i32> = Vec::new();
    loop {
        let mut fds = [PollFd::new(control.as_fd(), PollFlags::POLLIN), PollFd::new(reaper.as_fd(), PollFlags::POLLIN)];
        if let Err(errno) = poll(&mut fds, PollTimeout::NONE)
            && !matches!(errno, Errno::EINTR | Errno::EAGAIN | Errno::ENOMEM)
        {
            reply(&control, SETUP_FAILED, 0, errno as i32, "poll");
            break;
        }
        let said = |index: usize| fds[index].revents().is_some_and(|revents| !revents.is_empty());
        let (asked, child) = (said(0), said(1));
        if child {
            reaper.acknowledge();
            // Whatever is ours and not a keeper was left behind by one.
            let left = reaper.reap(&mut |reaped| keepers.retain(|&pid| pid != reaped.pid));
            if left && !reaper.remaining(&keepers).is_empty() {
                let spared = keepers.clone();
                reaper.kill_all(KILL_BOUND, &spared, &mut |reaped| keepers.retain(|&pid| pid != reaped.pid));
            }
        }
        if !asked {
            continue;
        }
        match receive(&control) {
            Ok(Some(Request { kind: FORK, number, socket: Some(socket), journal })) => {
                match syscalls::fork_single_threaded() {
                    Ok(ForkResult::Child) => {
                        // Everything of the zygote's goes first: an end of the control socket kept here would hide its closing.
                        drop((control, reaper));
                        let journal = journal.map(ReplyJournal::of);
                        return match set_up_keeper(settings) {
                            Ok(reaper) => keeper::run(socket, journal, spawner, reaper),
                            Err(error) => keeper::report_setup_failure(&socket, error.text()),
                        };
                    }
                    Ok(ForkResult::Parent { child }) => {
                        keepers.push(child.as_raw());
                        reply(&control, number, child.as_raw(), 0, "");
                    }
                    Err(errno) => reply(&control, number, 0, errno as i32, ""),
                }
            }
            Ok(Some(Request { kind: DISCARD, number, .. })) => {
                if let Some(&pid) = keepers.iter().find(|&&pid| u64::try_from(pid) == Ok(number)) {
                    let _ = Guard::current().send(Target::Child(pid), Signal::SIGKILL);
                }
            }
            Ok(Some(_)) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(None) => break,
            Err(errno) => {
                reply(&control, SETUP_FAILED, 0, errno as i32, "recvmsg");
                break;
            }
        }
    }
    drop(control);
    clear_up(&mut reaper);
    ExitCode::SUCCESS
}

/// The keepers have read the end of their sockets too and are at work: help only where they do not come to an end.
fn clear_up(reaper: &mut Reaper) {
    let end = Instant::now() + CLEANUP_GRACE;
    while reaper.reap(&mut |_| {}) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Whatever waits in the kernel dies when it leaves it; until then somebody has to be there to wait for it.
            while reaper.kill_all(KILL_BOUND, &[], &mut |_| {}) {
                reaper.wait(Duration::from_secs(1));
            }
            break;
        }
        reaper.wait(left);
    }
}

/// Out of the worker's session, deaf to all signals, and as a task shall find the world. The control socket came as standard input.
fn set_up_zygote(settings: &ZygoteSettings, tag_file: Option<&Path>) -> Result<(), SetupError> {
    // Blocked, not ignored: what is ignored stays so across `exec`, what is blocked is given back with one call a task.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).map_err(SetupError::of("rt_sigprocmask"))?;
    syscalls::reset_signal_handlers();
    if let Some(tag_file) = tag_file {
        // Without the descriptor, leftover processes are still found by their environment.
        let _ = tag_file::inherit(tag_file);
    }
    let null = fs::File::open("/dev/null").map_err(errno).map_err(SetupError::of("open of /dev/null"))?;
    dup2_stdin(&null).map_err(SetupError::of("dup2"))?;
    // Fails for the leader of a group, who has been moved apart by whoever made it one.
    let _ = setsid();
    prctl::set_child_subreaper(true).map_err(SetupError::of("prctl(PR_SET_CHILD_SUBREAPER)"))?;
    // `pkill distcomp-worker` is for the worker.
    let _ = prctl::set_name(c"distcomp-zygote");
    let keys = &settings.confinement.keys;
    if let Some(mask) = keys.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    if keys.no_new_privs {
        prctl::set_no_new_privs().map_err(SetupError::of("prctl(PR_SET_NO_NEW_PRIVS)"))?;
    }
    // A limit that cannot be restored is no reason to run nothing.
    if let Some(soft) = settings.nofile_soft
        && let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, std::cmp::min(soft, hard), hard);
    }
    Ok(())
}

/// Whatever the worker was started with, a supervisor's lock or pipe, is not for its tasks, as it is not in Python DistComp.
fn close_inherited(control: RawFd) {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&fd| fd > 2 && fd != control)
        .collect();
    for fd in open {
        // Of the directory read just now this fails: it is closed.
        let _ = close(fd);
    }
}

/// Where memory runs out, the kernel shall take a task and neither the worker nor its Redis. Tasks inherit this; a keeper bears it too, but
/// is the smallest of all that do. Raising needs no privilege.
fn prefer_for_oom(score: i32) {
    let file = "/proc/self/oom_score_adj";
    let now = fs::read_to_string(file).ok().and_then(|score| score.trim().parse::<i32>().ok());
    if now.is_some_and(|now| now < score) {
        let _ = fs::write(file, score.to_string());
    }
}

fn set_up_keeper(settings: &ZygoteSettings) -> Result<Reaper, SetupError> {
    // Not inherited from the zygote.
    prctl::set_child_subreaper(true).map_err(SetupError::of("prctl(PR_SET_CHILD_SUBREAPER)"))?;
    let _ = prctl::set_name(c"distcomp-keeper");
    prefer_for_oom(settings.confinement.keys.oom_score_adj);
    if settings.confinement.user.is_some() {
        // A child shares our memory until it calls `exec`, and is the tasks' user by then: nobody of that user may look into it.
        prctl::set_dumpable(false).map_err(SetupError::of("prctl(PR_SET_DUMPABLE)"))?;
    }
    Reaper::new().map_err(SetupError::of("signalfd4"))
}

/// The next request; `None` when the worker has closed its end.
fn receive(control: &OwnedFd) -> Result<Option<Request>, Errno> {
    let mut bytes = [0_u8; REQUEST_LEN];
    let mut space = nix::cmsg_space!([RawFd; 2]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(control.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let (mut socket, mut journal) = (None, None);
    for control_message in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control_message {
            let mut fds = fds.into_iter().map(syscalls::own_received_fd);
            (socket, journal) = (fds.next(), fds.next());
        }
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    let [kind, number @ ..] = bytes;
    Ok(Some(Request { kind, number: u64::from_le_bytes(number), socket, journal }))
}

fn reply(control: &OwnedFd, id: u64, pid: i32, error: i32, text: &str) {
    let mut bytes = Vec::with_capacity(REPLY_LEN + text.len());
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&pid.to_le_bytes());
    bytes.extend_from_slice(&error.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    // A worker that is no longer there is noticed by the next read.
    let _ = send(control.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL);
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
