//! Loads the configuration of a worker from the flags, the environment and the file.

use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use super::args::WorkerArgs;
use crate::cli::exit::CliError;
use crate::cli::output::complain;
use crate::cli::words::RUN;
use crate::config::{LoadedConfig, Overrides, Role, Watcher, parse_resource_flag};
use crate::host::Job;
use crate::worker::start_checks::new_probe;

/// The name of the program, for messages: the one that was typed.
pub(super) fn program() -> &'static str {
    if std::env::args_os().next().is_some_and(|name| name == RUN) { RUN } else { "distcomp-worker" }
}

/// Reading the configuration takes no longer than this but where a file system does not answer.
const SLOW: Duration = Duration::from_secs(10);

/// How long the job of a batch system that this process is a part of still lives; that nobody tells is a warning.
fn job_time_left() -> Option<Duration> {
    let left = Job::of_process().time_left().unwrap_or_else(|problem| {
        complain(program(), &format!("{problem}; --time-limit says how long the worker may live"));
        None
    });
    left.map(|left| left.max(Duration::from_secs(1)))
}

/// Reads it; its warnings are passed on to the caller.
pub(super) fn load(
    args: &WorkerArgs,
    private_server: Option<&Path>,
    role: Role,
) -> Result<(Watcher, LoadedConfig), CliError> {
    let source = args.common.source();
    let mut overrides = Overrides::of_process(args.common.redis_url.clone());
    overrides.private_server = private_server.map(Into::into);
    overrides.slots = args.slots;
    // Of a local run the flag is of its tasks.
    let offered = args.fields.needs.resource.iter().filter(|_| !args.local);
    let parse = |text: &String| {
        parse_resource_flag(text).map_err(|wrong| CliError::Usage(format!("--resource is {text:?}: {wrong}")))
    };
    overrides.resources = offered.map(parse).collect::<Result<_, _>>()?;
    overrides.labels.clone_from(&args.labels);
    overrides.time_limit = args.time_limit;
    if !args.local && args.time_limit.is_none() {
        overrides.job_time_left = job_time_left();
    }
    overrides.idle_timeout = args.idle_timeout;
    overrides.no_default_timeout = args.local;
    overrides.may_lack_result_dir = args.local;
    if args.local || args.memory.is_some() {
        overrides.node_mem = Some(new_probe(args.share())?.sample().total.mem());
    }
    // On a file system that does not answer it waits, which is to be seen.
    let (answer, answered) = std::sync::mpsc::channel();
    let shown = source.path().display().to_string();
    let failed = |error| CliError::io("start a thread", error);
    let start = move || drop(answer.send(Watcher::start(source, overrides, role)));
    std::thread::Builder::new().name("files".to_owned()).spawn(start).map_err(failed)?;
    loop {
        match answered.recv_timeout(SLOW) {
            Ok(started) => return started.map_err(CliError::Config),
            Err(RecvTimeoutError::Timeout) => {
                complain(
                    program(),
                    &format!(
                        "still waiting for {shown}, or for a file or directory that it names: the file system does not answer"
                    ),
                );
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(CliError::Usage(format!("cannot read {shown}: the thread that reads it has ended")));
            }
        }
    }
}
