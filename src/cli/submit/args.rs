//! The flags of `distcomp-submit`.

use std::path::PathBuf;

use clap::Parser;

use crate::cli::common::CommonArgs;
use crate::cli::local::LocalArgs;

/// Add the tasks of task files to the queue.
///
/// One task is one line, `TYPE:MEM:CPU:PRIO[:TIMEOUT]:CMD`. Empty lines and lines that begin with # are skipped. The same line submitted twice is
/// one task. All lines are checked before the first one is submitted. Submitting a file again is safe.
#[derive(Clone, Debug, Parser)]
#[command(name = "distcomp-submit", version, max_term_width = 100, after_long_help = EXAMPLES, after_help = "Run --help for details and examples")]
pub struct SubmitArgs {
    /// Task files; - means standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only check the files
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
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<String>,
    /// Wait until the tasks have ended; exit with 1 if any failed
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print only errors
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
  distcomp-submit --dry-run tasks.txt          check every line
  seq 100 | sed 's|.*|shell:1:1:0:./sim &|' | distcomp-submit -
  distcomp-submit --wait tasks.txt && echo all done
  distcomp-submit --rerun tasks.txt            run all of them again

Exit codes: 0 success, 1 tasks failed (--wait), 2 invalid usage, configuration or task file, 3 Redis cannot be used";
