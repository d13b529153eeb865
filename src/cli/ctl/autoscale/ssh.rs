//! Workers by ssh, on the hosts of a file: one on each where none lives. There is no list of what is starting: who is registered says everything.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::args::SshArgs;
use super::launch::Launch;
use super::provider::{Asked, Caller, Provider, ProviderError, StartRequest};
use crate::cli::ctl::hosts::{Host, read_hosts};
use crate::cli::ctl::ssh::{Ssh, Start, WorkerStart};
use crate::cli::exit::CliError;
use crate::policy::allocations::Listed;

/// Starts workers as `up` does; an allocation is a host, by the name of its worker.
#[derive(Debug)]
pub(super) struct SshHosts {
    hosts: Vec<Host>,
    /// Hosts on which a start failed: the others come first.
    failed: Mutex<BTreeSet<String>>,
    ssh: Ssh,
    dir: String,
    launch: Launch,
    limit: Duration,
}

impl SshHosts {
    /// Of the flags.
    ///
    /// # Errors
    /// A file of hosts that cannot be read or has faults.
    pub(super) fn new(launch: &Launch, args: &SshArgs, caller: Caller) -> Result<Self, CliError> {
        // The configuration is the file in that directory, as with `up`.
        let mut launch = launch.clone();
        if let Some(at) = launch.flags.iter().position(|flag| flag == "--config") {
            launch.flags.drain(at..at + 2);
        }
        Ok(Self {
            hosts: read_hosts(&args.reach.hosts)?.hosts,
            failed: Mutex::default(),
            ssh: Ssh::new(args.reach.ssh.as_deref())?,
            dir: args.reach.dir()?,
            launch,
            limit: caller.limit,
        })
    }
}

impl SshHosts {
    fn free_host(&self, taken: &BTreeSet<String>) -> Option<&Host> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let free = || self.hosts.iter().filter(|host| !taken.contains(host.worker.as_str()));
        free().find(|host| !failed.contains(host.worker.as_str())).or_else(|| free().next())
    }

    fn note(&self, host: &Host, is_good: bool) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if is_good {
            failed.remove(host.worker.as_str());
        } else {
            failed.insert(host.worker.to_string());
            // All of them have: each gets another turn.
            if failed.len() == self.hosts.len() {
                failed.clear();
            }
        }
    }
}

impl Provider for SshHosts {
    fn start<'a>(&'a self, request: StartRequest<'a>) -> Asked<'a, String> {
        Box::pin(async move {
            let host =
                self.free_host(request.taken).ok_or_else(|| ProviderError("every host has a worker".to_owned()))?;
            let start = WorkerStart { dir: self.dir.clone(), flags: self.launch.all_flags(request.patience) };
            let started = self.ssh.start(host, &start, self.limit).await;
            self.note(host, matches!(started, Start::Runs { .. }));
            match started {
                Start::Runs { .. } => Ok(host.worker.to_string()),
                Start::Ended { log, code, lines } => Err(ProviderError(format!(
                    "{host}: the worker ended with exit code {code}: {}; its log is {log}",
                    lines.join("; ")
                ))),
                Start::Failed(why) => Err(ProviderError(format!("{host}: {why}"))),
            }
        })
    }

    fn list(&self) -> Asked<'_, Option<Vec<Listed>>> {
        Box::pin(async { Ok(None) })
    }

    fn is_gone<'a>(&'a self, _id: &'a str) -> Asked<'a, bool> {
        Box::pin(async { Ok(false) })
    }

    fn cancel<'a>(&'a self, _id: &'a str) -> Asked<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn drains(&self) -> bool {
        true
    }

    fn worker_of(&self, id: &str) -> String {
        id.to_owned()
    }

    fn id_of(&self, worker: &str) -> Option<String> {
        self.hosts.iter().any(|host| host.worker.as_str() == worker).then(|| worker.to_owned())
    }

    fn shown(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        let flags = self.launch.all_flags(Duration::ZERO).join(" ");
        format!("distcomp-worker {flags} by ssh, in {} of one of: {}", self.dir, hosts.join(", "))
    }

    fn most(&self) -> Option<u64> {
        Some(self.hosts.len() as u64)
    }
}
