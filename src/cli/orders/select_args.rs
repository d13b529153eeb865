//! Which tasks an order is about.

use std::path::PathBuf;

use clap::ValueHint;
use clap::builder::NonEmptyStringValueParser;

use crate::cli::task_group::GroupArgs;
use crate::cli::task_state::StateArg;
use crate::model::BatchName;

/// Which tasks: lines, or all tasks that match every given flag.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SelectArgs {
    /// Tasks: complete lines, or prefixes of ids
    #[arg(value_name = "LINE", value_parser = NonEmptyStringValueParser::new(), conflicts_with_all = ["state", "GroupArgs", "include", "worker", "older_than", "file", "all"])]
    pub lines: Vec<String>,
    /// Tasks in this state
    #[arg(long, value_enum)]
    pub state: Option<StateArg>,
    /// Tasks of a group
    #[command(flatten)]
    pub group: GroupArgs,
    /// Tasks whose line contains this text
    #[arg(long, value_name = "TEXT", value_parser = include)]
    pub include: Option<String>,
    /// Tasks that run, finished or failed on this worker
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub worker: Option<String>,
    /// Tasks whose last attempt ended longer ago than this: 12h, 7d, "1 week"
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<String>,
    /// Tasks of this task file; - means standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// All tasks of the selected states
    #[arg(long, conflicts_with_all = ["GroupArgs", "include", "worker", "older_than", "file"])]
    pub all: bool,
}

impl SelectArgs {
    /// The batch or step of which all tasks are selected, whatever their state.
    pub(crate) fn whole_batch(&self) -> Option<&BatchName> {
        let is_narrowed = !self.lines.is_empty()
            || self.state.is_some()
            || self.group.kind.is_some()
            || self.group.tag.is_some()
            || self.include.is_some()
            || self.worker.is_some()
            || self.older_than.is_some()
            || self.file.is_some();
        self.group.batch.as_ref().filter(|_| !is_narrowed)
    }
}

/// An empty text is in every line. A script whose variable was empty must not change all tasks.
fn include(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("an empty text is in every line; to select all tasks, use --all".to_owned());
    }
    Ok(text.to_owned())
}
