//! From a configuration to a worker that may run: processes first, then Redis, then the name, then a clean node.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::exit::CliError;
use crate::cli::keys::{new_queue_id, queue_name};
use crate::config::{Config, RedisSettings, Watcher, node_warnings, withheld_variables};
use crate::host::{self, Probe, Share};
use crate::model::{FieldOrder, NodeSample, WorkerName};
use crate::process::{self, ConfineError, Confinement, KeeperSettings, OpenFiles, SlotCgroups, WorkerCgroup};
use crate::queue::guard::{self, Access};
use crate::queue::session::Registration;
use crate::queue::{Client, Layouts, Session, auth_probe, inspect};
use crate::signing::{PublicKey, Verifier};
use crate::sys::{random, wall_clock};
use crate::view::overview::warnings;
use crate::worker::faults::{Doing, Faults};
use crate::worker::results::{self, Results};
use crate::worker::spool::Spool;
use crate::worker::startup::{self, StartError};
use crate::worker::state::{Cgroups, MARKER, State};
use crate::worker::trust::{Keyring, Pin};
use crate::worker::{Identity, Metrics, Neighbours, Nursery, Setup};

/// How long one call may take; two seconds short of noticing a dead connection by other means.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);

/// What makes this run of a worker what it is.
pub(super) struct Plan {
    pub(super) config: Arc<Config>,
    pub(super) watcher: Watcher,
    pub(super) worker: WorkerName,
    /// Keys whose signatures count; none where no signature is required.
    pub(super) keys: Vec<PublicKey>,
    /// A server on the network that asks for no password will do.
    pub(super) allow_insecure: bool,
    pub(super) is_burst: bool,
    /// SIGHUP ends it.
    pub(super) hangup_ends: bool,
    /// A server that cannot be reached is waited for.
    pub(super) waits_for_redis: bool,
    /// Where it tells of itself.
    pub(super) metrics: Option<Metrics>,
    /// How much of the node it may use.
    pub(super) share: Share,
}

/// Where `--local` keeps the worker's state; elsewhere it is told apart by the server.
pub(super) fn open_state(config: &Config, worker: &WorkerName, local: Option<&Path>) -> Result<State, CliError> {
    let opened = match local {
        Some(dir) => State::open(dir, worker, "local"),
        None => State::open(&config.state_dir, worker, &queue_of(config)),
    };
    opened.map_err(|error| CliError::Usage(format!("failed to {error}")))
}

/// Tells the queues of one node's workers apart.
pub(super) fn queue_of(config: &Config) -> String {
    format!("{}\n{}", config.redis, config.key_prefix)
}

/// Does everything up to the first claim.
pub(super) async fn prepare(plan: Plan, state: &State) -> Result<Setup, CliError> {
    let Plan { config, watcher, worker, keys, allow_insecure, is_burst, hangup_ends, waits_for_redis, metrics, share } =
        plan;
    let instance = random::id();
    let files = process::raise_open_files();
    let confinement = Confinement::of(&config.confine).map_err(confine_error)?;
    let Cgroups { groups, leaf, before: old_groups } = state.cgroups(&instance, config.confine.enforce_memory);
    if let Some(warning) = results::warning(&config.result_dir, confinement.user.as_ref()) {
        tracing::warn!("{warning}");
    }
    let users = state.task_users(confinement.user.as_ref().map(|user| user.uid));
    let mut settings = keeper_settings(confinement, files, Some((state, &instance)), &config.redis);
    if leaf.is_some() {
        // Whatever a task starts is in the cgroup: it need not carry a descriptor of ours.
        settings.tag_file = None;
    }
    let nursery = start_nursery(settings, leaf, groups)?;
    nursery.try_out(&config.task_shell).await.map_err(confine_error)?;
    let probe = new_probe(share)?;
    let client = Client::new(&config.redis, &config.key_prefix, RESPONSE_TIMEOUT)?;
    let registration = registration(&instance, &nursery.containment());
    let mut pin = open_pin(state, !keys.is_empty())?;
    let ground = Ground { state, nursery: &nursery, old_groups: &old_groups, users: &users, allow_insecure };
    let faults = Faults::default();
    loop {
        match enter(&client, &config, &worker, &registration, &ground, pin.as_mut()).await {
            Ok(Entered { session, run_id, order, spool }) => {
                faults.worked(Instant::now(), Doing::Start);
                if let Ok(overview) = inspect::overview(session.connection()).await {
                    for warning in warnings(&overview.redis) {
                        tracing::warn!("{warning}");
                    }
                }
                let neighbours = Neighbours::new(registration.clone(), config.state_dir.clone(), queue_of(&config));
                let most_slots = files.map_or(u32::MAX, |files| process::slots_for(files.limit));
                let host = registration.host.clone();
                let identity = Identity {
                    worker,
                    host,
                    instance,
                    order,
                    is_burst,
                    most_slots,
                    wants_signatures: !keys.is_empty(),
                    // A burst ends with its work, whoever started it.
                    is_supervised: !is_burst && host::is_supervised(),
                };
                let trust = pin.and_then(|pin| {
                    let queue = queue_name(&config, pin.id()?.to_owned());
                    Some((Keyring::new(Verifier::new(keys, queue)), pin))
                });
                let results = Results::open(&config.result_dir);
                return Ok(Setup {
                    client,
                    session,
                    run_id,
                    registration,
                    identity,
                    config,
                    watcher,
                    spool,
                    neighbours,
                    nursery,
                    results,
                    probe,
                    trust,
                    hangup_ends,
                    metrics,
                    orders: None,
                });
            }
            // Not reachable, loading, full: a daemon has time.
            Err(CliError::Queue(error)) if waits_for_redis && error.is_transient() => {
                faults.failed(Instant::now(), Doing::Start, &error);
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

/// What is seen to before the first claim.
struct Ground<'a> {
    state: &'a State,
    nursery: &'a Nursery,
    /// Where earlier instances kept their processes.
    old_groups: &'a [PathBuf],
    /// As whom these ran.
    users: &'a [u32],
    allow_insecure: bool,
}

/// Takes the name, cleans the node, and takes up what an earlier process of this name has left. May be repeated.
async fn enter(
    client: &Client,
    config: &Config,
    worker: &WorkerName,
    registration: &Registration,
    ground: &Ground<'_>,
    pin: Option<&mut Pin>,
) -> Result<Entered, CliError> {
    let conn = client.connect().await?;
    if let Some(warning) = check_strangers(config, ground.allow_insecure).await? {
        tracing::warn!("{warning}");
    }
    let order = guard::admit(&conn, config.field_order, Access::Write).await?;
    if let Some(pin) = pin {
        pin.meet(&conn, &new_queue_id()?).await?;
    }
    conn.load_scripts().await?;
    let run_id = conn.run_id().await?;
    let session = startup::take_name(&conn, worker, registration, config, order).await.map_err(start_error)?;
    let pid = ground.nursery.zygote().pid();
    startup::sweep(ground.state, &registration.instance, ground.old_groups, pid, ground.users);
    let mut spool = ground.state.spool();
    startup::recover(&session, spool.as_mut(), config, order).await?;
    Ok(Entered { session, run_id, order, spool })
}

/// Refuses a server on the network that lets in whoever asks, or, where that is allowed, warns of it.
pub(super) async fn check_strangers(config: &Config, is_allowed: bool) -> Result<Option<String>, CliError> {
    if auth_probe::is_local(&config.redis).await?
        || !auth_probe::allows_anonymous(&config.redis, &config.key_prefix).await?
    {
        return Ok(None);
    }
    let what = format!(
        "the Redis at {} is on the network and asks for no password: whoever reaches it can run commands on this node",
        config.redis
    );
    if is_allowed {
        return Ok(Some(what));
    }
    Err(CliError::Usage(format!(
        "{what}. This worker runs no task. Set a password (`requirepass` or ACL users) and redis_pass_file, or let Redis listen only on 127.0.0.1 or a Unix socket. To run tasks anyway, use --allow-insecure"
    )))
}

/// What this worker remembers of its queue, where signatures are required.
fn open_pin(state: &State, is_required: bool) -> Result<Option<Pin>, CliError> {
    let file = state.own_queue_file();
    let failed = |error| CliError::io(format!("read {}", file.display()), error);
    is_required.then(|| Pin::open(file.clone()).map_err(failed)).transpose()
}

/// A worker needs public keys alone: one that can read the signing key could sign, once it is taken over.
pub(super) fn warn_of_signing_key(config: &Config) -> Option<String> {
    let path = config.task_signing_key.as_ref().filter(|path| std::fs::File::open(path).is_ok())?;
    Some(format!(
        "task_signing_key: this worker can read {}, so a compromised worker could sign tasks; keep the key only on machines that submit tasks",
        path.display()
    ))
}

/// What measures this node, or the part of it that may be used.
pub(super) fn new_probe(share: Share) -> Result<Probe, CliError> {
    let probe =
        Probe::new().map_err(|error| CliError::io("read the state of this node", std::io::Error::other(error)))?;
    Ok(probe.with_share(share))
}

/// Where the file is Python DistComp's, and nobody has said in which order its lines are.
pub(super) fn warn_of_order(config: &Config, order: FieldOrder) -> Option<String> {
    let is_guess = config.is_of_python && config.field_order.is_none() && order == FieldOrder::MemCpuPrio;
    is_guess.then(|| {
        format!(
            "task_field_order is not set, so it is \"{order}\", and lines are read as type:{order}:cmd. Lines of Python DistComp are type:{0}:cmd: to run those, set it to \"{0}\"",
            FieldOrder::PrioMemCpu
        )
    })
}

/// Looks at the node, and warns of settings that keep it from ever taking a task.
pub(super) fn look_at_node(config: &Config, probe: &mut Probe) -> (NodeSample, Vec<String>) {
    let node = probe.sample();
    let mut warnings = node_warnings(config, &node.total);
    if let Some(asked) = probe.share_beyond_node() {
        warnings.push(format!("--memory asks for {asked} and this machine has {}: that is used", node.total.mem()));
    }
    (node, warnings)
}

/// How tasks are started here; `marks` are those of a worker that will run some.
pub(super) fn keeper_settings(
    confinement: Confinement,
    files: Option<OpenFiles>,
    marks: Option<(&State, &str)>,
    redis: &RedisSettings,
) -> KeeperSettings {
    let variable = |(state, instance): (&State, &str)| {
        let (name, value) = state.marker.split_once('=').unwrap_or((MARKER, ""));
        (name.into(), format!("{value}{instance}").into())
    };
    KeeperSettings {
        exe: "/proc/self/exe".into(),
        env_remove: withheld_variables(redis, std::env::vars_os()),
        env_add: marks.map(variable).into_iter().collect(),
        nofile_soft: files.map(|files| files.soft_before),
        confinement,
        tag_file: marks.and_then(|(state, _)| Some(state.mark.as_ref()?.path().to_owned())),
    }
}

/// The variables of this process that tasks do not see, by name, for people.
pub(super) fn withheld(config: &Config) -> String {
    let names = withheld_variables(&config.redis, std::env::vars_os());
    names.iter().map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>().join(", ")
}

pub(super) fn start_nursery(
    settings: KeeperSettings,
    leaf: Option<WorkerCgroup>,
    groups: Option<SlotCgroups>,
) -> Result<Nursery, CliError> {
    Nursery::start(settings, leaf, groups)
        .map_err(|error| CliError::io("start the process keeper", std::io::Error::other(error)))
}

/// The configuration asks for what this node, or this user, cannot do.
pub(super) fn confine_error(error: ConfineError) -> CliError {
    CliError::Usage(format!("failed to {error}"))
}

fn registration(instance: &str, containment: &str) -> Registration {
    let pid = std::process::id();
    let me = i32::try_from(pid).ok().and_then(process::identity);
    Registration {
        instance: instance.to_owned(),
        host: host::short_host_name(),
        boot_id: host::process_space().unwrap_or_default(),
        pid,
        start_ticks: me.map_or(0, |me| me.start_ticks),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: wall_clock::unix_seconds(),
        containment: containment.to_owned(),
        layouts: Layouts::of_this_build(),
    }
}

pub(super) fn start_error(error: StartError) -> CliError {
    match error {
        StartError::Queue(error) => error.into(),
        StartError::NameTaken { .. } => CliError::Usage(format!("failed to {error}")),
    }
}
