//! The flags that make task lines of commands: of `distcomp-submit`, of `distcomp-worker --local`, and, but for the sources, of directives in a file.

use std::path::PathBuf;
use std::sync::OnceLock;

use clap::{Args, ValueHint};

use crate::compose::{NeedSettings, Settings};
use crate::sys::wall_clock;

const FIELDS: &str = "Fields of commands";
const NEEDS: &str = "Needs of tasks";
const ORDER: &str = "Order of tasks";
const SOURCES: &str = "Commands and sources";

/// The fields of a bare command, and where and with what it runs.
#[derive(Clone, Debug, Default, Args)]
pub struct FieldFlags {
    /// Reserve memory per task, or auto (learnt) [default: 0]
    #[arg(long, short = 'm', value_name = "GB", allow_negative_numbers = true, help_heading = FIELDS)]
    pub mem: Option<String>,
    /// Cores of each task [default: 1]
    #[arg(long, short = 'c', value_name = "N", allow_negative_numbers = true, alias = "cpus-per-task", help_heading = FIELDS)]
    pub cpus: Option<String>,
    /// Priority, 0 to 65535; larger runs first [default: 0]
    #[arg(long, short = 'p', value_name = "N", allow_negative_numbers = true, help_heading = FIELDS, hide_short_help = true)]
    pub priority: Option<String>,
    /// Limit of run time: seconds, 90m, 1h30m; 0 is none
    #[arg(long, short = 't', value_name = "TIME", allow_negative_numbers = true, help_heading = FIELDS)]
    pub timeout: Option<String>,
    /// shell, python or demo [default: shell]
    #[arg(long = "type", value_name = "TYPE", help_heading = FIELDS, hide_short_help = true)]
    pub kind: Option<String>,
    /// Run in this directory
    #[arg(long, short = 'D', value_name = "DIR", alias = "chdir", value_hint = ValueHint::DirPath, help_heading = FIELDS, hide_short_help = true)]
    pub cwd: Option<String>,
    /// Set a variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = FIELDS, hide_short_help = true)]
    pub env: Vec<String>,
    /// Read standard input from this file
    #[arg(long, short = 'i', value_name = "FILE", alias = "input", value_hint = ValueHint::FilePath, help_heading = FIELDS, hide_short_help = true)]
    pub stdin: Option<String>,
    /// Write standard output to this file; its directory is made
    #[arg(long, short = 'o', value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = FIELDS, hide_short_help = true)]
    pub output: Option<String>,
    /// Write standard error to this file; its directory is made
    #[arg(long, short = 'e', value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = FIELDS, hide_short_help = true)]
    pub error: Option<String>,
    /// What tasks need beside memory and cores
    #[command(flatten)]
    pub needs: NeedFlags,
}

impl FieldFlags {
    /// What they say.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let Self { mem, cpus, priority, timeout, kind, cwd, env, stdin, output, error, needs } = self.clone();
        let (needs, name, tags) = (needs.settings(), None, Vec::new());
        Settings { kind, mem, cpus, priority, timeout, cwd, env, stdin, output, error, name, tags, needs }
    }
}

/// What a task needs of its node beside memory and cores. Task lines get those that they lack.
#[derive(Clone, Debug, Default, Args)]
pub struct NeedFlags {
    /// Give each task N GPUs; 0.5 shares one
    #[arg(long, short = 'G', value_name = "N", alias = "gpus-per-task", help_heading = NEEDS, hide_short_help = true)]
    pub gpus: Option<String>,
    /// Amount of another resource for each task, such as lic=1; may be repeated
    ///
    /// Of a worker without --local: a resource that it offers, a number or device names with commas between, such as lic=3 or fpga=a,b. It overrides the
    /// same one of the configuration.
    #[arg(long, value_name = "NAME=N", help_heading = NEEDS, hide_short_help = true)]
    pub resource: Vec<String>,
    /// Run only where the labels match: 'ssd&region=eu'
    ///
    /// & joins labels that a node must all have, | those of which it must have one, and ! is before a label that it must not have. May be repeated.
    #[arg(long, short = 'C', value_name = "EXPR", help_heading = NEEDS, hide_short_help = true)]
    pub constraint: Vec<String>,
    /// Run preferably where the labels match; may be repeated
    #[arg(long, value_name = "EXPR", help_heading = NEEDS, hide_short_help = true)]
    pub prefer: Vec<String>,
    /// Count against a limit of the whole fleet; N sets it where none is set; may be repeated
    ///
    /// NAME=N/PER_NODE also sets how many run on one node. distcomp-ctl limit changes it later.
    #[arg(long, short = 'L', value_name = "NAME[=N]", help_heading = NEEDS, hide_short_help = true)]
    pub limit: Vec<String>,
    /// Run only where the worker has this long to live: seconds, 10m, 1h30m
    #[arg(long, value_name = "TIME", help_heading = NEEDS, hide_short_help = true)]
    pub time_request: Option<String>,
    /// Start when these batches or steps have finished; commas between names; may be repeated
    #[arg(long, value_name = "NAME", help_heading = ORDER, hide_short_help = true)]
    pub after: Vec<String>,
    /// Start when these batches or steps have ended, finished or failed
    #[arg(long, value_name = "NAME", help_heading = ORDER, hide_short_help = true)]
    pub after_any: Vec<String>,
    /// Do not start before this time: 22:00, +2h, 2030-01-31T22:00; rounded up to the minute
    #[arg(long, short = 'b', value_name = "TIME", help_heading = ORDER, hide_short_help = true)]
    pub begin: Option<String>,
}

impl NeedFlags {
    /// What they say.
    #[must_use]
    pub fn settings(self) -> NeedSettings {
        let Self { gpus, resource, constraint, prefer, limit, time_request, after, after_any, begin } = self;
        let now = began();
        NeedSettings { gpus, resource, constraint, prefer, limit, time_request, after, after_any, begin, now }
    }
}

/// When this command began, in seconds since the epoch: the same for all that is made of it, however often.
fn began() -> i64 {
    static BEGAN: OnceLock<i64> = OnceLock::new();
    *BEGAN.get_or_init(|| wall_clock::local().timestamp().as_second())
}

/// Where commands, and the values for them, come from.
#[derive(Clone, Debug, Default, Args)]
pub struct SourceFlags {
    /// Each line of FILE is a command, not a task line
    #[arg(long, help_heading = SOURCES, conflicts_with = "jsonl")]
    pub commands: bool,
    /// Each line of FILE is a JSON object: {"cmd": "…", "mem": 8}; the keys are the long flags
    #[arg(long, help_heading = SOURCES, hide_short_help = true)]
    pub jsonl: bool,
    /// A source of integers: 1-100, 0-90:10, 1,5,7-9; with %N at most N of them run at once
    ///
    /// %N needs --name: it is a limit with the name of the batch, as --limit NAME=N.
    #[arg(long, value_name = "RANGE", help_heading = SOURCES, requires = "command", hide_short_help = true)]
    pub array: Option<String>,
    /// A source of lines; - means standard input; may be repeated
    #[arg(long, short = 'a', value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = SOURCES, requires = "command", hide_short_help = true)]
    pub arg_file: Vec<PathBuf>,
    /// A source of rows: comma-separated values, or those between --colsep; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = SOURCES, requires = "command", hide_short_help = true)]
    pub csv: Vec<PathBuf>,
    /// Split each value into columns where this regular expression matches
    #[arg(long, value_name = "REGEX", help_heading = SOURCES, requires = "command", hide_short_help = true)]
    pub colsep: Option<String>,
    /// With ":", the first value of each source names its columns: {name}
    #[arg(long, value_name = ":", help_heading = SOURCES, requires = "command", hide_short_help = true)]
    pub header: Option<String>,
    /// Quote each word of COMMAND for the shell, instead of joining the words with blanks
    #[arg(long, help_heading = SOURCES, requires = "command", hide_short_help = true)]
    pub quote: bool,
    /// Leave out the commands that this job log of GNU parallel says have ended with 0
    #[arg(long, value_name = "JOBLOG", value_hint = ValueHint::FilePath, help_heading = SOURCES, hide_short_help = true)]
    pub resume: Option<PathBuf>,
    /// A command, and values for its {}: `-- ./sim {} ::: a b`
    ///
    /// Placeholders: {} {1} {name} {#} {.} {/} {//} {/.}. Sources after the command: ::: VALUE…, :::: FILE…; several are crossed, :::+ and ::::+ are linked to the source before. Without a placeholder, {} is
    /// appended. Values are quoted for the shell.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
