//! From a configuration to a worker that may run: processes first, then Redis, then the name, then a clean node.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::exit::CliError;
use crate::config::{Config, NodeCapacity, SECRET_VARIABLES, Watcher, node_warnings};
use crate::host::{self, Probe};
use crate::model::WorkerName;
use crate::process::{self, KeeperSettings, Zygote};
use crate::queue::guard::{self, Access};
use crate::queue::session::Registration;
use crate::queue::{Client, Connection, inspect};
use crate::view::overview::warnings;
use crate::worker::startup::{self, StartError, State};
use crate::worker::{Identity, Setup};

/// How long one call may take; two seconds short of noticing a dead connection by other means.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);

/// The layers of containment that are on, for people.
pub(super) const CONTAINMENT: &str = "keeper";

/// What makes this run of a worker what it is.
pub(super) struct Plan {
    pub(super) config: Arc<Config>,
    pub(super) watcher: Watcher,
    pub(super) worker: WorkerName,
    pub(super) is_burst: bool,
    /// SIGHUP ends it.
    pub(super) hangup_ends: bool,
    /// A server that cannot be reached is waited for.
    pub(super) waits_for_redis: bool,
}

/// Where `--local` keeps the worker's state; elsewhere it is told apart by the server.
pub(super) fn open_state(config: &Config, worker: &WorkerName, local: Option<&Path>) -> Result<State, CliError> {
    let opened = match local {
        Some(dir) => State::open(dir, worker, "local"),
        None => State::open(&config.state_dir, worker, &format!("{}\n{}", config.redis, config.key_prefix)),
    };
    opened.map_err(start_error)
}

/// Does everything up to the first claim.
pub(super) async fn prepare(plan: Plan, state: &State) -> Result<Setup, CliError> {
    let Plan { config, watcher, worker, is_burst, hangup_ends, waits_for_redis } = plan;
    refuse_unsigned(&config)?;
    let instance = random_instance();
    let zygote = start_zygote(state, &instance)?;
    let probe = Probe::new().map_err(|error| CliError::io("look at this node", std::io::Error::other(error)))?;
    let client = Client::new(&config.redis, &config.key_prefix, RESPONSE_TIMEOUT)?;
    let conn = connect(&client, waits_for_redis).await?;
    let order = guard::admit(&conn, config.field_order, Access::Write).await?;
    conn.load_scripts().await?;
    for warning in warnings(&inspect::overview(&conn).await?.redis) {
        tracing::warn!("{warning}");
    }
    let registration = registration(&instance);
    let session = startup::take_name(&conn, &worker, &registration, &config).await.map_err(start_error)?;
    startup::sweep(state, zygote.pid());
    let mut spool = state.spool();
    startup::recover(&session, spool.as_mut(), &config, order).await?;
    let run_id = conn.run_id().await?;
    let identity = Identity { worker, host: registration.host.clone(), instance, order, is_burst };
    Ok(Setup { client, session, run_id, registration, identity, config, watcher, spool, zygote, probe, hangup_ends })
}

/// This release cannot check signatures: better no task than an unsigned one where signatures are required.
pub(super) fn refuse_unsigned(config: &Config) -> Result<(), CliError> {
    if config.require_signed_tasks {
        return Err(CliError::Usage(
            "require_signed_tasks is set, and this release cannot check signatures: no task is run".to_owned(),
        ));
    }
    Ok(())
}

/// Warns of settings that keep this node from ever taking a task.
pub(super) fn node_capacity(config: &Config, probe: &mut Probe) -> (NodeCapacity, Vec<String>) {
    let capacity = probe.sample().capacity();
    let warnings = node_warnings(config, &capacity);
    (capacity, warnings)
}

fn start_zygote(state: &State, instance: &str) -> Result<Zygote, CliError> {
    let (name, value) = state.marker.split_once('=').unwrap_or((startup::MARKER, ""));
    let settings = KeeperSettings {
        exe: "/proc/self/exe".into(),
        env_remove: SECRET_VARIABLES.iter().map(Into::into).collect(),
        env_add: vec![(name.into(), format!("{value}{instance}").into())],
        nofile_soft: process::raise_open_files(),
    };
    Zygote::start(&settings).map_err(|error| CliError::io("start the process keeper", std::io::Error::other(error)))
}

/// Connects; where that is wanted it waits for a server that is not there yet, and says so.
async fn connect(client: &Client, waits: bool) -> Result<Connection, CliError> {
    let mut said = String::new();
    loop {
        match client.connect().await {
            Err(error) if waits && error.is_transient() => {
                let text = error.to_string();
                if text != said {
                    tracing::warn!(error = %text, "waiting for Redis");
                    said = text;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            connected => return Ok(connected?),
        }
    }
}

fn registration(instance: &str) -> Registration {
    let pid = std::process::id();
    let me = i32::try_from(pid).ok().and_then(process::identity);
    Registration {
        instance: instance.to_owned(),
        host: host::short_host_name(),
        boot_id: host::boot_id().unwrap_or_default(),
        pid,
        start_ticks: me.map_or(0, |me| me.start_ticks),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        containment: CONTAINMENT.to_owned(),
    }
}

/// 64 random bits; where the system has none to give, the time and the process are the next best.
fn random_instance() -> String {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        bytes = (u64::from(nanos) << 32 | u64::from(std::process::id())).to_ne_bytes();
    }
    format!("{:016x}", u64::from_ne_bytes(bytes))
}

pub(super) fn start_error(error: StartError) -> CliError {
    match error {
        StartError::Queue(error) => error.into(),
        StartError::NameTaken { .. } | StartError::State { .. } => CliError::Usage(format!("failed to {error}")),
    }
}
