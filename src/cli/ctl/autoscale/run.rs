//! The command: its provider, its lock, and then its loop.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::args::{AutoscaleArgs, ProviderArgs};
use super::command::UserCommands;
use super::keeper::lock_time;
use super::launch::Launch;
use super::once;
use super::pbs::Pbs;
use super::planner::Planner;
use super::provider::{Caller, Provider};
use super::scaler::Scaler;
use super::slurm::Slurm;
use super::ssh::SshHosts;
use crate::cli::ctl::context::CtlContext;
use crate::cli::exit::{CliError, Exit};
use crate::host::short_host_name;
use crate::model::WorkerName;
use crate::queue::autoscale as records;

/// Between two tries to take a lock that another process has.
const LOCK: Duration = Duration::from_millis(500);

/// The whole command.
pub(in crate::cli::ctl) async fn autoscale(session: &mut CtlContext, args: &AutoscaleArgs) -> Result<Exit, CliError> {
    let provider_args = &args.provider;
    let scale = provider_args.scale();
    let name = name_of(provider_args, &session.context.config.key_prefix)?;
    let launch = Launch::new(name.clone(), scale, provider_args.time_limit(), &session.context)?;
    let provider = provider_of(provider_args, launch)?;
    let planner = Planner::new(provider_args, &*provider, &session.context);
    if scale.once || session.manner.dry_run {
        return once::once(session, provider_args, &name, &*provider, planner).await;
    }
    let holder = format!("{}:{}", short_host_name(), std::process::id());
    take_lock(session, &name, &holder, scale.interval).await?;
    let mut scaler = Scaler::new(session, provider_args, name, holder, &*provider, planner);
    let ended = scaler.run().await;
    let closed = scaler.close().await;
    let exit = ended?;
    closed?;
    Ok(exit)
}

/// The name that was given, or that of the provider with what tells queues of one server apart.
fn name_of(args: &ProviderArgs, prefix: &str) -> Result<WorkerName, CliError> {
    if let Some(name) = &args.scale().name {
        return Ok(name.clone());
    }
    let queue: String = prefix.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(24).collect();
    let name = if queue.is_empty() { args.name().to_owned() } else { format!("{}-{queue}", args.name()) };
    name.parse().map_err(|error| CliError::Usage(format!("--name is missing, and {name} is none: {error}")))
}

fn provider_of(args: &ProviderArgs, launch: Launch) -> Result<Box<dyn Provider>, CliError> {
    let caller = Caller { limit: args.scale().provider_timeout };
    Ok(match args {
        ProviderArgs::Slurm(args) => Box::new(Slurm::new(launch, args, caller)),
        ProviderArgs::Pbs(args) => Box::new(Pbs::new(launch, args, caller)),
        ProviderArgs::Ssh(args) => Box::new(SshHosts::new(&launch, args, caller)?),
        ProviderArgs::Command(args) => Box::new(UserCommands::new(launch, args, caller)),
    })
}

/// Takes the lock of the name. One that was killed leaves it for three intervals.
async fn take_lock(session: &CtlContext, name: &WorkerName, holder: &str, interval: Duration) -> Result<(), CliError> {
    let time = lock_time(interval);
    let (begun, mut has_said) = (Instant::now(), false);
    loop {
        let Some(other) = records::lock(&session.conn, name, holder, time).await? else { return Ok(()) };
        if begun.elapsed() > time + LOCK {
            return Err(CliError::Usage(format!(
                "an autoscaler named {name} runs already, as {other}: stop it, or give this one another name with --name"
            )));
        }
        if !std::mem::replace(&mut has_said, true) {
            session
                .say(&format!("waiting for the lock of {name}, which {other} has, for {} s at most", time.as_secs()));
        }
        sleep(LOCK).await;
    }
}
