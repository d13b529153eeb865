//! `requeue`, `cancel` and `purge`: select tasks, show their number, ask, change them.

use std::fmt::Write;

use serde_json::json;

use super::args::SelectArgs;
use super::confirm::confirm;
use super::context::CtlContext;
use super::reclaim::finish_for_the_gone;
use super::select::{Selector, verb};
use super::selected::Selected;
use crate::cli::exit::CliError;
use crate::cli::results::{Purged, Remote};
use crate::host::user_name;
use crate::model::{Outcome, WorkerName, WorkerNameError};
use crate::queue::batches;
use crate::queue::call_size::CALL_BYTES;
use crate::queue::control::{BATCH, Change, Changed, change};
use crate::view::progress::Progress;
use crate::view::safe_text::safe;
use crate::view::text::{count, counted, shorten, tasks};

/// Files on other hosts that are named.
const MOST_NAMED: usize = 20;

/// Columns of an example that are shown.
const SHOWN: usize = 100;

/// Refuses a selection that makes no sense, before anything is connected.
pub(super) fn check(op: Change, args: &SelectArgs) -> Result<(), CliError> {
    if args.lines.is_empty() { Selector::new(op, args).map(drop) } else { Ok(()) }
}

/// Does what was asked to the tasks that were selected.
pub(super) async fn apply(session: &mut CtlContext, op: Change, args: &SelectArgs) -> Result<(), CliError> {
    let (selected, states) = if args.lines.is_empty() {
        let selector = Selector::new(op, args)?;
        (
            selector.select(&session.conn, session.order, session.manner.json || session.manner.quiet).await?,
            Some(selector.states()).filter(|states| !states.is_empty()).map_or_else(String::new, |s| format!("{s} ")),
        )
    } else {
        (Selected::named(&session.conn, &args.lines).await?, String::new())
    };
    let number = selected.lines.len();
    if selected.undated > 0 {
        session.say(&format!(
            "skipped {}: Redis has no end time for their last attempt (recorded by an earlier version, or by Python)",
            tasks(selected.undated)
        ));
    }
    if let (Some(file), 1..) = (&args.file, selected.elsewhere) {
        session.say(&format!(
            "skipped {} of {}: not {states}in this queue, or not selected by the other flags",
            tasks(selected.elsewhere),
            file.display(),
        ));
    }
    if selected.cancelled > 0 {
        session.say(&format!(
            "left out {}: --state cancelled selects {}",
            counted(selected.cancelled, "cancelled task"),
            if selected.cancelled == 1 { "it" } else { "them" }
        ));
    }
    let noun = if number == 1 { "task" } else { "tasks" };
    let kind = selected.kind.as_ref().filter(|kind| *kind != Outcome::CANCELLED_GROUP);
    let kind = kind.map_or_else(String::new, |kind| format!(" ({})", safe(kind)));
    let what = format!("{} {} {states}{noun}{kind}", verb(op), count(number));
    if number == 0 || session.manner.dry_run {
        let is_left = op == Change::Purge && !session.manner.dry_run;
        let text = if number == 0 {
            match args.whole_batch().filter(|_| is_left) {
                Some(batch) if batches::forget(&session.conn, batch).await? => {
                    format!("forgot {batch}: it has no task")
                }
                _ => format!("nothing to {}", verb(op)),
            }
        } else {
            format!("would {what}{}", examples(&selected))
        };
        return finish(session, op, number, Changed::default(), None, &text);
    }
    session.announce(&format!("{what}{}", examples(&selected)));
    confirm(session.manner)?;
    let remote = selected.remote.clone();
    let (changed, purged) = run(session, op, selected).await?;
    if let (Change::Purge, Some(batch)) = (op, args.whole_batch()) {
        batches::forget(&session.conn, batch).await?;
    }
    let files = if op == Change::Purge { Some(purged.delete_files(&session.context.config.result_dir)?) } else { None };
    let text = result_text(op, changed, number, files);
    finish(session, op, number, changed, files, &text)?;
    if op == Change::Purge {
        name_remote(session, &remote);
    }
    Ok(())
}

/// Changes the lines, a batch in each atomic step.
async fn run(session: &CtlContext, op: Change, selected: Selected) -> Result<(Changed, Purged), CliError> {
    let failed = |error| CliError::io("read the selected lines from a temporary file", error);
    let by = operator()?;
    let mut total = Changed::default();
    let mut purged = Purged::default();
    let mut progress = Progress::new(verb(op), selected.lines.len(), !session.manner.json && !session.manner.quiet);
    let mut lines = selected.lines.read().map_err(failed)?;
    loop {
        let batch = lines.take(BATCH, CALL_BYTES).map_err(failed)?;
        if batch.is_empty() {
            if total.stopping > 0 {
                // Nobody stops what has no worker any more.
                total.stopping -= finish_for_the_gone(session).await?.min(total.stopping);
            }
            return Ok((total, purged));
        }
        match change(&session.conn, op, selected.state, &batch, session.order, &by).await {
            Ok(changed) => {
                total.changed += changed.changed;
                total.stopping += changed.stopping;
                total.freed += changed.freed;
            }
            Err(error) => {
                session.say(&format!("stopped after {}; repeating the command is safe", tasks(total.changed)));
                return Err(error.into());
            }
        }
        if op == Change::Purge {
            batch.iter().for_each(|line| purged.add(line));
        }
        progress.advance(batch.len() as u64);
    }
}

/// The name under which a cancellation is recorded.
fn operator() -> Result<WorkerName, CliError> {
    const PLAIN: &str = "distcomp-ctl";
    let user: String =
        user_name().chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(40).collect();
    let name = if user.is_empty() { PLAIN.to_owned() } else { format!("{PLAIN}.{user}") };
    name.parse().map_err(|error: WorkerNameError| CliError::Usage(error.to_string()))
}

fn examples(selected: &Selected) -> String {
    let lead = match selected.examples.len() as u64 {
        0 => return String::new(),
        shown if shown == selected.lines.len() => ":",
        _ => ", such as:",
    };
    let mut text = lead.to_owned();
    for line in &selected.examples {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}", shorten(&safe(line), SHOWN));
    }
    text
}

fn result_text(op: Change, changed: Changed, selected: u64, files: Option<u64>) -> String {
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
        let _ = write!(text, "; deleted {}", files_text(files));
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

/// `1 result file`, `2 result files`.
fn files_text(files: u64) -> String {
    counted(files, "result file")
}

fn finish(
    session: &mut CtlContext,
    op: Change,
    selected: u64,
    changed: Changed,
    files: Option<u64>,
    text: &str,
) -> Result<(), CliError> {
    if !session.manner.json {
        return session.tell(text);
    }
    session.out.json(&json!({
        "command": verb(op), "dry_run": session.manner.dry_run, "selected": selected, "changed": changed.changed,
        "running": changed.stopping + changed.freed, "stopping": changed.stopping, "result_files_deleted": files.unwrap_or(0),
    }))
}

/// What only somebody on those hosts can delete.
fn name_remote(session: &CtlContext, remote: &[Remote]) {
    // On this host those are left that are in another directory than the result_dir of this configuration.
    let is_left = |file: &Remote| !file.is_here() || std::fs::symlink_metadata(&file.path).is_ok();
    let others: Vec<&Remote> = remote.iter().filter(|file| is_left(file)).collect();
    if others.is_empty() {
        return;
    }
    let mut text = format!(
        "not deleted, because on other hosts or outside result_dir: {}:",
        counted(others.len() as u64, "result file")
    );
    for file in others.iter().take(MOST_NAMED) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}:{}", safe(&file.host), safe(&file.path));
    }
    if others.len() > MOST_NAMED {
        let _ = write!(text, "\nand {} more", count((others.len() - MOST_NAMED) as u64));
    }
    session.say(&text);
}
