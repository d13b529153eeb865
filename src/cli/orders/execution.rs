//! Carries out `requeue`, `cancel` and `purge`, a batch of lines in each atomic step.

use std::fmt::Write;
use std::time::Duration;

use super::gone::finish_for_the_gone;
use super::select::verb;
use super::selected::Selected;
use crate::cli::exit::CliError;
use crate::cli::results::Purged;
use crate::model::{FieldOrder, Outcome, WorkerName};
use crate::queue::Connection;
use crate::queue::call_size::CALL_BYTES;
use crate::queue::control::{BATCH, Change, Changed, change};
use crate::view::safe_text::safe;
use crate::view::text::{count, counted, tasks};

/// Who changes which queue.
pub(crate) struct Execution<'a> {
    /// The queue.
    pub(crate) conn: &'a Connection,
    /// How its lines are read.
    pub(crate) order: FieldOrder,
    /// The name under which it is recorded.
    pub(crate) by: &'a WorkerName,
    /// When a silent worker counts as dead.
    pub(crate) dead_after: Duration,
    /// How often a task may be lost.
    pub(crate) max_lost: u32,
}

/// A change that stopped before its end. What it did holds, and repeating it is safe.
pub(crate) struct Interrupted {
    /// Tasks that were changed.
    pub(crate) after: u64,
    /// Why it stopped.
    pub(crate) error: CliError,
}

impl From<CliError> for Interrupted {
    fn from(error: CliError) -> Self {
        Self { after: 0, error }
    }
}

impl Execution<'_> {
    /// Changes the lines; says after each step how many more were gone through.
    pub(crate) async fn carry_out(
        &self,
        op: Change,
        selected: Selected,
        mut advance: impl FnMut(u64),
    ) -> Result<(Changed, Purged), Interrupted> {
        let failed = |error| CliError::io("read the selected lines from a temporary file", error);
        let mut total = Changed::default();
        let mut purged = Purged::default();
        let mut lines = selected.lines.read().map_err(failed)?;
        loop {
            let batch = lines.take(BATCH, CALL_BYTES).map_err(failed)?;
            if batch.is_empty() {
                if total.stopping > 0 {
                    // Nobody stops what has no worker any more.
                    let done = finish_for_the_gone(self.conn, self.order, self.dead_after, self.max_lost).await;
                    total.stopping -=
                        done.map_err(|error| Interrupted { after: total.changed, error })?.min(total.stopping);
                }
                return Ok((total, purged));
            }
            match change(self.conn, op, selected.state, &batch, self.order, self.by).await {
                Ok(changed) => {
                    total.changed += changed.changed;
                    total.stopping += changed.stopping;
                    total.freed += changed.freed;
                }
                Err(error) => return Err(Interrupted { after: total.changed, error: error.into() }),
            }
            if op == Change::Purge {
                batch.iter().for_each(|line| purged.add(line));
            }
            advance(batch.len() as u64);
        }
    }
}

/// What would be done, in words: `requeue 120 failed tasks (exit 3)`. `states` are those in which the tasks were looked for, empty for all.
pub(crate) fn plan_text(op: Change, selected: &Selected, states: &str) -> String {
    let number = selected.lines.len();
    let noun = if number == 1 { "task" } else { "tasks" };
    let kind = selected.kind.as_ref().filter(|kind| *kind != Outcome::CANCELLED_GROUP);
    let kind = kind.map_or_else(String::new, |kind| format!(" ({})", safe(kind)));
    let states = if states.is_empty() { String::new() } else { format!("{states} ") };
    format!("{} {} {states}{noun}{kind}", verb(op), count(number))
}

/// What was done, in words; `files` are the result files of purged tasks.
pub(crate) fn result_text(op: Change, changed: Changed, selected: u64, files: Option<u64>) -> String {
    let done = match op {
        Change::Requeue => "requeued",
        Change::Cancel => "cancelled",
        Change::Purge => "purged",
    };
    let mut text = format!("{done} {}", tasks(changed.changed));
    // Writing to a string cannot fail.
    match changed.stopping {
        0 => {}
        1 => text.push_str("; 1 was running: it is being stopped"),
        stopping => drop(write!(text, "; {} were running: they are being stopped", count(stopping))),
    }
    if changed.freed > 0 {
        let _ = write!(
            text,
            "; {} in progress without a claim (tasks of a Python worker): their processes cannot be stopped",
            count(changed.freed)
        );
    }
    if let Some(files) = files {
        let _ = write!(text, "; deleted {}", counted(files, "result file"));
    }
    if changed.changed < selected {
        let _ = write!(
            text,
            "; skipped {} that have changed in the meantime or need no change",
            count(selected - changed.changed)
        );
    }
    text
}
