//! The only file with unsafe code: system calls for which `nix` has no safe function.
//!
//! They are `fork`, a spawn like `vfork`, `wait4`, signal dispositions, pidfds, descriptors received in a message, and the allocator. Each function
//! is safe to call under the conditions that its comment names. Only thin wrappers belong here.
#![expect(
    unsafe_code,
    reason = "nix has no safe function for fork, clone, wait4, signal dispositions, received and inherited descriptors, pidfds, getpriority, mallopt, and reading \
              into memory that is not initialised"
)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::ForkResult;

use super::protocol::ExitStatus;

/// A child that has ended and was waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitResult {
    pub(super) pid: i32,
    pub(super) status: ExitStatus,
    /// Peak resident memory of it and of the descendants that it waited for: the largest of them, in bytes.
    pub(super) peak_bytes: u64,
    pub(super) cpu_user: Duration,
    pub(super) cpu_system: Duration,
}

/// Has the allocator ask the system for every block of so many bytes or more, and give it back when it is freed.
pub(super) fn return_blocks_from(bytes: c_int) {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: both calls set a number in the allocator, and nothing else.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, bytes);
            libc::mallopt(libc::M_TRIM_THRESHOLD, bytes);
        }
    }
    // Other allocators do so by themselves.
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}

/// Waits for any child without blocking. `Ok(None)`: there are children and none has ended. `ECHILD`: there are none.
pub(super) fn wait_any() -> Result<Option<WaitResult>, Errno> {
    let mut status: c_int = 0;
    // SAFETY: all-zero is a valid rusage, it holds nothing but integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the right type.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage) };
    if Errno::result(pid)? == 0 {
        return Ok(None);
    }
    let status = if libc::WIFSIGNALED(status) {
        ExitStatus::Signaled(libc::WTERMSIG(status))
    } else {
        ExitStatus::Exited(libc::WEXITSTATUS(status))
    };
    Ok(Some(WaitResult {
        pid,
        status,
        peak_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        cpu_user: duration(usage.ru_utime),
        cpu_system: duration(usage.ru_stime),
    }))
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
        + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// Forks. Only for a process with a single thread, which zygote and keepers are from their first instruction on: then the child is a
/// whole copy, locks included, and may go on as any process.
pub(super) fn fork_single_threaded() -> Result<ForkResult, Errno> {
    // SAFETY: no other thread exists that could hold a lock at this moment.
    unsafe { nix::unistd::fork() }
}

/// Takes over a descriptor that the kernel has just made for us from a message.
pub(super) fn own_received_fd(fd: RawFd) -> OwnedFd {
    // SAFETY: the number comes from the control data of one message, read once; nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Duplicates a descriptor for the programs that this process executes, to a number from `least` on.
pub(super) fn duplicate_for_children(fd: BorrowedFd<'_>, least: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the descriptor is open. The result is a new one that nobody else owns.
    unsafe {
        let fd = Errno::result(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, least))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Every signal back to its default: what was ignored by whoever started us would be ignored by every task. For a process of one thread: the C library
/// keeps two signals to itself, 32 and 33, for the sake of threads, and does not set them for others.
pub(super) fn reset_signal_handlers() {
    // The default action, no flags, no restorer, an empty mask: zeros, in the order of every architecture.
    let default = [0_u64; 4];
    for number in 1..=64 {
        // SAFETY: reads the zeros, which are as long as the structure is anywhere, and sets no handler. Those that cannot be set, such as
        // SIGKILL, answer an error that means nothing.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), std::ptr::null_mut::<u64>(), 8_usize);
        }
    }
}

/// Whether this process ignores a signal.
pub(super) fn is_ignored(number: c_int) -> bool {
    // SAFETY: all-zero is a valid sigaction, and the call only reads the present one into it.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(number, std::ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

/// Reads once, into the memory that `buffer` has reserved beyond its length. Returns how many bytes were added; 0 at the end of the stream.
pub(super) fn read_to_spare(fd: &OwnedFd, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
    let spare = buffer.spare_capacity_mut();
    // SAFETY: the pointer and the length are those of memory that belongs to `buffer`, and `read` writes no more than the length.
    let count = unsafe { libc::read(fd.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len()) };
    let count = usize::try_from(Errno::result(count)?).unwrap_or(0);
    // SAFETY: `read` has just initialised `count` bytes after the present length, within the capacity.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

/// The niceness of this process; `None` if the kernel does not tell.
pub(super) fn niceness() -> Option<c_int> {
    Errno::clear();
    // SAFETY: reads a number of this process.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS as _, 0) };
    // -1 is a niceness too.
    (nice != -1 || Errno::last_raw() == 0).then_some(nice)
}

/// A descriptor of the process that has this pid now. It stays with that process, even when the pid is given to another one.
pub(super) fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes two numbers. The result is a new descriptor (close-on-exec) that nobody else owns.
    unsafe {
        let fd = Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        RawFd::try_from(fd).map(|fd| OwnedFd::from_raw_fd(fd)).map_err(|_| Errno::EBADF)
    }
}

/// Sends a signal to the process of a descriptor.
pub(super) fn pidfd_send_signal(pidfd: &OwnedFd, signal: Signal) -> Result<(), Errno> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, and no `siginfo_t` is passed.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal as c_int, no_info, 0) };
    Errno::result(done).map(drop)
}

/// Gives freed memory back to the system, so that a keeper that has seen a large output is small again.
pub(super) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches nothing but what the allocator knows to be free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The stack a child borrows between its birth and its `exec`.
pub(super) struct ChildStack(Box<[u128; 1024]>);

impl ChildStack {
    pub(super) fn new() -> Self {
        Self(Box::new([0; 1024]))
    }
}

/// Arguments of `exec_child`; they live in the parent's memory, which the child shares until `exec`.
struct ExecPlan {
    program: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    stdout: RawFd,
    stderr: RawFd,
    unblocked: libc::sigset_t,
    limits: *const ChildLimits,
    failure: AtomicI32,
    failed_at: AtomicU8,
}

/// Limits of a child. They would hinder its keeper too, so the child sets them itself between `fork` and `exec`.
#[derive(Debug, Default)]
pub(super) struct ChildLimits {
    /// Soft and hard limits alike.
    pub(super) resources: Vec<(Resource, u64)>,
    pub(super) nice: Option<c_int>,
    pub(super) user: Option<ChildUser>,
}

/// A user that the child becomes for good.
#[derive(Debug)]
pub(super) struct ChildUser {
    pub(super) uid: libc::uid_t,
    pub(super) gid: libc::gid_t,
    pub(super) groups: Vec<libc::gid_t>,
}

/// The step at which a child failed to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum SpawnStep {
    /// Group, descriptors, signals, or the clone itself.
    Prepare,
    /// A limit or the niceness.
    Limit,
    /// Becoming the user, or the proof that there is no way back.
    User,
    /// The program.
    Exec,
}

/// Starts a program in a process group of its own, with no signal blocked, descriptor 0 as ours, and the given ones as 1 and 2. Answers once
/// the program runs. All else is inherited: the caller keeps its signals at their defaults and its descriptors close-on-exec, which is why
/// no more than five calls stand between birth and `exec` (glibc's `posix_spawn` asks for the disposition of all 64 signals besides).
///
/// `limits` adds a call for each of its parts.
///
/// # Errors
/// What `exec` or the steps before it said; no child is left then.
pub(super) fn spawn(
    stack: &mut ChildStack,
    program: &CStr,
    argv: &[&CStr],
    envp: &[&CStr],
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
    limits: &ChildLimits,
) -> Result<i32, (SpawnStep, Errno)> {
    let pointers = |strings: &[&CStr]| -> Vec<*const c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(argv), pointers(envp));
    // SAFETY: all-zero is a valid set, and sigemptyset makes it the empty one.
    let unblocked = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        set
    };
    let plan = ExecPlan {
        program: program.as_ptr(),
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        stdout: stdout.as_raw_fd(),
        stderr: stderr.as_raw_fd(),
        unblocked,
        limits,
        failure: AtomicI32::new(0),
        failed_at: AtomicU8::new(0),
    };
    // SAFETY: CLONE_VFORK holds this thread, the only one, until the child has called exec or exited, so the plan, the strings and the stack
    // outlive the child's use of them and nobody else touches the shared memory. The stack is 16 KiB, aligned to 16, grows down from its end,
    // and the child calls nothing but system calls. The caller blocks all signals, so no handler runs on it.
    let pid = unsafe {
        let top = stack.0.as_mut_ptr_range().end.cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        libc::clone(exec_child, top, flags, (&raw const plan).cast_mut().cast())
    };
    let pid = Errno::result(pid).map_err(|errno| (SpawnStep::Prepare, errno))?;
    match plan.failure.load(Ordering::Relaxed) {
        0 => Ok(pid),
        errno => {
            // SAFETY: waits for the child that has just exited, with no status wanted.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            let steps = [SpawnStep::Prepare, SpawnStep::Limit, SpawnStep::User, SpawnStep::Exec];
            let at = steps.into_iter().find(|step| *step as u8 == plan.failed_at.load(Ordering::Relaxed));
            Err((at.unwrap_or(SpawnStep::Prepare), Errno::from_raw(errno)))
        }
    }
}

/// The child between birth and `exec`. Only system calls: it runs in the parent's memory.
extern "C" fn exec_child(plan: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes a live plan, and see there for why nothing else uses it now.
    unsafe {
        let plan = &*plan.cast::<ExecPlan>();
        let limits = &*plan.limits;
        let mut at = SpawnStep::Prepare;
        if libc::setpgid(0, 0) == 0 && libc::dup2(plan.stdout, 1) == 1 && libc::dup2(plan.stderr, 2) == 2 {
            at = SpawnStep::Limit;
            if limit_child(limits) {
                at = SpawnStep::User;
                if limits.user.as_ref().is_none_or(|user| switch_user(user))
                    && libc::sigprocmask(libc::SIG_SETMASK, &raw const plan.unblocked, std::ptr::null_mut()) == 0
                {
                    at = SpawnStep::Exec;
                    libc::execve(plan.program, plan.argv, plan.envp);
                }
            }
        }
        plan.failure.store(Errno::last_raw(), Ordering::Relaxed);
        plan.failed_at.store(at as u8, Ordering::Relaxed);
        libc::_exit(127)
    }
}

/// As root still, where we are: a limit may be one that only root can set.
fn limit_child(limits: &ChildLimits) -> bool {
    for &(resource, limit) in &limits.resources {
        if setrlimit(resource, limit, limit).is_err() {
            return false;
        }
    }
    // SAFETY: a system call on this process alone; the child is one of its own, though it shares our memory.
    limits.nice.is_none_or(|nice| unsafe { libc::setpriority(libc::PRIO_PROCESS as _, 0, nice) } == 0)
}

/// Groups first, while we may; then the ids, real, effective and saved. And then the proof: what can become root again has not left.
/// There is one thread here, so these calls are only system calls. The memory that is shared with root until `exec` is closed to the user: keepers
/// are not dumpable.
///
/// # Safety
/// To be called in the child alone.
unsafe fn switch_user(user: &ChildUser) -> bool {
    const SAME: libc::uid_t = libc::uid_t::MAX;
    // SAFETY: the groups are as many as said, and live.
    unsafe {
        libc::setgroups(user.groups.len() as _, user.groups.as_ptr()) == 0
            && libc::setresgid(user.gid, user.gid, user.gid) == 0
            && libc::setresuid(user.uid, user.uid, user.uid) == 0
            && libc::setresuid(SAME, 0, SAME) != 0
            && libc::setresgid(SAME, 0, SAME) != 0
    }
}
