//! The flags of `distcomp-ctl`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand, ValueHint};

use crate::cli::common::{CommonArgs, path_parser};
use crate::cli::local::LocalArgs;
use crate::cli::status::StateArg;

/// Change the queue: requeue, cancel or purge tasks; pause, resume, drain, stop; take over the tasks of dead workers.
///
/// Every command says what it will change, and asks; without a terminal to ask on, --yes is needed.
#[derive(Clone, Debug, Parser)]
#[command(name = "distcomp-ctl", version, max_term_width = 100, after_long_help = EXAMPLES, after_help = "--help says more, with examples")]
pub struct CtlArgs {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// How to do it
    #[command(flatten)]
    pub manner: Manner,
    /// The queue of this directory
    #[command(flatten)]
    pub local: LocalArgs,
    /// What all commands share
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What all commands of `distcomp-ctl` share.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Manner {
    /// Do not ask
    #[arg(long, short, global = true)]
    pub yes: bool,
    /// Only say what would change
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress and no result, only what is asked and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Put tasks back to todo: their failures and results are forgotten, their evidence is kept [default: failed ones]
    Requeue(SelectArgs),
    /// End tasks in failed, reason "cancelled"; running ones are killed [default states: todo and in_progress]
    Cancel(SelectArgs),
    /// Remove tasks everywhere, their result files too; running ones are killed [default: every state]
    Purge {
        /// Which
        #[command(flatten)]
        select: SelectArgs,
        /// The lines in quarantine instead: those that are not UTF-8, which nobody can run
        #[arg(long, conflicts_with_all = ["lines", "state", "include", "worker", "older_than", "file", "all"])]
        quarantined: bool,
    },
    /// Let no worker take anything until resume
    Pause,
    /// Lift pause and stop, or with --worker the drain of a worker
    Resume {
        /// Lift the drain of this worker instead; may be given several times
        #[arg(long = "worker", value_name = "NAME")]
        workers: Vec<String>,
    },
    /// Let workers finish what they run and take nothing new
    ///
    /// The drain is of the name: it lasts, over restarts of the worker too, until resume --worker. A worker under a supervisor (systemd, a container) then waits idle; another
    /// exits with 0.
    Drain {
        /// The workers
        #[arg(value_name = "WORKER", required_unless_present = "all", value_parser = NonEmptyStringValueParser::new())]
        workers: Vec<String>,
        /// Every live worker
        #[arg(long, conflicts_with = "workers")]
        all: bool,
    },
    /// Let all workers, Python's too, finish what they run and exit (writes WORKER_COMMAND_CLOSE)
    Stop,
    /// Put the tasks of dead workers back to todo, with no failure counted
    ///
    /// Without WORKER: of every worker that has been silent for worker_dead_after_seconds, Python's too, and of names that no worker has. A WORKER
    /// that is named is refused while its heartbeat is fresh, unless --force; a forced one is fenced: its results are refused from then on. A Python
    /// worker cannot be fenced: make sure that it is gone.
    Reclaim {
        /// The workers
        #[arg(value_name = "WORKER", value_parser = NonEmptyStringValueParser::new())]
        workers: Vec<String>,
        /// Take over from named workers that seem to be alive
        #[arg(long, requires = "workers")]
        force: bool,
    },
    /// Make a key that signs tasks: KEY, which is secret, and KEY.pub for the workers
    ///
    /// Neither file may exist. Reaches no Redis.
    Keygen {
        /// The file for the secret key, mode 0600
        #[arg(long, value_name = "KEY", value_parser = path_parser())]
        out: PathBuf,
    },
    /// Write manual pages and shell completions of all four commands below a directory
    #[command(hide = true)]
    Generate {
        /// The directory
        dir: PathBuf,
    },
}

/// Which tasks: lines, or all that every given flag fits.
#[derive(Clone, Debug, clap::Args)]
pub struct SelectArgs {
    /// Tasks: whole lines, or beginnings of ids
    #[arg(value_name = "LINE", value_parser = NonEmptyStringValueParser::new(), conflicts_with_all = ["state", "include", "worker", "older_than", "file", "all"])]
    pub lines: Vec<String>,
    /// Tasks in this state
    #[arg(long, value_enum)]
    pub state: Option<StateArg>,
    /// Tasks whose line holds this text
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub include: Option<String>,
    /// Tasks that run, ended or failed on this worker
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub worker: Option<String>,
    /// Tasks whose last attempt ended longer ago than this: 12h, 7d, "1 week"
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<String>,
    /// Tasks of this task file; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Every task of the states in question
    #[arg(long, conflicts_with_all = ["include", "worker", "older_than", "file"])]
    pub all: bool,
}

const EXAMPLES: &str = "\
Examples:
  distcomp-ctl requeue                                  try all failed tasks again
  distcomp-ctl requeue --state failed --include sim     some of them
  distcomp-ctl cancel --file sweep.tasks                the tasks of a file
  distcomp-ctl cancel 3f9a                              one task, by the beginning of its id
  distcomp-ctl purge --state finished --older-than 30d  make room in Redis
  distcomp-ctl pause; distcomp-ctl resume
  distcomp-ctl drain node7                              before maintenance of a node
  distcomp-ctl resume --worker node7                    after it
  distcomp-ctl reclaim                                  tasks of workers that died
  distcomp-ctl keygen --out ~/.distcomp.key             a key to sign tasks with

Exit codes: 0 done, 2 wrong usage or configuration, or not confirmed, 3 Redis cannot be used";
