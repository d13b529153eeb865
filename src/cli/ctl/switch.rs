//! `pause`, `resume`, `drain` and `stop`: orders to workers.

use serde_json::{Value, json};

use super::change::operator;
use super::confirm::confirm;
use super::context::CtlContext;
use crate::cli::exit::CliError;
use crate::cli::orders::{
    drain_plan, drain_workers, drainable, here, pause_plan, pause_queue, resume_plan, resume_queue, resume_workers,
    resumed_text, undrain_plan, worker_names,
};
use crate::model::WorkerName;
use crate::model::snapshot::WorkerState;
use crate::queue::{control, inspect};
use crate::view::safe_text::safe;
use crate::view::text::{count, counted, tasks};

/// Pauses the queue.
pub(super) async fn pause(session: &mut CtlContext) -> Result<(), CliError> {
    let plan = pause_plan(&session.conn).await?;
    if !agreed(session, "pause", &plan, Value::Null)? {
        return Ok(());
    }
    pause_queue(&session.conn, &here(), operator()?.as_str()).await?;
    done(session, "pause", "paused; distcomp-ctl resume continues", Value::Null)
}

/// Lifts a pause and the stop command.
pub(super) async fn resume(session: &mut CtlContext) -> Result<(), CliError> {
    let Some(plan) = resume_plan(&session.conn).await? else {
        return done(
            session,
            "resume",
            "the queue is neither paused nor stopping",
            json!({ "paused": false, "stopping": false }),
        );
    };
    if !agreed(session, "resume", &plan, Value::Null)? {
        return Ok(());
    }
    let (paused, stopping) = resume_queue(&session.conn, operator()?.as_str()).await?;
    done(session, "resume", "resumed", json!({ "paused": paused, "stopping": stopping }))
}

/// Writes the stop command.
pub(super) async fn stop(session: &mut CtlContext) -> Result<(), CliError> {
    let overview = inspect::overview(&session.conn).await?;
    let workers = overview.workers.iter().filter(|worker| worker.state != WorkerState::Dead).count() as u64;
    let plan = format!(
        "stop {}: they claim nothing more and exit when {} in progress have ended; {} stay queued",
        counted(workers, "worker"),
        count(overview.counts.in_progress),
        tasks(overview.counts.todo)
    );
    if !agreed(session, "stop", &plan, Value::Null)? {
        return Ok(());
    }
    control::stop(&session.conn, operator()?.as_str()).await?;
    done(session, "stop", "stopping; distcomp-ctl resume cancels the stop", Value::Null)
}

/// Asks workers to finish, and to take nothing more.
pub(super) async fn drain(session: &mut CtlContext, names: &[String]) -> Result<(), CliError> {
    let overview = inspect::overview(&session.conn).await?;
    let workers = drainable(&overview, names)?;
    if workers.is_empty() {
        return done(session, "drain", "no live worker to drain", json!([]));
    }
    let shown: Vec<&str> = workers.iter().map(WorkerName::as_str).collect();
    if !agreed(session, "drain", &drain_plan(&workers), json!(shown))? {
        return Ok(());
    }
    let text = drain_workers(&session.conn, &workers, operator()?.as_str()).await?;
    done(session, "drain", &text, json!(shown))
}

/// Lifts the drain of workers, and what speaks against them as suspects.
pub(super) async fn undrain(session: &mut CtlContext, names: &[String]) -> Result<(), CliError> {
    let workers = worker_names(names)?;
    let shown: Vec<&str> = workers.iter().map(WorkerName::as_str).collect();
    if !agreed(session, "resume", &undrain_plan(&workers), json!(shown))? {
        return Ok(());
    }
    let found = resume_workers(&session.conn, &workers, operator()?.as_str()).await?;
    done(session, "resume", &resumed_text(&found), json!(found.0))
}

/// Says the plan and asks; false after a dry run.
pub(super) fn agreed(session: &mut CtlContext, command: &str, plan: &str, detail: Value) -> Result<bool, CliError> {
    if session.manner.dry_run {
        done(session, command, &format!("would {plan}"), detail)?;
        return Ok(false);
    }
    session.announce(plan);
    confirm(session.manner)?;
    Ok(true)
}

pub(super) fn done(session: &mut CtlContext, command: &str, text: &str, detail: Value) -> Result<(), CliError> {
    if session.manner.json {
        return session.out.json(&json!({ "command": command, "dry_run": session.manner.dry_run, "detail": detail }));
    }
    session.tell(&safe(text))
}
