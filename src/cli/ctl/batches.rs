//! `pause`, `resume`, `close` and `release` of batches.

use serde_json::json;

use super::change::operator;
use super::context::CtlContext;
use super::switch::{agreed, done};
use crate::cli::exit::CliError;
use crate::cli::orders::{BatchResume, batch_pause_plan, joined, pause_batches, whole};
use crate::model::BatchName;
use crate::queue::batches::BatchChange;
use crate::queue::{batch_forget, batch_views, batches};
use crate::view::ctl_command::last_words;
use crate::view::text::counted;

/// Holds batches: nothing of them starts.
pub(super) async fn pause(session: &mut CtlContext, names: &[BatchName]) -> Result<(), CliError> {
    let plan = batch_pause_plan(&whole(&session.conn, names).await?);
    if !agreed(session, "pause", &plan, json!(names))? {
        return Ok(());
    }
    pause_batches(&session.conn, names, operator()?.as_str()).await?;
    let text = format!("paused {}; distcomp-ctl resume {} continues", joined(names), last_words(names));
    done(session, "pause", &text, json!(names))
}

/// Lets held batches go on; of one that had stopped, what was given up for that waits again.
pub(super) async fn resume(session: &mut CtlContext, names: &[BatchName]) -> Result<(), CliError> {
    let Some(held) = BatchResume::of(&session.conn, names).await? else {
        let are = if names.len() == 1 { "is not held" } else { "are not held" };
        return done(session, "resume", &format!("{} {are}", joined(names)), json!([]));
    };
    if !agreed(session, "resume", &held.plan(), json!(held.names))? {
        return Ok(());
    }
    let text = held.carry_out(&session.conn, session.order, operator()?.as_str()).await?;
    done(session, "resume", &text, json!(held.names))
}

/// Ends submissions that were cut short: nothing more is to come.
pub(super) async fn close(session: &mut CtlContext, names: &[BatchName]) -> Result<(), CliError> {
    let found = whole(&session.conn, names).await?;
    let submissions: u64 = found.iter().map(|batch| batch.submissions).sum();
    if submissions == 0 {
        return done(session, "close", &format!("no submission to {} is under way", joined(names)), json!([]));
    }
    let plan = format!(
        "close {}: {} under way or cut short counts as complete, and what waits for the batch goes on when its tasks have ended",
        joined(names),
        counted(submissions, "submission")
    );
    if !agreed(session, "close", &plan, json!(names))? {
        return Ok(());
    }
    batches::change(&session.conn, BatchChange::Close, names).await?;
    for name in names {
        batch_forget::finish(&session.conn, name).await?;
    }
    done(session, "close", &format!("closed {}", joined(names)), json!(names))
}

/// Lets what waits for batches or steps go on without them.
pub(super) async fn release(session: &mut CtlContext, names: &[BatchName]) -> Result<(), CliError> {
    for (name, is_known) in names.iter().zip(batch_views::are_known(&session.conn, names).await?) {
        if !is_known {
            session.context.warn(&format!("nothing is known of {name}: what waits for it starts at once, also later"));
        }
    }
    let plan = format!("release what waits for {}: it need not wait any more, now or later", joined(names));
    if !agreed(session, "release", &plan, json!(names))? {
        return Ok(());
    }
    batches::change(&session.conn, BatchChange::Waive(operator()?.as_str()), names).await?;
    done(session, "release", &format!("released what waits for {}", joined(names)), json!(names))
}
