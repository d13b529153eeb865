//! `requeue`, `cancel` and `purge`: select tasks, show their number, ask, change them.

use std::fmt::Write;

use serde_json::json;

use super::confirm::confirm;
use super::context::CtlContext;
use crate::cli::exit::CliError;
use crate::cli::orders::{Execution, Interrupted, SelectArgs, Selected, Selector, plan_text, result_text, verb};
use crate::cli::results::{Purged, Remote};
use crate::host::user_name;
use crate::model::{BatchName, WorkerName, WorkerNameError};
use crate::queue::batch_forget::{self, Forgotten};
use crate::queue::batch_views;
use crate::queue::control::{Change, Changed};
use crate::view::ctl_command::ctl;
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
    let what = plan_text(op, &selected, states.trim_end());
    if number == 0 || session.manner.dry_run {
        let is_left = op == Change::Purge && !session.manner.dry_run;
        let text = if number == 0 {
            let batch = args.whole_batch().filter(|_| is_left);
            let forgotten = match batch {
                Some(batch) => batch_forget::forget_empty(&session.conn, batch).await?,
                None => Forgotten::No,
            };
            match (batch, forgotten) {
                (Some(batch), Forgotten::Yes) => format!("forgot {batch}: it has no task"),
                (Some(batch), Forgotten::WaitedFor) => {
                    format!("nothing to purge; {batch} stays known, since tasks may wait for it")
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
    let forgotten = if op == Change::Purge { forget(session, args.whole_batch()).await } else { Ok(()) };
    let files = if op == Change::Purge { Some(purged.delete_files(&session.context.config.result_dir)?) } else { None };
    forgotten?;
    let text = result_text(op, changed, number, files);
    finish(session, op, number, changed, files, &text)?;
    if op == Change::Purge {
        name_remote(session, &remote);
    }
    if let (Change::Requeue, Some(batch)) = (op, &args.group.batch) {
        say_what_holds(session, batch).await;
    }
    Ok(())
}

/// Forgets the batch that was purged, and whatever else has no task left.
async fn forget(session: &CtlContext, batch: Option<&BatchName>) -> Result<(), CliError> {
    if let Some(batch) = batch
        && batch_forget::forget(&session.conn, batch).await? == Forgotten::WaitedFor
    {
        session.say(&kept(batch));
    }
    Ok(batch_forget::forget_purged(&session.conn).await?)
}

/// What waits again starts only where nothing holds its batch. The deed is done: that this cannot be looked up is no error.
async fn say_what_holds(session: &CtlContext, batch: &BatchName) {
    let top = batch.top();
    let Ok(found) = batch_views::awaited(&session.conn, std::slice::from_ref(&top)).await else { return };
    if let Some(held) = found.first().and_then(|batch| batch.held.as_ref()) {
        session.say(&format!("{top} is {}; {} resume {top} lets it start", safe(&held.to_string()), ctl()));
    }
}

/// Why a batch without tasks stays known.
fn kept(batch: &BatchName) -> String {
    format!("{batch} stays known as not done, since tasks may wait for it: submit it again, or release it")
}

/// Changes the lines, with progress on the terminal.
async fn run(session: &CtlContext, op: Change, selected: Selected) -> Result<(Changed, Purged), CliError> {
    let by = operator()?;
    let config = &session.context.config;
    let execution = Execution {
        conn: &session.conn,
        order: session.order,
        by: &by,
        dead_after: config.dead_after,
        max_lost: config.max_lost,
    };
    let mut progress = Progress::new(verb(op), selected.lines.len(), !session.manner.json && !session.manner.quiet);
    let done = execution.carry_out(op, selected, |more| progress.advance(more)).await;
    done.map_err(|Interrupted { after, error }| {
        if matches!(error, CliError::Queue(_)) {
            session.say(&format!("stopped after {}; repeating the command is safe", tasks(after)));
        }
        error
    })
}

/// The name under which a change is recorded, and which its event has: `distcomp-ctl.USER`.
pub(super) fn operator() -> Result<WorkerName, CliError> {
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
