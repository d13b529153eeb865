//! Starting a task: its pipes, its environment, its program.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use super::command::RunSpec;
use super::sys::{self, SpawnStack};

/// What every task of a keeper starts with. Made once in the zygote, shared by its keepers until somebody writes.
pub(super) struct Spawner {
    /// The worker's environment, less its secrets; each `NAME=value`.
    base: Vec<CString>,
    stack: SpawnStack,
}

/// A task that runs, and our ends of its output.
pub(super) struct Spawned {
    pub(super) pid: i32,
    pub(super) stdout: Pipe,
    pub(super) stderr: Pipe,
}

/// One output of a task.
pub(super) struct Pipe {
    /// Never blocks us.
    pub(super) read: OwnedFd,
    /// Held open until the task is over, so that the end of the stream is never announced: the end of the main process is what ends a slot,
    /// and one wake-up fewer is a third of what is left to save.
    write: OwnedFd,
}

impl Spawner {
    /// Takes the environment of this process as it is now.
    pub(super) fn new() -> Self {
        let entry = |(name, value): (OsString, OsString)| {
            let mut entry = name.into_vec();
            entry.push(b'=');
            entry.extend_from_slice(value.as_bytes());
            CString::new(entry).ok()
        };
        Self { base: std::env::vars_os().filter_map(entry).collect(), stack: SpawnStack::new() }
    }

    /// Starts a program. The error is a lower-case fragment that names the program or what was missing.
    pub(super) fn start(&mut self, spec: &RunSpec) -> Result<Spawned, String> {
        let program = c_string(spec.program.as_os_str().as_bytes(), "the program")?;
        let args = spec.args.iter().map(|arg| c_string(arg.as_bytes(), "an argument"));
        let args = args.collect::<Result<Vec<_>, _>>()?;
        let extra = spec.env.iter().map(|(name, value)| c_string(format!("{name}={value}").as_bytes(), "a variable"));
        let extra = extra.collect::<Result<Vec<_>, _>>()?;

        let argv: Vec<&CStr> = [program.as_c_str()].into_iter().chain(args.iter().map(CString::as_c_str)).collect();
        // One value a name: of two, some programs see the first and some the last.
        let replaced = |entry: &CString| {
            let entry = entry.to_bytes();
            let is_of = |name: &[u8]| entry.get(name.len()) == Some(&b'=') && entry.starts_with(name);
            spec.env.iter().any(|(name, _)| is_of(name.as_bytes()))
        };
        let kept = self.base.iter().filter(|entry| !replaced(entry));
        let envp: Vec<&CStr> = kept.chain(&extra).map(CString::as_c_str).collect();

        let (stdout, stderr) = (pipe()?, pipe()?);
        let (out, err) = (stdout.write.as_fd(), stderr.write.as_fd());
        let pid = sys::spawn(&mut self.stack, &program, &argv, &envp, out, err)
            .map_err(|errno| format!("start {}: {}", spec.program.display(), errno.desc()))?;
        Ok(Spawned { pid, stdout, stderr })
    }
}

fn c_string(bytes: &[u8], what: &str) -> Result<CString, String> {
    CString::new(bytes).map_err(|_| format!("start it: {what} holds a NUL byte"))
}

fn pipe() -> Result<Pipe, String> {
    let open = || -> Result<Pipe, Errno> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        // Of the reading end alone: the other is the task's, which expects to wait.
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Pipe { read, write })
    };
    open().map_err(|errno| format!("make a pipe: {}", errno.desc()))
}
