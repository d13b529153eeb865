//! `distcomp-worker`: the daemon of a node.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::{Config, Overrides, Role, SECRET_VARIABLES, Source, Watcher};
use crate::host::{self, Probe};
use crate::model::WorkerName;
use crate::process::{self, KeeperSettings, Zygote};
use crate::queue::session::Registration;
use crate::queue::{Client, guard};
use crate::worker::startup::{self, StartError, State};
use crate::worker::{self, Identity, Setup};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use secrecy::SecretString;

#[derive(Parser, Debug)]
struct Flags {
    #[arg(long)]
    config: Option<PathBuf>,
    #[arg(long)]
    redis_url: Option<String>,
    #[arg(long)]
    name: Option<WorkerName>,
    #[arg(long)]
    burst: bool,
}

/// entry
pub fn main() -> ExitCode {
    if let Some(code) = process::keeper_main_if_asked() {
        return code;
    }
    let flags = Flags::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let source = flags.config.clone().map_or(Source::Default, Source::Named);
    let overrides = Overrides::of_process(flags.redis_url.clone().map(SecretString::from));
    let (watcher, loaded) = match Watcher::start(source, overrides, Role::Worker) {
        Ok(x) => x,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::from(2);
        }
    };
    let worker = flags.name.clone().unwrap_or_else(host::default_worker_name);
    match run(&flags, watcher, loaded.config, worker) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("distcomp-worker: failed to {e}");
            ExitCode::from(3)
        }
    }
}

fn run(flags: &Flags, watcher: Watcher, config: Arc<Config>, worker: WorkerName) -> Result<(), StartError> {
    let state = State::open(&config, &worker)?;
    let mut random = [0; 8];
    let _ = getrandom::fill(&mut random);
    let instance = format!("{:016x}", u64::from_le_bytes(random));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let (name, value) = state.marker.split_once('=').unwrap_or(("DISTCOMP_MARK", ""));
    let zygote = Zygote::start(&KeeperSettings {
        exe: "/proc/self/exe".into(),
        env_remove: SECRET_VARIABLES.iter().map(Into::into).collect(),
        env_add: vec![(name.into(), format!("{value}{instance}").into())],
        nofile_soft: Some(soft),
    })
    .expect("zygote");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(start(flags, watcher, config, worker, state, instance, zygote))
}

#[expect(clippy::too_many_arguments, reason = "temporary")]
async fn start(
    flags: &Flags,
    watcher: Watcher,
    config: Arc<Config>,
    worker: WorkerName,
    state: State,
    instance: String,
    zygote: Zygote,
) -> Result<(), StartError> {
    let client = Client::new(&config.redis, &config.key_prefix, Duration::from_secs(4))?;
    let conn = client.connect().await?;
    let order = guard::admit(&conn, config.field_order, guard::Access::Write).await?;
    conn.load_scripts().await?;
    let me = process::identity(std::process::id() as i32);
    let registration = Registration {
        instance: instance.clone(),
        host: host::short_host_name(),
        boot_id: host::boot_id().unwrap_or_default(),
        pid: std::process::id(),
        start_ticks: me.map_or(0, |m| m.start_ticks),
        version: env!("CARGO_PKG_VERSION").into(),
        since: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
        containment: "keeper".into(),
    };
    let session = startup::take_name(&conn, &worker, &registration, &config).await?;
    startup::sweep(&state, zygote.pid());
    let mut spool = state.spool();
    startup::recover(&session, spool.as_mut(), &config, order).await?;
    let run_id = conn.run_id().await?;
    let probe = Probe::new().expect("probe");
    let identity = Identity { worker, host: host::short_host_name(), instance, order, is_burst: flags.burst };
    worker::run(Setup {
        client,
        session,
        run_id,
        registration,
        identity,
        config,
        watcher,
        spool,
        zygote,
        probe,
        hangup_ends: false,
    })
    .await?;
    Ok(())
}
