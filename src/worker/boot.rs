//! Starts a worker from a configuration: first its processes, then Redis, then its name, then a clean node.
//!
//! A program starts a worker by [`boot`] and [`crate::worker::run`]; the command line does no more.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attach::{StartError, recover, sweep, sweep_scratch, take_name};
use super::daemon::Setup;
use super::dispatcher::Identity;
use super::faults::{Doing, Faults};
use super::keeper_factory::KeeperFactory;
use super::keepers::{self, Keepers};
use super::local_orphans::LocalOrphans;
use super::metrics::Metrics;
use super::node_extras::NodeExtras;
use super::results::{self, Results};
use super::spool::Spool;
use super::start_checks::{new_probe, refuse_open_redis};
use super::state::{Cgroups, StateDir, queue_of};
use super::trust::{Keyring, Pin};
use crate::config::{Config, Watcher};
use crate::host::{self, Share};
use crate::model::{FieldOrder, WorkerName};
use crate::process::{self, Confinement};
use crate::queue::guard::{self, Access};
use crate::queue::session::Registration;
use crate::queue::{Client, Layouts, Session, inspect, queue_identity};
use crate::signing::{PublicKey, QueueName, Verifier};
use crate::sys::boot::clock_ms;
use crate::sys::{random, wall_clock};
use crate::view::overview::warnings;

/// How long one call may take; two seconds short of noticing a dead connection by other means.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);

/// Between two attempts to reach Redis.
const PAUSE: Duration = Duration::from_millis(500);

/// What makes this run of a worker what it is.
pub struct BootPlan {
    /// The settings.
    pub config: Arc<Config>,
    /// Where they are read again.
    pub watcher: Watcher,
    /// Its name.
    pub worker: WorkerName,
    /// Keys whose signatures count; none where no signature is required.
    pub keys: Vec<PublicKey>,
    /// A server on the network that asks for no password will do.
    pub allow_insecure: bool,
    /// It ends when nothing is left that it could run.
    pub is_burst: bool,
    /// SIGHUP ends it.
    pub hangup_ends: bool,
    /// A server that cannot be reached is waited for.
    pub waits_for_redis: bool,
    /// Where it tells of itself.
    pub metrics: Option<Metrics>,
    /// How much of the node it may use.
    pub share: Share,
    /// The program whose `main` begins with [`process::keeper_main_if_asked`], which is started as keeper: [`keepers::THIS_PROGRAM`], or another.
    pub keeper_program: PathBuf,
}

/// Does everything up to the first claim.
///
/// # Errors
/// When the node cannot run tasks as the configuration says, when Redis refuses, and, unless it is waited for, when Redis is away.
pub async fn boot(plan: BootPlan, state: &StateDir) -> Result<Setup, StartError> {
    let (config, worker) = (&plan.config, &plan.worker);
    let instance = random::id();
    let files = process::raise_open_files();
    let confinement = Confinement::of(&config.confine)?;
    let Cgroups { groups, leaf, before: old_groups } = state.cgroups(&instance, config.confine.enforce_memory);
    if let Some(warning) = results::warning(&config.result_dir, confinement.user.as_ref()) {
        tracing::warn!("{warning}");
    }
    let users = state.task_users(confinement.user.as_ref().map(|user| user.uid));
    let mut settings =
        Keepers { program: &plan.keeper_program, confinement, files }.settings(Some((state, &instance)), &config.redis);
    if leaf.is_some() {
        // Whatever a task starts is in the cgroup: it need not carry a descriptor of ours.
        settings.tag_file = None;
    }
    let keeper_factory = keepers::start(settings, leaf, groups)?;
    keeper_factory.try_out(&config.task_shell).await?;
    let probe = new_probe(plan.share)?;
    let extras = NodeExtras::find(state.scratch_records()).await;
    extras.prepare(config)?;
    let client = Client::new(&config.redis, &config.key_prefix, RESPONSE_TIMEOUT)?;
    let started_ms = clock_ms();
    let registration = registration(&instance, &keeper_factory.containment(), config.dead_after);
    let mut pin = open_pin(state, !plan.keys.is_empty())?;
    let context = BootContext {
        client: &client,
        config,
        worker,
        registration: &registration,
        state,
        keeper_factory: &keeper_factory,
        old_groups: &old_groups,
        users: &users,
        allow_insecure: plan.allow_insecure,
    };
    let Attached { session, run_id, order, spool } =
        context.attach_when_ready(pin.as_mut(), plan.waits_for_redis).await?;
    if let Ok(overview) = inspect::overview(session.connection()).await {
        for warning in warnings(&overview.redis) {
            tracing::warn!("{warning}");
        }
    }
    let local_orphans = LocalOrphans::new(registration.clone(), config.state_dir.clone(), queue_of(config));
    let identity = Identity {
        worker: worker.clone(),
        host: registration.host.clone(),
        instance,
        order,
        is_burst: plan.is_burst,
        most_slots: files.map_or(u32::MAX, |files| process::slots_for(files.limit)),
        wants_signatures: !plan.keys.is_empty(),
        // A burst ends with its work, whoever started it.
        is_supervised: !plan.is_burst && host::is_supervised(),
    };
    let results = Results::open(&config.result_dir);
    let trust = pin.and_then(|pin| {
        let queue = QueueName::of(config, pin.id()?.to_owned());
        Some((Keyring::new(Verifier::new(plan.keys, queue)), pin))
    });
    Ok(Setup {
        client,
        session,
        run_id,
        registration,
        identity,
        config: plan.config,
        watcher: plan.watcher,
        started_ms,
        spool,
        local_orphans,
        keeper_factory,
        results,
        probe,
        extras,
        trust,
        hangup_ends: plan.hangup_ends,
        metrics: plan.metrics,
        orders: None,
    })
}

/// What a worker has once Redis has let it in.
struct Attached {
    session: Session,
    run_id: String,
    order: FieldOrder,
    spool: Option<Spool>,
}

/// What attaching needs, and what is seen to before the first claim.
struct BootContext<'a> {
    client: &'a Client,
    config: &'a Config,
    worker: &'a WorkerName,
    registration: &'a Registration,
    state: &'a StateDir,
    keeper_factory: &'a KeeperFactory,
    /// Where earlier instances kept their processes.
    old_groups: &'a [PathBuf],
    /// As whom these ran.
    users: &'a [u32],
    allow_insecure: bool,
}

impl BootContext<'_> {
    /// Attaches; a server that is not reachable, loads, or is full is waited for where that is wanted: a daemon has time.
    async fn attach_when_ready(&self, mut pin: Option<&mut Pin>, waits: bool) -> Result<Attached, StartError> {
        let faults = Faults::default();
        loop {
            match self.attach(pin.as_deref_mut()).await {
                Ok(attached) => {
                    faults.worked(Instant::now(), Doing::Start);
                    return Ok(attached);
                }
                Err(StartError::Queue(error)) if waits && error.is_transient() => {
                    faults.failed(Instant::now(), Doing::Start, &error);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the name, cleans the node, and takes up what an earlier process of this name has left. May be repeated.
    async fn attach(&self, pin: Option<&mut Pin>) -> Result<Attached, StartError> {
        let conn = self.client.connect().await?;
        if let Some(warning) = refuse_open_redis(self.config, self.allow_insecure).await? {
            tracing::warn!("{warning}");
        }
        let order = guard::handshake(&conn, self.config.field_order, Access::Attach).await?;
        if let Some(pin) = pin {
            let fresh = queue_identity::fresh().map_err(|error| StartError::io("get random numbers", error))?;
            pin.meet(&conn, &fresh).await?;
        }
        conn.load_scripts().await?;
        let run_id = conn.run_id().await?;
        let session = take_name(&conn, self.worker, self.registration, self.config, order).await?;
        let pid = self.keeper_factory.zygote().pid();
        sweep(self.state, &self.registration.instance, self.old_groups, pid, self.users);
        sweep_scratch(self.state);
        let mut spool = self.state.spool();
        recover(&session, spool.as_mut(), self.config, order).await?;
        Ok(Attached { session, run_id, order, spool })
    }
}

/// What this worker remembers of its queue, where signatures are required.
fn open_pin(state: &StateDir, is_required: bool) -> Result<Option<Pin>, StartError> {
    let file = state.own_queue_file();
    let failed = |error| StartError::io(format!("read {}", file.display()), error);
    is_required.then(|| Pin::open(file.clone()).map_err(failed)).transpose()
}

fn registration(instance: &str, containment: &str, dead_after: Duration) -> Registration {
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
        dead_after_seconds: dead_after.as_secs_f64().ceil() as u64,
    }
}
