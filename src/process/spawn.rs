//! Starts a task: creates its pipes, builds its environment, executes its program.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Gid, Uid, fchown, pipe2};

use super::confinement::{Confinement, TaskUser};
use super::protocol::RunSpec;
use super::syscalls::{self, ChildLimits, ChildStack, ChildUser, SpawnStep};

/// What all tasks have in common. It is built once in the zygote, and keepers share its memory as copy-on-write.
pub(super) struct Spawner {
    /// The worker's environment without its secrets, as `NAME=value`.
    base: Vec<CString>,
    user: Option<TaskUser>,
    limits: ChildLimits,
    stack: ChildStack,
}

/// A running task, and the keeper's ends of its pipes.
pub(super) struct Spawned {
    pub(super) pid: i32,
    pub(super) stdout: Pipe,
    pub(super) stderr: Pipe,
}

/// The pipe for one output stream of a task.
pub(super) struct Pipe {
    /// Non-blocking.
    pub(super) read: OwnedFd,
    /// Kept open until the task is over, so that the end of the stream does not wake the keeper. The end of the main process ends the run, and each
    /// wake-up saved makes short tasks faster.
    write: OwnedFd,
}

/// Why a task was not started.
pub(super) struct SpawnError {
    /// A lower-case fragment that names the failed step.
    pub(super) error: String,
    /// A fault of the node, not of the task.
    pub(super) is_node_fault: bool,
}

impl SpawnError {
    fn new(what: &str, errno: Errno) -> Self {
        let is_node_fault = matches!(errno, Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE);
        Self { error: format!("{what}: {}", errno.desc()), is_node_fault }
    }

    /// A step that does not depend on the task has failed.
    pub(super) fn of_node(what: &str, error: &str) -> Self {
        Self { error: format!("{what}: {error}"), is_node_fault: true }
    }
}

impl Spawner {
    /// Takes the present environment of this process, and replaces the variables that differ for the tasks' user.
    pub(super) fn new(confinement: &Confinement) -> Self {
        let ours = confinement.user.as_ref().map(TaskUser::variables).unwrap_or_default();
        let entry = |name: &[u8], value: &[u8]| CString::new([name, b"=", value].concat()).ok();
        let is_ours = |name: &OsString| ours.iter().any(|(ours, _)| name.as_bytes() == ours.as_bytes());
        let kept = std::env::vars_os()
            .filter(|(name, _)| !is_ours(name))
            .filter_map(|(name, value)| entry(name.as_bytes(), value.as_bytes()));
        let base = kept.chain(ours.iter().filter_map(|(name, value)| entry(name.as_bytes(), value))).collect();
        Self { base, user: confinement.user.clone(), limits: child_limits(confinement), stack: ChildStack::new() }
    }

    /// The user of tasks; `None`: the worker's user.
    pub(super) fn user(&self) -> Option<&TaskUser> {
        self.user.as_ref()
    }

    /// Starts the program of a run.
    pub(super) fn start(&mut self, spec: &RunSpec) -> Result<Spawned, SpawnError> {
        let program = c_string(spec.program.as_os_str().as_bytes(), "the program")?;
        let args = spec.args.iter().map(|arg| c_string(arg.as_bytes(), "an argument"));
        let args = args.collect::<Result<Vec<_>, _>>()?;
        let extra = spec.env.iter().map(|(name, value)| c_string(format!("{name}={value}").as_bytes(), "a variable"));
        let extra = extra.collect::<Result<Vec<_>, _>>()?;

        let argv: Vec<&CStr> = [program.as_c_str()].into_iter().chain(args.iter().map(CString::as_c_str)).collect();
        // One entry for each name: of two, some programs use the first and some the last.
        let replaced = |entry: &CString| {
            let entry = entry.to_bytes();
            let is_of = |name: &[u8]| entry.get(name.len()) == Some(&b'=') && entry.starts_with(name);
            spec.env.iter().any(|(name, _)| is_of(name.as_bytes()))
        };
        let kept = self.base.iter().filter(|entry| !replaced(entry));
        let envp: Vec<&CStr> = kept.chain(&extra).map(CString::as_c_str).collect();

        let (stdout, stderr) = (self.pipe()?, self.pipe()?);
        let (out, err) = (stdout.write.as_fd(), stderr.write.as_fd());
        let pid = syscalls::spawn(&mut self.stack, &program, &argv, &envp, out, err, &self.limits).map_err(
            |(step, errno)| {
                let what = match step {
                    SpawnStep::Prepare | SpawnStep::Exec => format!("start {}", spec.program.display()),
                    SpawnStep::Limit => "set the limits of the task".to_owned(),
                    SpawnStep::User => "switch to the user of tasks".to_owned(),
                };
                SpawnError::new(&what, errno)
            },
        )?;
        Ok(Spawned { pid, stdout, stderr })
    }
}

fn c_string(bytes: &[u8], what: &str) -> Result<CString, SpawnError> {
    let refused = |_| SpawnError { error: format!("start the task: {what} contains a NUL byte"), is_node_fault: false };
    CString::new(bytes).map_err(refused)
}

/// The limits that a child sets for itself.
fn child_limits(confinement: &Confinement) -> ChildLimits {
    let keys = &confinement.keys;
    let wanted = [
        (Resource::RLIMIT_CORE, keys.rlimits.core),
        (Resource::RLIMIT_NOFILE, keys.rlimits.nofile),
        (Resource::RLIMIT_FSIZE, keys.rlimits.fsize),
        (Resource::RLIMIT_NPROC, keys.rlimits.nproc),
    ];
    let resources = wanted.into_iter().filter_map(|(resource, limit)| {
        // Raising the hard limit needs a privilege.
        let (_, hard) = getrlimit(resource).ok()?;
        Some((resource, limit?.min(hard)))
    });
    let user = confinement.user.as_ref();
    // Lowering the niceness needs a privilege too.
    let now = syscalls::niceness().unwrap_or(0);
    ChildLimits {
        resources: resources.collect(),
        nice: keys.nice.filter(|nice| *nice > now),
        user: user.map(|user| ChildUser { uid: user.uid, gid: user.gid, groups: user.groups.clone() }),
    }
}

impl Spawner {
    fn pipe(&self) -> Result<Pipe, SpawnError> {
        let open = || -> Result<Pipe, Errno> {
            let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
            // The reading end only: the task expects blocking writes.
            fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            if let Some(user) = &self.limits.user {
                // Otherwise `echo > /dev/stderr`, which opens the pipe again, would be refused.
                fchown(&write, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
            }
            Ok(Pipe { read, write })
        };
        open().map_err(|errno| SpawnError::new("create a pipe", errno))
    }
}
