//! From a configuration to a worker that may run: processes first, then Redis, then the name, then a clean node.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::exit::CliError;
use crate::config::{Config, NodeCapacity, SECRET_VARIABLES, Watcher, node_warnings};
use crate::host::{self, Probe};
use crate::model::{FieldOrder, WorkerName};
use crate::process::{self, KeeperSettings, Leaf, OpenFiles};
use crate::queue::guard::{self, Access};
use crate::queue::session::Registration;
use crate::queue::{Client, Session, inspect};
use crate::view::overview::warnings;
use crate::worker::spool::Spool;
use crate::worker::startup::{self, StartError, State};
use crate::worker::{Identity, Metrics, Nursery, Setup};

/// How long one call may take; two seconds short of noticing a dead connection by other means.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);

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
    /// Where it tells of itself.
    pub(super) metrics: Option<Metrics>,
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
    let Plan { config, watcher, worker, is_burst, hangup_ends, waits_for_redis, metrics } = plan;
    refuse_unsigned(&config)?;
    let instance = random_instance();
    let files = process::raise_open_files();
    let (leaf, old_leaf) = state.leaf(&instance);
    let nursery = start_nursery(state, &instance, files, leaf)?;
    let probe = Probe::new().map_err(|error| CliError::io("look at this node", std::io::Error::other(error)))?;
    let client = Client::new(&config.redis, &config.key_prefix, RESPONSE_TIMEOUT)?;
    let registration = registration(&instance, nursery.containment());
    let mut said = String::new();
    loop {
        match enter(&client, &config, &worker, &registration, state, &nursery, old_leaf.as_deref()).await {
            Ok(Entered { session, run_id, order, spool }) => {
                if let Ok(overview) = inspect::overview(session.connection()).await {
                    for warning in warnings(&overview.redis) {
                        tracing::warn!("{warning}");
                    }
                }
                let most_slots = files.map_or(u32::MAX, |files| process::slots_for(files.limit));
                let host = registration.host.clone();
                let identity = Identity { worker, host, instance, order, is_burst, most_slots };
                return Ok(Setup {
                    client,
                    session,
                    run_id,
                    registration,
                    identity,
                    config,
                    watcher,
                    spool,
                    nursery,
                    probe,
                    hangup_ends,
                    metrics,
                });
            }
            // Not reachable, loading, full: a daemon has time.
            Err(CliError::Queue(error)) if waits_for_redis && error.is_transient() => {
                let text = error.to_string();
                if text != said {
                    tracing::warn!(error = %text, "waiting for Redis");
                    said = text;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What a worker has once Redis has let it in.
struct Entered {
    session: Session,
    run_id: String,
    order: FieldOrder,
    spool: Option<Spool>,
}

/// Takes the name, cleans the node, and takes up what an earlier process of this name has left. May be repeated.
async fn enter(
    client: &Client,
    config: &Config,
    worker: &WorkerName,
    registration: &Registration,
    state: &State,
    nursery: &Nursery,
    old_leaf: Option<&Path>,
) -> Result<Entered, CliError> {
    let conn = client.connect().await?;
    let order = guard::admit(&conn, config.field_order, Access::Write).await?;
    conn.load_scripts().await?;
    let run_id = conn.run_id().await?;
    let session = startup::take_name(&conn, worker, registration, config).await.map_err(start_error)?;
    startup::sweep(state, &registration.instance, old_leaf, nursery.zygote().pid());
    let mut spool = state.spool();
    startup::recover(&session, spool.as_mut(), config, order).await?;
    Ok(Entered { session, run_id, order, spool })
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

fn start_nursery(
    state: &State,
    instance: &str,
    files: Option<OpenFiles>,
    leaf: Option<Leaf>,
) -> Result<Nursery, CliError> {
    let (name, value) = state.marker.split_once('=').unwrap_or((startup::MARKER, ""));
    let settings = KeeperSettings {
        exe: "/proc/self/exe".into(),
        env_remove: SECRET_VARIABLES.iter().map(Into::into).collect(),
        env_add: vec![(name.into(), format!("{value}{instance}").into())],
        nofile_soft: files.map(|files| files.soft_before),
    };
    Nursery::start(settings, leaf)
        .map_err(|error| CliError::io("start the process keeper", std::io::Error::other(error)))
}

fn registration(instance: &str, containment: &str) -> Registration {
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
        containment: containment.to_owned(),
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
