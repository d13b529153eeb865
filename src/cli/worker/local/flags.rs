//! The flags of a local run: what it shows, what it writes down, and when it ends before its tasks.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::results_table::ResultsFile;
use crate::policy::Halt;

const LOCAL: &str = "Local runs (with --local)";

/// See the module.
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
