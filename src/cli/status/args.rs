//! The flags of `distcomp-status`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand, ValueEnum};

use crate::cli::common::{CommonArgs, path_parser};
use crate::cli::known_batches::batch_name;
use crate::cli::local::LocalArgs;
use crate::cli::task_group::GroupArgs;
use crate::cli::task_state::StateArg;
use crate::compose::seconds::seconds;
use crate::config::{ShapeParts, parse_shape};
use crate::model::BatchName;
use crate::view::dashboard::BasePath;

/// Show the queue: counts, workers, rate, failures.
#[derive(Clone, Debug, Parser)]
#[command(name = "distcomp-status", version, max_term_width = 100, after_long_help = EXAMPLES, after_help = "Run --help for details and examples")]
pub struct StatusArgs {
    /// What to show [default: an overview]
    #[command(subcommand)]
    pub view: Option<View>,
    /// Print JSON; lists have one object per line
    #[arg(long, global = true)]
    pub json: bool,
    /// The queue of this directory
    #[command(flatten)]
    pub local: LocalArgs,
    /// What all commands share
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The views.
#[derive(Clone, Debug, Subcommand)]
pub enum View {
    /// List the tasks of all states, or of one
    Tasks(TasksArgs),
    /// List the workers
    Workers,
    /// Show how much memory the tasks of each batch or program have used
    Learnt,
    /// List the batches: how far each is, what it waits for, why it is held
    Batches,
    /// Show one batch with its steps
    Batch {
        /// The batch, or one of its steps
        #[arg(value_parser = batch_name)]
        name: BatchName,
    },
    /// List the limits: how many tasks may be in progress, are, and wait
    Limits,
    /// Wait until batches have ended
    Wait(WaitArgs),
    /// Show everything known about one task
    Show {
        /// The task: its line, or a prefix of its id
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        line: String,
        /// Print only its stored output, byte for byte; refused on a terminal, which the output could control
        #[arg(long, conflicts_with = "json")]
        raw: bool,
    },
    /// Print one word for each task: waiting, blocked, running, finished, failed, cancelled or none
    ///
    /// The words come in the order of the tasks, each on its own line. A failed task that will be retried is waiting. none means that the queue does not have
    /// the task. Any number of ids costs one pass over the queue.
    State {
        /// The tasks: their lines, or prefixes of their ids
        #[arg(required = true, value_name = "LINE", value_parser = NonEmptyStringValueParser::new())]
        lines: Vec<String>,
    },
    /// Group the failed tasks by kind of failure; cancelled tasks are not failures
    Failures {
        /// Print every failed task, as JSON lines
        #[arg(long)]
        all: bool,
        /// Which failures
        #[command(flatten)]
        group: GroupArgs,
    },
    /// Print results and evidence of tasks, as a stream
    Export(ExportArgs),
    /// Show the queue live, on the whole terminal
    Watch(WatchArgs),
    /// Print the output of a task
    Logs(LogsArgs),
    /// Print every change of state, as JSON lines
    Events(EventsArgs),
    /// Explain why a task or the queue is not running
    Explain {
        /// The task: its line, or a prefix of its id
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        line: Option<String>,
    },
    /// Serve a dashboard for browsers
    Serve(ServeArgs),
}

/// Which tasks to list.
#[derive(Clone, Debug, clap::Args)]
pub struct TasksArgs {
    /// Only tasks in this state [default: all, those that run and those that failed first]
    #[arg(long, value_enum)]
    pub state: Option<StateArg>,
    /// Only tasks of a group
    #[command(flatten)]
    pub group: GroupArgs,
    /// Only lines that contain this text
    #[arg(long, value_name = "TEXT", value_parser = every_line)]
    pub include: Option<String>,
    /// Only lines that do not contain this text
    #[arg(long, value_name = "TEXT", value_parser = every_line)]
    pub exclude: Option<String>,
    /// Only tasks that run, finished or failed on this worker
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub worker: Option<String>,
    /// Maximum number of tasks; 0 means all
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: u64,
    /// Print the lines byte for byte; refused on a terminal, which they could control
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
}

/// What to show of a task's output.
#[derive(Clone, Debug, clap::Args)]
pub struct LogsArgs {
    /// The task: its line, or a prefix of its id
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub line: String,
    /// Follow until the task ends; exit with 1 if it failed
    #[arg(long, short)]
    pub follow: bool,
    /// Print only its standard output
    #[arg(long)]
    pub stdout: bool,
    /// Print only its standard error, on standard output
    #[arg(long)]
    pub stderr: bool,
    /// Print the bytes that the task wrote; refused on a terminal
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
}

/// How to watch.
#[derive(Clone, Debug, clap::Args)]
pub struct WatchArgs {
    /// Seconds between two reads of Redis
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = interval)]
    pub interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("valid: 0.1 to 3600".to_owned())
    }
}

/// What to wait for.
#[derive(Clone, Debug, clap::Args)]
pub struct WaitArgs {
    /// The batches, or steps of them
    #[arg(required = true, value_name = "NAME", value_parser = batch_name)]
    pub names: Vec<BatchName>,
    /// Until one of them has ended: exit 0 if one has finished
    #[arg(long)]
    pub any: bool,
    /// Exit with 1 as soon as one of them has failed, or cannot go on
    #[arg(long, conflicts_with = "any")]
    pub fail_fast: bool,
    /// Exit with 124 after so long, such as 90s, 30m or 2h
    #[arg(long, value_name = "TIME", value_parser = time_limit)]
    pub timeout: Option<Duration>,
}

fn time_limit(text: &str) -> Result<Duration, String> {
    let found = seconds(text).ok_or("valid: seconds, or a duration like 90m or 1h30m")?;
    Ok(Duration::from_secs(found))
}

/// Which events to print.
#[derive(Clone, Debug, clap::Args)]
pub struct EventsArgs {
    /// Continue with new events, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Maximum number of past events; 0 means all in the log
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: u64,
}

/// What to export.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// Only tasks in this state [default: all; joblog: those that have ended]
    #[arg(long, value_enum)]
    pub state: Option<StateArg>,
    /// Only tasks of a group
    #[command(flatten)]
    pub group: GroupArgs,
    /// jsonl: everything; csv: one row per task; joblog: the columns of GNU parallel's --joblog, for the last attempt of each task
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,
}

/// An empty text is in every line: it selects all tasks or none, which nobody means.
fn every_line(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("an empty text is in every line; leave the flag out for all tasks".to_owned());
    }
    Ok(text.to_owned())
}

/// Where to show the dashboard, and to whom.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Address and port to listen on; port 0 means a free one. An address other than loopback requires a token
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// File with the token that viewers need; alternative: DISTCOMP_DASHBOARD_TOKEN
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub token_file: Option<PathBuf>,
    /// Let operators requeue, cancel, purge, pause, resume and drain from the pages; requires the operator's token
    #[arg(long)]
    pub allow_actions: bool,
    /// File with the token that operators need; alternative: DISTCOMP_DASHBOARD_OPERATOR_TOKEN
    #[arg(long, value_name = "FILE", value_parser = path_parser(), requires = "allow_actions")]
    pub operator_token_file: Option<PathBuf>,
    /// Another host name under which browsers may reach the dashboard; may be repeated
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub allowed_host: Vec<String>,
    /// Tell in the metrics how many workers of this shape are wanted, such as "cpus=4&mem=16&resource=gpus=1&time=1h"; may be repeated
    #[arg(long = "shape", value_name = "SHAPE", value_parser = parse_shape)]
    pub shapes: Vec<ShapeParts>,
    /// Path under which a proxy shows the dashboard, such as /distcomp
    #[arg(long, value_name = "PATH", default_value = "/", hide_default_value = true)]
    pub base_path: BasePath,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON lines
    Jsonl,
    /// Comma-separated values with a header line
    Csv,
    /// GNU parallel's job log
    Joblog,
}

const EXAMPLES: &str = "\
Examples:
  distcomp-status                                       an overview
  distcomp-status tasks --state failed --include sim    failed tasks whose line contains \"sim\"
  distcomp-status failures                              failures by kind
  distcomp-status show 3f9a                             one task, by a prefix of its id
  distcomp-status explain 3f9a                          why the task is not running
  distcomp-status state 3f9a 02bc                       one word for each, for scripts
  distcomp-status serve                                 a dashboard at http://127.0.0.1:8080/
  distcomp-status export --state finished --format csv > results.csv

Exit codes: 0 success, 2 invalid usage or configuration, 3 Redis cannot be used";
