//! How the workers of an autoscaler are started: their program and their flags.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::args::ScaleArgs;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::worker::check_flags;
use crate::config::{GPUS, ResourceDef};
use crate::model::WorkerName;
use crate::model::needs::show_milli;

/// A worker as a command line, but for its name.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// The autoscaler.
    pub(super) name: WorkerName,
    /// The program.
    pub(super) program: String,
    /// Flags.
    pub(super) flags: Vec<String>,
    /// How long it lives.
    pub(super) time_limit: Option<Duration>,
    /// After how long with nothing to run it exits.
    pub(super) idle_timeout: Duration,
}

impl Launch {
    /// Of the flags of this command and its configuration file.
    ///
    /// # Errors
    /// Flags that no worker takes, and paths that are not UTF-8.
    pub(super) fn new(
        name: WorkerName,
        args: &ScaleArgs,
        time_limit: Option<Duration>,
        context: &Context,
    ) -> Result<Self, CliError> {
        let program = match &args.worker_program {
            Some(program) => program.clone(),
            None => beside()?,
        };
        let mut flags = Vec::new();
        let mut add = |flag: &str, value: String| flags.extend([flag.to_owned(), value]);
        if let Some(file) = &context.file {
            add("--config", whole(file)?);
        }
        if let Some((cpus, mem)) = args.cpus.zip(args.mem) {
            add("--cores", cpus.to_string());
            add("--memory", mem.as_gib().to_string());
        }
        if let Some(slots) = args.slots {
            add("--slots", slots.to_string());
        }
        for label in &args.labels {
            add("--label", label.clone());
        }
        for (name, def) in &args.resources {
            // GPUs are found: those that the node lets the worker see.
            if &**name != GPUS {
                add("--resource", resource(name, def));
            }
        }
        let bad = || CliError::Usage("--worker-flags: a quote does not end; valid: words as for a shell".to_owned());
        let more = args.worker_flags.as_deref().map(|text| shlex::split(text).ok_or_else(bad)).transpose()?;
        flags.extend(more.unwrap_or_default());
        check_flags(&flags)?;
        Ok(Self { name, program, flags, time_limit, idle_timeout: args.idle_timeout })
    }

    /// All flags, for a worker that is patient for so long at least.
    pub(super) fn all_flags(&self, patience: Duration) -> Vec<String> {
        let seconds = |time: Duration| time.as_secs().max(1).to_string();
        let limit = self.time_limit.map(|limit| ["--time-limit".to_owned(), seconds(limit)]);
        let idle = ["--idle-timeout".to_owned(), seconds(self.idle_timeout.max(patience))];
        self.flags.iter().cloned().chain(idle).chain(limit.into_iter().flatten()).collect()
    }

    /// A script that becomes the worker of a job. `job` is what the shell there knows of its id.
    pub(super) fn script(&self, job: &str, patience: Duration) -> String {
        let flags = self.all_flags(patience);
        let words = std::iter::once(&self.program).chain(&flags).map(|word| quoted(word));
        let words: Vec<String> = words.collect();
        let (program, flags) = words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        format!(
            "#!/bin/sh\n# A worker of distcomp-ctl autoscale.\nexec {program} --name \"{}-{job}\" {}\n",
            self.name,
            flags.join(" ")
        )
    }

    /// The name of the worker of an allocation.
    pub(super) fn worker_of(&self, id: &str) -> String {
        format!("{}-{id}", self.name)
    }

    /// The allocation of a worker.
    pub(super) fn id_of(&self, worker: &str) -> Option<String> {
        let id = worker.strip_prefix(self.name.as_str())?.strip_prefix('-')?;
        (!id.is_empty()).then(|| id.to_owned())
    }
}

/// For `sh`. No argument of a process has a NUL in it.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/=,:+@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// `NAME=DEF`, as the worker reads it.
fn resource(name: &Arc<str>, def: &ResourceDef) -> String {
    match def {
        ResourceDef::Auto => format!("{name}=auto"),
        ResourceDef::Devices(devices) => format!("{name}={},", devices.join(",")),
        ResourceDef::Sum(milli) => format!("{name}={}", show_milli(*milli)),
    }
}

fn beside() -> Result<String, CliError> {
    let exe = std::env::current_exe().map_err(|error| CliError::io("find this program", error))?;
    whole(&exe.with_file_name("distcomp-worker"))
}

/// The path from the root: nodes have other working directories.
fn whole(path: &Path) -> Result<String, CliError> {
    let path = std::path::absolute(path).map_err(|error| CliError::io(format!("find {}", path.display()), error))?;
    let shown = path.display().to_string();
    path.into_os_string().into_string().map_err(|_| CliError::Usage(format!("{shown} is not UTF-8")))
}
