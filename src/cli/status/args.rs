//! The flags of `distcomp-status`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand, ValueEnum};

use crate::cli::common::{CommonArgs, path_parser};
use crate::cli::local::LocalArgs;
use crate::model::snapshot::TaskState;

/// Show the queue: counts, workers, rate, failures.
#[derive(Clone, Debug, Parser)]
#[command(name = "distcomp-status", version, max_term_width = 100, after_long_help = EXAMPLES, after_help = "--help says more, with examples")]
pub struct StatusArgs {
    /// What to show; without it the whole at a glance
    #[command(subcommand)]
    pub view: Option<View>,
    /// Print JSON; lists are one object a line
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
    /// The tasks of one state
    Tasks(TasksArgs),
    /// Every worker
    Workers,
    /// Everything known about one task
    Show {
        /// The task: its line, or the beginning of its id
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        line: String,
        /// Print its output alone, byte for byte as it was kept; not to a terminal, which it could drive
        #[arg(long, conflicts_with = "json")]
        raw: bool,
    },
    /// What failed, grouped by how
    Failures {
        /// Print every failed task, as JSON lines
        #[arg(long)]
        all: bool,
    },
    /// Results and evidence of all tasks, as a stream
    Export(ExportArgs),
    /// A live view over the whole terminal
    Watch(WatchArgs),
    /// What a task prints, or has printed
    Logs(LogsArgs),
    /// What happened, every change of state, as JSON lines
    Events(EventsArgs),
    /// Why a task, or the queue, is not running
    Explain {
        /// The task: its line, or the beginning of its id
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        line: Option<String>,
    },
    /// The dashboard, for browsers; reads only
    Serve(ServeArgs),
}

/// Which tasks to list.
#[derive(Clone, Debug, clap::Args)]
pub struct TasksArgs {
    /// The state they are in
    #[arg(long, value_enum)]
    pub state: StateArg,
    /// Only lines that hold this text
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub include: Option<String>,
    /// Only lines that do not hold this text
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub exclude: Option<String>,
    /// Only tasks that run, ended or failed on this worker
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub worker: Option<String>,
    /// How many at most; 0 is all
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: u64,
    /// Print the lines byte for byte; not to a terminal, which they could drive
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
}

/// What to show of a task's output.
#[derive(Clone, Debug, clap::Args)]
pub struct LogsArgs {
    /// The task: its line, or the beginning of its id
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub line: String,
    /// Go on while it runs; then the exit code is 1 if it failed
    #[arg(long, short)]
    pub follow: bool,
    /// Only its standard output
    #[arg(long)]
    pub stdout: bool,
    /// Only its standard error, on our standard output
    #[arg(long)]
    pub stderr: bool,
    /// Bytes as the task wrote them; not onto a terminal
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
}

/// How to watch.
#[derive(Clone, Debug, clap::Args)]
pub struct WatchArgs {
    /// Seconds between two looks at Redis
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = interval)]
    pub interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("valid: 0.1 to 3600".to_owned())
    }
}

/// Which events to print.
#[derive(Clone, Debug, clap::Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// How many of the past at most; 0 is all that the log holds
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: u64,
}

/// What to export.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// Only tasks in this state [default: all; joblog: finished and failed]
    #[arg(long, value_enum)]
    pub state: Option<StateArg>,
    /// jsonl: everything; csv: one row a task; joblog: the columns of GNU parallel's --joblog, the last attempt of each task
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,
}

/// Where to show the dashboard, and to whom.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Address and port; any address beyond this machine needs a token, port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// File that holds the token viewers have to show; DISTCOMP_DASHBOARD_TOKEN may hold it instead
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub token_file: Option<PathBuf>,
    /// Host name under which browsers come besides the address itself; may be repeated
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub allowed_host: Vec<String>,
}

/// A state, as written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    /// Waiting
    Todo,
    /// Claimed by a worker
    #[value(name = "in_progress", alias = "in-progress", alias = "running")]
    InProgress,
    /// Done
    Finished,
    /// Failed: out of retries, or to be tried again
    Failed,
}

impl From<StateArg> for TaskState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Todo => Self::Todo,
            StateArg::InProgress => Self::InProgress,
            StateArg::Finished => Self::Finished,
            StateArg::Failed => Self::Failed,
        }
    }
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON lines
    Jsonl,
    /// Comma-separated values with a head line
    Csv,
    /// GNU parallel's job log
    Joblog,
}

const EXAMPLES: &str = "\
Examples:
  distcomp-status                                       the whole at a glance
  distcomp-status tasks --state failed --include sim    failed tasks whose line holds \"sim\"
  distcomp-status failures                              what failed, and how
  distcomp-status show 3f9a                             one task, by the beginning of its id
  distcomp-status explain 3f9a                          why it is not running
  distcomp-status serve                                 a dashboard at http://127.0.0.1:8080/
  distcomp-status export --state finished --format csv > results.csv

Exit codes: 0 done, 2 wrong usage or configuration, 3 Redis cannot be used";
