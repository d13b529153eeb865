//! The flags of `distcomp-submit`.

use std::path::PathBuf;

use clap::Parser;

use crate::cli::common::CommonArgs;
use crate::cli::local::LocalArgs;

/// Add the tasks of task files to the queue.
///
/// One task is one line, `TYPE:MEM:CPU:PRIO[:TIMEOUT]:CMD`; empty lines and lines that begin with # are skipped. The same line submitted twice is
/// one task. Every line is checked before the first one goes in, and submitting again is safe.
#[derive(Clone, Debug, Parser)]
#[command(name = "distcomp-submit", version, max_term_width = 100, after_long_help = EXAMPLES, after_help = "--help says more, with examples")]
pub struct SubmitArgs {
    /// Task files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Check the files only
    #[arg(long)]
    pub dry_run: bool,
    /// Submit the good lines of files that have bad ones too
    #[arg(long)]
    pub skip_invalid: bool,
    /// Submit also what is finished or out of retries already
    #[arg(long)]
    pub rerun: bool,
    /// With task_signing_key: how long the signatures count: 12h, 90d, "1 week" [default: 30d]
    ///
    /// A task that has not been started by then, retries too, is not run any more, and ends in failed; submit it again with --rerun.
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<String>,
    /// Follow the tasks to their end; exit 1 if any failed
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print no result and no progress, only errors
    #[arg(long, short)]
    pub quiet: bool,
    /// The queue of this directory
    #[command(flatten)]
    pub local: LocalArgs,
    /// What all commands share
    #[command(flatten)]
    pub common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  distcomp-submit tasks.txt                    add the tasks of a file
  distcomp-submit --dry-run tasks.txt          is every line all right?
  seq 100 | sed 's|.*|shell:1:1:0:./sim &|' | distcomp-submit -
  distcomp-submit --wait tasks.txt && echo all done
  distcomp-submit --rerun tasks.txt            once more, whatever became of them

Exit codes: 0 done, 1 tasks failed (--wait), 2 wrong usage, configuration or task file, 3 Redis cannot be used";
