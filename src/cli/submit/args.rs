//! The flags of `distcomp-submit`.

use std::path::PathBuf;

use clap::{Parser, ValueHint};

use super::batch_flags::BatchFlags;
use super::flags::{FieldFlags, SourceFlags};
use crate::cli::common::CommonArgs;
use crate::cli::local::LocalArgs;

/// Add tasks to the queue: the lines of task files, or commands.
///
/// One task is one line, `TYPE:MEM:CPU:PRIO[:TIMEOUT]:CMD`; commands become such lines by the flags for their fields. Empty lines and lines that begin with #
/// are skipped; lines that begin with #DC hold flags for the lines after them. The same line submitted twice is one task. All lines are checked before the
/// first one is submitted. Submitting again is safe.
#[derive(Clone, Debug, Parser)]
#[command(name = "distcomp-submit", version, max_term_width = 100, after_long_help = EXAMPLES, after_help = "Run --help for details and examples")]
pub struct SubmitArgs {
    /// Task files; - means standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Only check, and print the first tasks; with --parsable, all
    #[arg(long)]
    pub dry_run: bool,
    /// Submit the valid lines of files that also have invalid ones
    #[arg(long)]
    pub skip_invalid: bool,
    /// Also submit tasks that have finished or are out of retries
    #[arg(long)]
    pub rerun: bool,
    /// Validity of the signatures (requires task_signing_key): 12h, 90d, "1 week" [default: 30d]
    ///
    /// Tasks (including retries) that have not started by then are rejected and end in failed. Submit them again with --rerun.
    #[arg(long, value_name = "DURATION", hide_short_help = true)]
    pub expires: Option<String>,
    /// Wait until the tasks have ended; exit with 1 if any failed
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// Print JSON: counts and ids, and with --wait how the tasks ended
    #[arg(long)]
    pub json: bool,
    /// Print only the name of the batch, or the ids of the tasks, one on each line
    #[arg(long, conflicts_with = "json", hide_short_help = true)]
    pub parsable: bool,
    /// Print only errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Add the tasks to this batch or step: s1, s1/prep
    #[arg(long, short = 'n', value_name = "NAME")]
    pub name: Option<String>,
    /// The batch
    #[command(flatten)]
    pub batch: BatchFlags,
    /// The fields of bare commands
    #[command(flatten)]
    pub fields: FieldFlags,
    /// Where commands come from
    #[command(flatten)]
    pub sources: SourceFlags,
    /// The queue of this directory
    #[command(flatten)]
    pub local: LocalArgs,
    /// What all commands share
    #[command(flatten)]
    pub common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  distcomp-submit tasks.txt                    add the task lines of a file
  distcomp-submit --commands commands.txt      add a file with a command on each line
  distcomp-submit -- sleep 10                  add one command
  distcomp-submit -m 4 -c 2 -t 2h -- ./sim {1} {2} ::: *.trace ::: lru fifo
  distcomp-submit --array 1-100 -o 'logs/{}.out' -- ./train --seed {}
  distcomp-submit -n s1 --commands sweep.txt   name the batch, so that others can wait for it
  distcomp-submit -n report --after s1 -- ./report        run when all of s1 has finished
  distcomp-submit --dry-run tasks.txt          check every line
  distcomp-submit --wait tasks.txt && echo all done
  distcomp-submit --rerun tasks.txt            run all of them again

Exit codes: 0 success, 1 tasks failed (--wait), 2 invalid usage, configuration or task file, 3 Redis cannot be used";
