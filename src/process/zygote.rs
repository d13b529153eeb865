//! The zygote: a small process with one thread, from which keepers are forked. It kills what they leave behind.
//!
//! Forking the worker itself would be unsafe, because it has threads, and slow, because it has much memory. When a keeper dies, for example killed by its
//! own task, its process tree becomes a child of the zygote, which kills it. When the worker dies, the zygote gives its keepers a second
//! to kill their trees, and then kills the rest.

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

use super::keeper;
use super::reaper::{KILL_BOUND, Reaper};
use super::reply_journal::ReplyJournal;
use super::spawn::Spawner;
use super::syscalls;
use super::tag_file;
use super::terminate::{Guard, Target};
use super::worker_link;
use super::zygote_control::{HIDDEN_MODE, MAX_MESSAGE, Reply, Request, ZygoteSettings};

/// How long keepers may take to kill their process trees after the worker has gone.
const CLEANUP_GRACE: Duration = Duration::from_secs(1);

/// Runs the zygote, or one of its keepers, if this process was started as a zygote. `Some` is what `main` must return then. Call it first in
/// `main`, before any thread exists and before arguments are parsed.
#[must_use]
pub fn keeper_main_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != OsStr::new(HIDDEN_MODE) {
        return None;
    }
    // Without valid settings a person has typed the hidden mode: `main` reports wrong usage.
    let settings = args.next().and_then(|settings| serde_json::from_str(settings.to_str()?).ok())?;
    let tag_file = args.next().filter(|path| !path.is_empty()).map(PathBuf::from);
    Some(run(&settings, tag_file.as_deref()))
}

/// A system call that zygote or keeper needs has failed.
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

/// A request, with the descriptors that came with it.
struct Received {
    request: Request,
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
            // The worker reads this with its first request.
            reply(&control, &Reply::SetupFailed { error: error.text() });
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
            reply(&control, &Reply::SetupFailed { error: SetupError::of("poll")(errno).text() });
            break;
        }
        let is_ready = |index: usize| fds[index].revents().is_some_and(|revents| !revents.is_empty());
        let (is_asked, child_ended) = (is_ready(0), is_ready(1));
        if child_ended {
            reaper.acknowledge();
            // A child that is not a keeper was left behind by one.
            let left = reaper.reap(&mut |reaped| keepers.retain(|&pid| pid != reaped.pid));
            if left && !reaper.remaining(&keepers).is_empty() {
                let spared = keepers.clone();
                reaper.kill_all(KILL_BOUND, &spared, &mut |reaped| keepers.retain(|&pid| pid != reaped.pid));
            }
        }
        if !is_asked {
            continue;
        }
        match receive(&control) {
            Ok(Some(Received { request: Request::Fork { id }, socket: Some(socket), journal })) => {
                match syscalls::fork_single_threaded() {
                    Ok(ForkResult::Child) => {
                        // The keeper must not hold the control socket open: the worker would not notice the end of the zygote.
                        drop((control, reaper));
                        let journal = journal.map(ReplyJournal::of);
                        return match set_up_keeper(settings) {
                            Ok(reaper) => keeper::run(socket, journal, spawner, reaper),
                            Err(error) => {
                                worker_link::send_setup_failure(&socket, error.text());
                                ExitCode::from(2)
                            }
                        };
                    }
                    Ok(ForkResult::Parent { child }) => {
                        keepers.push(child.as_raw());
                        reply(&control, &Reply::Forked { id, keeper: child.as_raw().unsigned_abs() });
                    }
                    Err(errno) => reply(&control, &Reply::ForkFailed { id, errno: errno as i32 }),
                }
            }
            Ok(Some(Received { request: Request::Kill { keeper }, .. })) => {
                if let Some(&pid) = keepers.iter().find(|pid| pid.unsigned_abs() == keeper) {
                    let _ = Guard::current().send(Target::Child(pid), Signal::SIGKILL);
                }
            }
            Ok(Some(_)) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(None) => break,
            Err(errno) => {
                reply(&control, &Reply::SetupFailed { error: SetupError::of("recvmsg")(errno).text() });
                break;
            }
        }
    }
    drop(control);
    clear_up(&mut reaper);
    ExitCode::SUCCESS
}

/// Waits for the keepers, which have noticed the end of the worker too, and kills what is left after [`CLEANUP_GRACE`].
fn clear_up(reaper: &mut Reaper) {
    let end = Instant::now() + CLEANUP_GRACE;
    while reaper.reap(&mut |_| {}) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // A process that waits in the kernel dies later. Until then this process must stay and wait for it.
            while reaper.kill_all(KILL_BOUND, &[], &mut |_| {}) {
                reaper.wait(Duration::from_secs(1));
            }
            break;
        }
        reaper.wait(left);
    }
}

/// Leaves the worker's session, blocks all signals, and sets what tasks inherit. The control socket was standard input.
fn set_up_zygote(settings: &ZygoteSettings, tag_file: Option<&Path>) -> Result<(), SetupError> {
    // Blocked, not ignored: an ignored signal stays ignored after `exec`, while one call unblocks all of them for a task.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).map_err(SetupError::of("rt_sigprocmask"))?;
    syscalls::reset_signal_handlers();
    if let Some(tag_file) = tag_file {
        // Without the descriptor, leftover processes are still found by their environment.
        let _ = tag_file::inherit(tag_file);
    }
    let null = fs::File::open("/dev/null").map_err(errno).map_err(SetupError::of("open of /dev/null"))?;
    dup2_stdin(&null).map_err(SetupError::of("dup2"))?;
    // It fails for the leader of a process group, which then is in a group of its own already.
    let _ = setsid();
    prctl::set_child_subreaper(true).map_err(SetupError::of("prctl(PR_SET_CHILD_SUBREAPER)"))?;
    // So that `pkill distcomp-worker` finds the worker alone.
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

/// Closes descriptors that the worker inherited, such as the lock or pipe of a supervisor. Tasks do not get them, as in Python DistComp.
fn close_inherited(control: RawFd) {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&fd| fd > 2 && fd != control)
        .collect();
    for fd in open {
        // It fails for the descriptor of the directory that was just read, which is closed.
        let _ = close(fd);
    }
}

/// Makes the OOM killer choose a task, and neither the worker nor its Redis. Tasks inherit the score. A keeper has it too, but is the smallest of them.
/// Raising it needs no privilege.
fn prefer_for_oom(score: i32) {
    let file = "/proc/self/oom_score_adj";
    let now = fs::read_to_string(file).ok().and_then(|score| score.trim().parse::<i32>().ok());
    if now.is_some_and(|now| now < score) {
        let _ = fs::write(file, score.to_string());
    }
}

fn set_up_keeper(settings: &ZygoteSettings) -> Result<Reaper, SetupError> {
    // It is not inherited from the zygote.
    prctl::set_child_subreaper(true).map_err(SetupError::of("prctl(PR_SET_CHILD_SUBREAPER)"))?;
    let _ = prctl::set_name(c"distcomp-keeper");
    prefer_for_oom(settings.confinement.keys.oom_score_adj);
    if settings.confinement.user.is_some() {
        // A child shares this memory until `exec`, and runs as the tasks' user by then: other processes of that user must not read it.
        prctl::set_dumpable(false).map_err(SetupError::of("prctl(PR_SET_DUMPABLE)"))?;
    }
    Reaper::new().map_err(SetupError::of("signalfd4"))
}

/// The next request; `None` when the worker has closed the socket.
fn receive(control: &OwnedFd) -> Result<Option<Received>, Errno> {
    let mut bytes = [0_u8; MAX_MESSAGE];
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
    let len = message.bytes;
    if len == 0 {
        return Ok(None);
    }
    let request = postcard::from_bytes(&bytes[..len]).map_err(|_| Errno::EBADMSG)?;
    Ok(Some(Received { request, socket, journal }))
}

fn reply(control: &OwnedFd, reply: &Reply) {
    if let Ok(bytes) = postcard::to_stdvec(reply) {
        // If the worker has gone, the next read notices it.
        let _ = send(control.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL);
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
