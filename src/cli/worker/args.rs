//! The flags of `distcomp-worker`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueHint};

use super::local::ResultsFile;
use crate::cli::common::CommonArgs;
use crate::cli::duration::parse_duration;
use crate::cli::exit::CliError;
use crate::cli::submit::{BatchFlags, FieldFlags, Named, SourceFlags};
use crate::config::parse_label_flag;
use crate::host::{self, Share};
use crate::model::{Bytes, MilliCores, WorkerName};
use crate::policy::Halt;
use crate::telemetry::LogFormat;

/// Heading of the flags of local runs.
const LOCAL: &str = "Local runs (with --local)";

/// Run tasks on this node.
///
/// The worker claims tasks from the queue in Redis while the node has room, runs each in a contained process tree, and records its outcome. Run one
/// worker on each node. On SIGTERM it lets running tasks end; on a second SIGTERM it returns them to the queue immediately.
#[derive(Clone, Debug, Parser)]
#[command(name = "distcomp-worker", version, max_term_width = 100, after_long_help = EXAMPLES, after_help = "Run --help for details and examples")]
pub struct WorkerArgs {
    /// Task files for --local; - means standard input
    #[arg(value_name = "FILE", requires = "local", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Name of this worker [default: the short host name]
    ///
    /// Of a local run: the batch to which the tasks are added, or a step of one: s1, s1/prep.
    #[arg(long, short = 'n', value_name = "NAME")]
    pub name: Option<String>,
    /// Exit when no task is left that this worker could run
    #[arg(long, conflicts_with_all = ["check", "local"])]
    pub burst: bool,
    /// Check the configuration, Redis and this node, print what the node offers, and exit
    #[arg(long, conflicts_with = "local")]
    pub check: bool,
    /// Run files or commands on this machine, with a private Redis; the same command continues an interrupted run
    #[arg(long)]
    pub local: bool,
    /// Also run the tasks that earlier commands in this directory left waiting
    #[arg(long, requires = "local", help_heading = LOCAL, hide_short_help = true)]
    pub all: bool,
    /// Run the failed tasks of these files again
    #[arg(long, requires = "local", alias = "resume-failed", help_heading = LOCAL, hide_short_help = true)]
    pub rerun_failed: bool,
    /// Run all tasks of these files again
    #[arg(long, requires = "local", help_heading = LOCAL, hide_short_help = true)]
    pub rerun: bool,
    /// Start anew; move the state and results of earlier runs in this directory to a numbered directory
    #[arg(long, requires = "local", help_heading = LOCAL, hide_short_help = true)]
    pub fresh: bool,
    /// Check the files or sources, say how they were read, and run nothing
    #[arg(long, requires = "local", help_heading = LOCAL, hide_short_help = true)]
    pub dry_run: bool,
    /// What a local run shows and writes down
    #[command(flatten)]
    pub run: LocalFlags,
    /// Run at most N tasks at once; overrides max_task_per_worker
    #[arg(long, short = 'j', alias = "jobs", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub slots: Option<u32>,
    /// Use this many cores of the node
    #[arg(long, value_name = "N", value_parser = some_cores, hide_short_help = true)]
    pub cores: Option<MilliCores>,
    /// Use this much memory of the node
    #[arg(long, value_name = "GB", value_parser = some_gib, hide_short_help = true)]
    pub memory: Option<Bytes>,
    /// Give this worker a label, such as ssd or region=eu, besides those of the configuration
    #[arg(long = "label", value_name = "TERM", value_parser = parse_label_flag, hide_short_help = true)]
    pub labels: Vec<String>,
    /// Return everything and exit before this time is over, such as 90m; overrides time_limit_seconds
    #[arg(long, value_name = "DURATION", value_parser = lifetime, hide_short_help = true)]
    pub time_limit: Option<Duration>,
    /// Exit after so long with nothing to run, such as 5m; overrides idle_timeout_seconds
    #[arg(long, value_name = "DURATION", value_parser = lifetime, conflicts_with = "local", hide_short_help = true)]
    pub idle_timeout: Option<Duration>,
    /// Run tasks even if Redis is on the network and requires no password: whoever reaches it can run commands here
    #[arg(long, conflicts_with = "local")]
    pub allow_insecure: bool,
    /// Serve Prometheus metrics at /metrics and liveness at /healthz; no task data
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["check", "local"], hide_short_help = true)]
    pub metrics_listen: Option<SocketAddr>,
    /// Format of log lines: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_default_value = true, hide_short_help = true)]
    pub log_format: LogFormat,
    /// The batch
    #[command(flatten)]
    pub batch: BatchFlags,
    /// The fields of bare commands
    #[command(flatten)]
    pub fields: FieldFlags,
    /// Where commands come from
    #[command(flatten)]
    pub sources: SourceFlags,
    /// What all commands share
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The flags of a local run: what it shows, what it writes down, and when it ends before its tasks.
#[derive(Clone, Debug, Args)]
pub struct LocalFlags {
    /// Print what each task wrote when it ends; the summary then goes to standard error
    #[arg(long, requires = "local", help_heading = LOCAL, hide_short_help = true)]
    pub show_output: bool,
    /// Like --show-output, in the order of the command line
    #[arg(long, short = 'k', requires = "local", help_heading = LOCAL, hide_short_help = true)]
    pub keep_order: bool,
    /// Append a row to FILE for each task that ends, in the columns of GNU parallel's --joblog
    #[arg(long, value_name = "FILE", requires = "local", value_hint = ValueHint::FilePath, help_heading = LOCAL, hide_short_help = true)]
    pub joblog: Option<PathBuf>,
    /// At the end, write a row for each task to FILE.csv or FILE.jsonl: its values, its outcome and its output
    #[arg(long, value_name = "FILE", requires = "local", value_hint = ValueHint::FilePath, help_heading = LOCAL, hide_short_help = true)]
    pub results: Option<ResultsFile>,
    /// End before the last task: now,fail=1; soon,fail=3%; also success and done
    #[arg(long, value_name = "WHEN,WHAT=N", requires = "local", allow_hyphen_values = true, default_value = "never", hide_default_value = true, help_heading = LOCAL, hide_short_help = true)]
    pub halt: Halt,
}

impl LocalFlags {
    /// Whether the output of tasks is printed.
    pub(super) fn shows_output(&self) -> bool {
        self.show_output || self.keep_order
    }
}

impl WorkerArgs {
    /// What is said about tasks.
    pub(super) fn named(&self) -> Named<'_> {
        let Self { files, fields, sources, batch, name, .. } = self;
        Named { files, fields, sources, name: name.as_deref(), batch }
    }

    /// The name of the worker: that of the node, unless another is given. One of a local run has that of the node.
    pub(super) fn worker_name(&self) -> Result<WorkerName, CliError> {
        let Some(name) = self.name.as_ref().filter(|_| !self.local) else { return Ok(host::default_worker_name()) };
        name.parse().map_err(|error| CliError::Usage(format!("--name is {name:?}: {error}")))
    }

    /// The part of the node that may be used.
    pub(super) fn share(&self) -> Share {
        let all = Share::default();
        Share {
            most: all
                .most
                .with_mem(self.memory.unwrap_or(all.most.mem()))
                .with_cpu(self.cores.unwrap_or(all.most.cpu())),
            least: all.least.with_cpu(self.cores_for_slots()),
        }
    }

    /// In a local run, -j alone runs that many at once whatever the machine has, as in GNU parallel. The tasks ask for one core all the same: a task line
    /// that depended on -j would be another task, and the same command with another -j would run everything again.
    fn cores_for_slots(&self) -> MilliCores {
        let slots = self.slots.filter(|_| self.local && self.fields.cpus.is_none()).unwrap_or(0);
        MilliCores(u64::from(slots) * 1000)
    }
}

fn some_cores(text: &str) -> Result<MilliCores, String> {
    const VALID: &str = "valid: a decimal number above 0";
    MilliCores::parse_cores(text).ok().filter(|cores| *cores > MilliCores::ZERO).ok_or_else(|| VALID.to_owned())
}

fn some_gib(text: &str) -> Result<Bytes, String> {
    const VALID: &str = "valid: a decimal number of GB above 0";
    Bytes::parse_gib(text).ok().filter(|mem| *mem > Bytes::ZERO).ok_or_else(|| VALID.to_owned())
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let seconds = match text.parse::<u32>() {
        Ok(seconds) => Some(f64::from(seconds)),
        Err(_) => parse_duration("a time", text).ok(),
    };
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| !time.is_zero()).ok_or_else(|| "valid: 90m, 12h, or seconds, above 0".to_owned())
}

const EXAMPLES: &str = "\
Examples:
  distcomp-worker --check                      check whether this node is ready
  distcomp-worker --name node7                 run tasks until stopped
  distcomp-worker --burst                      run the waiting tasks, then exit
  distcomp-worker --local tasks.txt            run a file here, without any set-up
  distcomp-worker --local -j 4 --commands commands.txt     a file of plain commands, four at once
  distcomp-worker --local -- ./sim {} ::: *.trace          a command for each file
  distcomp-worker --local -k --results r.csv -- ./sim {} ::: 1 2   print the outputs in order, and keep a table
  RUST_LOG=debug distcomp-worker               log more

Exit codes: 0 success, 1 tasks failed (--local), 2 invalid usage or configuration, or the name is taken, 3 Redis cannot be used";
