//! The flags of `distcomp-ctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};

use super::autoscale::AutoscaleArgs;
use super::host_args::HostArgs;
use crate::cli::common::{CommonArgs, path_parser};
use crate::cli::completion::Shell;
use crate::cli::duration::parse_duration;
use crate::cli::known_batches::batch_name;
use crate::cli::local::LocalArgs;
use crate::cli::orders::SelectArgs;
use crate::model::{BatchName, Limit, LimitName, NoLimit, NoLimitName, NoWeight, Weight};

/// Change the queue: its tasks, batches and workers.
///
/// Each command says what it will change and asks for confirmation. Without a terminal, --yes is required.
#[derive(Clone, Debug, Parser)]
#[command(name = "distcomp-ctl", version, max_term_width = 100, after_long_help = EXAMPLES, after_help = "Run --help for details and examples")]
pub struct CtlArgs {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// How to do it
    #[command(flatten)]
    pub manner: ChangeOptions,
    /// The queue of this directory
    #[command(flatten)]
    pub local: LocalArgs,
    /// What all commands share
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What all commands of `distcomp-ctl` share.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ChangeOptions {
    /// Do not ask for confirmation
    #[arg(long, short, global = true)]
    pub yes: bool,
    /// Only print what would change
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only questions and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Move failed tasks, or those of --state, back to todo
    ///
    /// Their failures and results are cleared, their evidence is kept. Cancelled tasks only with --state cancelled.
    Requeue(SelectArgs),
    /// Cancel tasks that wait or run; running ones are killed
    ///
    /// They move to failed with the reason "cancelled".
    Cancel(SelectArgs),
    /// Remove tasks and their result files; running ones are killed
    ///
    /// Of every state, unless --state says otherwise.
    Purge {
        /// The tasks to remove
        #[command(flatten)]
        select: SelectArgs,
        /// Remove the quarantined lines instead: those that are not UTF-8
        #[arg(long, conflicts_with_all = ["lines", "state", "GroupArgs", "include", "worker", "older_than", "file", "all"])]
        quarantined: bool,
    },
    /// Change tasks that wait: memory, priority, needs, command, ...
    ///
    /// Running tasks stay as they are. Each line becomes another line, in one step, with its place among its equals, its attempts and its batches. The task gets another id: submitting the
    /// old line again adds a new task. All new lines are checked before the first is changed. A signed line is signed again with task_signing_key.
    Edit {
        /// The tasks to change
        #[command(flatten)]
        select: SelectArgs,
        /// Set a field (mem, cpus, priority, timeout, type) or a need (gpus=1, constraint=ssd); an empty value or "none" removes a need; may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Replace a text in the command, wherever it is there; may be repeated
        #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], allow_hyphen_values = true)]
        replace: Vec<String>,
    },
    /// Start nothing, or nothing of some batches, until resume
    Pause {
        /// The batches [default: the whole queue]
        #[arg(value_name = "BATCH", value_parser = batch_name)]
        batches: Vec<BatchName>,
    },
    /// Lift pause and stop, of batches, or of workers (--worker)
    ///
    /// Of a batch that --max-fails has stopped, the tasks that were given up for that wait again, and its failures so far do not count any more.
    Resume {
        /// The batches [default: the whole queue]
        #[arg(value_name = "BATCH", value_parser = batch_name, conflicts_with = "workers")]
        batches: Vec<BatchName>,
        /// Let this worker claim tasks again, which was drained or is suspect; may be repeated
        #[arg(long = "worker", value_name = "NAME")]
        workers: Vec<String>,
    },
    /// Mark the submissions to batches as complete
    ///
    /// Tasks that wait for a batch do not start while a submission to it is under way. An interrupted submission, or one with --open, stays under way until
    /// this command. Submitting the same tasks again also completes an interrupted one.
    Close {
        /// The batches
        #[arg(required = true, value_name = "BATCH", value_parser = batch_name)]
        batches: Vec<BatchName>,
    },
    /// Let tasks start without the batches that they wait for
    ///
    /// Tasks that wait for one of these batches or steps no longer wait for it, now or later.
    Release {
        /// The batches, or steps of them
        #[arg(required = true, value_name = "NAME", value_parser = batch_name)]
        names: Vec<BatchName>,
    },
    /// Choose whose tasks start first among those of equal priority
    ///
    /// "user" prefers the user with the fewest cores in use. The owner of a task is the user who made its batch; tasks outside batches have one owner together.
    /// "batch" prefers the batch with the fewest cores in use. "off", the default, is the order of submission. Without an argument, the command prints the
    /// present choice and the cores in use of each owner.
    Share {
        /// user, batch or off
        #[arg(value_enum)]
        share: Option<ShareArg>,
        /// Let an owner use N times the cores of others, such as ann=3; ann=1 takes it back; may be repeated
        #[arg(long = "weight", value_name = "OWNER=N", value_parser = weight)]
        weights: Vec<(String, Weight)>,
    },
    /// Print, set or lift a limit: how many of its tasks run at once
    ///
    /// At most MAX tasks that were submitted with --limit NAME are in progress at once, PER_NODE of them on one node. 0 lets none start. Nothing that runs is ended: a lower limit holds as tasks end.
    Limit {
        /// The limit
        #[arg(value_parser = limit_name)]
        name: LimitName,
        /// What it is to be [default: print it]
        #[arg(value_name = "MAX[/PER_NODE]|none", value_parser = limit, allow_negative_numbers = true)]
        to: Option<LimitTo>,
    },
    /// Stop workers from claiming; let their running tasks end
    ///
    /// The drain belongs to the name of the worker and survives restarts, until resume --worker. A drained worker under a supervisor (systemd, a container) waits idle; another
    /// drained worker exits with 0.
    Drain {
        /// The workers
        #[arg(value_name = "WORKER", required_unless_present = "all", value_parser = NonEmptyStringValueParser::new())]
        workers: Vec<String>,
        /// Every live worker
        #[arg(long, conflicts_with = "workers")]
        all: bool,
    },
    /// Start a worker by ssh on each host of a file where none lives
    ///
    /// Twenty hosts at a time. The worker of a host has the name of the host up to its first dot. It starts in DIR there, with the conf.json of that directory, keeps running when ssh ends, and
    /// logs to DIR/distcomp-worker.NAME.log. The command waits until the workers have registered in Redis. Exit code 1: a host failed; the reason of each is printed.
    Up(FleetArgs),
    /// Start workers as tasks want them: by Slurm, PBS, ssh, or commands
    ///
    /// It runs until it is stopped. Workers exit by themselves when they have nothing to run. Only tasks count that may run now and fit such a worker. SIGTERM leaves
    /// the workers alone, and a restart finds them again. After 10 refused starts, or 3 whose workers never attached, it pauses; SIGHUP lets it go on.
    Autoscale(AutoscaleArgs),
    /// Drain the workers of the hosts of a file; wait until they have left
    ///
    /// By their names, through Redis: no ssh is needed. Running tasks are not killed. The flags of up that say how workers are started are accepted and have no effect, so that the same
    /// command line does for both.
    Down {
        /// The hosts
        #[command(flatten)]
        fleet: FleetArgs,
        /// Do not wait until they have left; their names stay drained until up or resume
        #[arg(long)]
        no_wait: bool,
    },
    /// Stop all workers when their running tasks have ended
    ///
    /// Python workers stop too: it writes WORKER_COMMAND_CLOSE into todo_tasks, until resume.
    Stop,
    /// Move the tasks of dead workers back to todo; no failure is counted
    ///
    /// Without WORKER: the tasks of every worker that has sent no heartbeat for worker_dead_after_seconds, including Python workers, and of names that
    /// no worker has. A named WORKER with a recent heartbeat is refused, unless --force is given. A forced worker is fenced: its results are refused from
    /// then on. A Python worker cannot be fenced: make sure that it has stopped.
    Reclaim {
        /// The workers
        #[arg(value_name = "WORKER", value_parser = NonEmptyStringValueParser::new())]
        workers: Vec<String>,
        /// Also reclaim from named workers that seem to be alive
        #[arg(long, requires = "workers")]
        force: bool,
        /// Only remove the record that these workers have died, so that no list shows them any more
        #[arg(long, requires = "workers", conflicts_with = "force")]
        forget: bool,
    },
    /// Create a key that signs tasks: KEY (secret), KEY.pub (for workers)
    ///
    /// Neither file may exist. The command does not contact Redis.
    Keygen {
        /// File for the secret key, created with mode 0600
        #[arg(long, value_name = "KEY", value_parser = path_parser())]
        out: PathBuf,
    },
    /// Print the completion script of a shell, for all programs: source <(distcomp completions bash)
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages and shell completions of all programs below a directory
    #[command(hide = true)]
    Generate {
        /// The directory
        dir: PathBuf,
    },
}

/// Which hosts, and what is started there.
#[derive(Clone, Debug, Args)]
pub struct FleetArgs {
    /// The hosts
    #[command(flatten)]
    pub reach: HostArgs,
    /// How long to wait for a host, such as 2m [default of up: 60s; of down: no limit]
    #[arg(long, value_name = "DURATION", value_parser = wait_time)]
    pub timeout: Option<Duration>,
    /// Flags of the workers, after --
    #[arg(last = true, value_name = "WORKER FLAGS", allow_hyphen_values = true)]
    pub worker: Vec<String>,
}

fn wait_time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u32>().map(f64::from).ok().or_else(|| parse_duration("a time", text).ok());
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| !time.is_zero()).ok_or_else(|| "valid: 90s, 5m, or seconds, above 0".to_owned())
}

/// What a limit is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitTo {
    /// So many.
    Limit(Limit),
    /// Lifted.
    None,
}

fn limit(text: &str) -> Result<LimitTo, String> {
    if text == "none" {
        return Ok(LimitTo::None);
    }
    text.parse().map(LimitTo::Limit).map_err(|_: NoLimit| "valid: a number, N/PER_NODE, or none".to_owned())
}

fn limit_name(text: &str) -> Result<LimitName, String> {
    text.parse().map_err(|error: NoLimitName| error.to_string())
}

/// Whose tasks are weighed against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ShareArg {
    /// Users
    User,
    /// Batches
    Batch,
    /// Nobody's: the order of submission
    Off,
}

fn weight(text: &str) -> Result<(String, Weight), String> {
    let (owner, weight) =
        text.rsplit_once('=').filter(|(owner, _)| !owner.is_empty()).ok_or("valid: OWNER=N, as ann=3")?;
    Ok((owner.to_owned(), weight.parse().map_err(|error: NoWeight| error.to_string())?))
}

const EXAMPLES: &str = "\
Examples:
  distcomp-ctl requeue                                  retry all failed tasks
  distcomp-ctl requeue --kind oom --include sim         retry some of them
  distcomp-ctl requeue --state cancelled                run the cancelled ones after all
  distcomp-ctl cancel --file sweep.tasks                cancel the tasks of a file
  distcomp-ctl cancel 3f9a                              cancel one task, by a prefix of its id
  distcomp-ctl purge --state finished --older-than 30d  free memory in Redis
  distcomp-ctl edit --batch s1 --set priority=9         let what waits of a batch go first
  distcomp-ctl edit --include sim --replace ./v1 ./v2   run another program in its place
  distcomp-ctl pause; distcomp-ctl resume
  distcomp-ctl share user --weight ann=3                share the cores among users
  distcomp-ctl limit disk 20/2                          at most 20 tasks of --limit disk, 2 on one node
  distcomp-ctl up --hosts hosts --dir /srv/project      start a worker on each host, by ssh
  distcomp-ctl down --hosts hosts                       let them finish and leave
  distcomp-ctl autoscale slurm --time-limit 1h --cpus 4 --mem 16 --once     what it would start, and why
  distcomp-ctl drain node7                              before maintenance of a node
  distcomp-ctl resume --worker node7                    after it
  distcomp-ctl reclaim                                  take over the tasks of dead workers
  distcomp-ctl keygen --out ~/.distcomp.key             create a key that signs tasks

Exit codes: 0 success, 1 a host failed (up, down), 2 invalid usage or configuration, or not confirmed, 3 Redis cannot be used";
