//! The flags of `distcomp-ctl autoscale`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueHint};

use crate::cli::common::path_parser;
use crate::cli::ctl::host_args::HostArgs;
use crate::config::{self, ResourceDef, ShapeParts, parse_label_flag};
use crate::model::{Bytes, MilliCores, WorkerName};

/// Which provider, and how.
#[derive(Clone, Debug, Args)]
pub struct AutoscaleArgs {
    /// Where workers are started
    #[command(subcommand)]
    pub provider: ProviderArgs,
}

/// The providers.
#[derive(Clone, Debug, Subcommand)]
pub enum ProviderArgs {
    /// Start workers as jobs of Slurm, with sbatch
    Slurm(BatchArgs),
    /// Start workers as jobs of PBS, with qsub
    Pbs(BatchArgs),
    /// Start workers by ssh, on the hosts of a file where none lives
    Ssh(SshArgs),
    /// Start workers with commands of your own, for a cloud or another batch system
    Command(CommandArgs),
}

impl ProviderArgs {
    /// The flags that all have.
    pub(super) fn scale(&self) -> &ScaleArgs {
        match self {
            Self::Slurm(args) | Self::Pbs(args) => &args.scale,
            Self::Ssh(args) => &args.scale,
            Self::Command(args) => &args.scale,
        }
    }

    /// Whether it only says what it would do.
    pub(in crate::cli::ctl) fn is_once(&self) -> bool {
        self.scale().once
    }

    /// The name of the provider.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Slurm(_) => "slurm",
            Self::Pbs(_) => "pbs",
            Self::Ssh(_) => "ssh",
            Self::Command(_) => "command",
        }
    }

    /// How long its workers live; `None` for no limit.
    pub(super) fn time_limit(&self) -> Option<Duration> {
        match self {
            Self::Slurm(args) | Self::Pbs(args) => Some(args.time_limit),
            Self::Ssh(args) => args.time_limit,
            Self::Command(args) => args.time_limit,
        }
    }
}

/// Of a batch system.
#[derive(Clone, Debug, Args)]
pub struct BatchArgs {
    /// Time limit of each job, such as 1h
    ///
    /// The worker returns everything before. Tasks with a longer time= are not counted.
    #[arg(long, value_name = "DURATION", value_parser = time)]
    pub time_limit: Duration,
    /// Directory for the output of the jobs, which the nodes can write to [default: the present one]
    #[arg(long, value_name = "DIR", value_parser = path_parser(), value_hint = ValueHint::DirPath)]
    pub log_dir: Option<PathBuf>,
    /// What all providers have
    #[command(flatten)]
    pub scale: ScaleArgs,
    /// Flags of sbatch or qsub, after --
    #[arg(last = true, value_name = "FLAGS", allow_hyphen_values = true)]
    pub flags: Vec<String>,
}

/// Of ssh.
#[derive(Clone, Debug, Args)]
pub struct SshArgs {
    /// The hosts
    #[command(flatten)]
    pub reach: HostArgs,
    /// Time after which a worker returns everything and exits, such as 12h [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = time)]
    pub time_limit: Option<Duration>,
    /// What all providers have
    #[command(flatten)]
    pub scale: ScaleArgs,
}

/// Of commands of the user.
#[derive(Clone, Debug, Args)]
pub struct CommandArgs {
    /// Command for sh that starts one worker, and ends when it has been asked for
    ///
    /// It finds the name that the worker must have in DISTCOMP_WORKER_NAME, and its flags, as words for a shell, in DISTCOMP_WORKER_FLAGS.
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new())]
    pub start: String,
    /// Command for sh that ends the worker named in DISTCOMP_WORKER_NAME
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new())]
    pub stop: String,
    /// Command for sh that prints a line "NAME STATE" for each worker: pending, running or ended
    ///
    /// DISTCOMP_WORKER_PREFIX is what the names of these workers begin with. Without it, what is starting is known from this program alone.
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new())]
    pub list: Option<String>,
    /// Time after which a worker returns everything and exits, such as 12h [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = time)]
    pub time_limit: Option<Duration>,
    /// What all providers have
    #[command(flatten)]
    pub scale: ScaleArgs,
}

/// Of every provider.
#[derive(Clone, Debug, Args)]
pub struct ScaleArgs {
    /// Name of this autoscaler, with which the names of its jobs and workers begin [default: that of the provider, and the key prefix]
    #[arg(long, short = 'n', value_name = "NAME", value_parser = name)]
    pub name: Option<WorkerName>,
    /// Never have more workers than these, those that wait or start included
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub max_workers: u64,
    /// Keep at least so many, even without work
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_workers: u64,
    /// Let so many wait at the provider at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub backlog: u64,
    /// Let a worker exit after so long with nothing to run
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = time)]
    pub idle_timeout: Duration,
    /// Cores that a task can have on a worker [default, with --mem: as the first worker shows]
    #[arg(long, value_name = "N", requires = "mem", value_parser = cores)]
    pub cpus: Option<MilliCores>,
    /// Memory in GB that a task can have on a worker
    #[arg(long, value_name = "GB", requires = "cpus", value_parser = gib)]
    pub mem: Option<Bytes>,
    /// Tasks that a worker runs at once [default: max_task_per_worker]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub slots: Option<u32>,
    /// What a worker has beside cores and memory, such as gpus=4; may be repeated
    #[arg(long = "resource", value_name = "NAME=DEF", value_parser = config::shape_resource)]
    pub resources: Vec<(Arc<str>, ResourceDef)>,
    /// Label of the workers, such as ssd or region=eu; may be repeated
    #[arg(long = "label", value_name = "TERM", value_parser = parse_label_flag)]
    pub labels: Vec<String>,
    /// More flags of the workers, as words for a shell: --worker-flags "--log-format json"
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    pub worker_flags: Option<String>,
    /// The worker's program, on the nodes [default: distcomp-worker beside this program]
    #[arg(long, value_name = "PATH")]
    pub worker_program: Option<String>,
    /// Time between two looks at the queue and the provider
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = time)]
    pub interval: Duration,
    /// How long the worker of a running allocation may take to attach; then it is cancelled and counts as failed
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = time)]
    pub start_timeout: Duration,
    /// How long a command of the provider may take; then it is killed
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = time)]
    pub provider_timeout: Duration,
    /// Say what it would do now, and why, and do nothing
    #[arg(long)]
    pub once: bool,
    /// Cancel all allocations at the end; without it they go on
    #[arg(long)]
    pub cancel_on_exit: bool,
}

impl ScaleArgs {
    /// The shape of a worker, as far as it is said.
    pub(super) fn parts(&self, time: Option<Duration>) -> ShapeParts {
        let (resources, labels) = (self.resources.clone(), self.labels.clone());
        ShapeParts { cpus: self.cpus, mem: self.mem, slots: self.slots, resources, labels, time }
    }
}

fn time(text: &str) -> Result<Duration, String> {
    config::life(text).map_err(|valid| format!("valid: {valid}"))
}

fn cores(text: &str) -> Result<MilliCores, String> {
    config::some_cores(text).map_err(|valid| format!("valid: {valid}"))
}

fn gib(text: &str) -> Result<Bytes, String> {
    config::some_gib(text).map_err(|valid| format!("valid: {valid}"))
}

/// The longest name of an autoscaler: its workers have longer ones.
const LONGEST_NAME: usize = 40;

fn name(text: &str) -> Result<WorkerName, String> {
    let name = text.parse::<WorkerName>().ok().filter(|name| name.as_str().len() <= LONGEST_NAME);
    name.ok_or_else(|| format!("valid: at most {LONGEST_NAME} of A-Z a-z 0-9 . _ -"))
}
