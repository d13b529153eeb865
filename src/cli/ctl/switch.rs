//! `pause`, `resume`, `drain` and `stop`: orders to workers.

use serde_json::{Value, json};

use super::confirm::confirm;
use super::context::CtlContext;
use crate::cli::exit::CliError;
use crate::cli::results::host;
use crate::host::user_name;
use crate::model::snapshot::{Overview, WorkerState};
use crate::model::{WorkerName, WorkerNameError};
use crate::queue::{control, inspect};
use crate::sys::wall_clock;
use crate::view::safe_text::safe;
use crate::view::text::{count, counted, tasks};

/// Pauses the queue.
pub(super) async fn pause(session: &mut CtlContext) -> Result<(), CliError> {
    let counts = inspect::counts(&session.conn).await?;
    let plan =
        format!("pause the queue: {} wait, {} in progress continue", tasks(counts.todo), count(counts.in_progress));
    if !agreed(session, "pause", &plan, Value::Null)? {
        return Ok(());
    }
    let now = wall_clock::local().strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    control::pause(&session.conn, &format!("{}@{} since {now}", user_name(), host())).await?;
    done(session, "pause", "paused; distcomp-ctl resume continues", Value::Null)
}

/// Lifts a pause and the stop command.
pub(super) async fn resume(session: &mut CtlContext) -> Result<(), CliError> {
    let overview = inspect::overview(&session.conn).await?;
    let lifted: Vec<&str> = [("the pause", overview.paused.is_some()), ("the stop command", overview.stopping)]
        .into_iter()
        .filter_map(|(name, is_there)| is_there.then_some(name))
        .collect();
    if lifted.is_empty() {
        return done(
            session,
            "resume",
            "the queue is neither paused nor stopping",
            json!({ "paused": false, "stopping": false }),
        );
    }
    let plan = format!("lift {}: {} wait", lifted.join(" and "), tasks(overview.counts.todo));
    if !agreed(session, "resume", &plan, Value::Null)? {
        return Ok(());
    }
    let (paused, stopping) = control::resume(&session.conn).await?;
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
    control::stop(&session.conn).await?;
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
    let plan = format!(
        "drain {}: they finish their running tasks and claim nothing new until distcomp-ctl resume --worker NAME",
        shown.join(", ")
    );
    if !agreed(session, "drain", &plan, json!(shown))? {
        return Ok(());
    }
    for worker in &workers {
        control::drain(&session.conn, worker).await?;
    }
    done(session, "drain", &format!("draining {}", shown.join(", ")), json!(shown))
}

/// Lifts the drain of workers, and what speaks against them as suspects.
pub(super) async fn undrain(session: &mut CtlContext, names: &[String]) -> Result<(), CliError> {
    let workers = CliError::all(names.iter().map(|name| parse(name)))?;
    let shown: Vec<&str> = workers.iter().map(WorkerName::as_str).collect();
    let plan = format!("let {} claim tasks again", shown.join(", "));
    if !agreed(session, "resume", &plan, json!(shown))? {
        return Ok(());
    }
    let (mut lifted, mut others) = (Vec::new(), Vec::new());
    for worker in &workers {
        let list = if control::undrain(&session.conn, worker).await? { &mut lifted } else { &mut others };
        list.push(worker.as_str());
    }
    let mut text =
        if lifted.is_empty() { "resumed nothing".to_owned() } else { format!("resumed {}", lifted.join(", ")) };
    if !others.is_empty() {
        text = format!("{text}; neither drained nor suspect: {}", others.join(", "));
    }
    done(session, "resume", &text, json!(lifted))
}

fn parse(name: &str) -> Result<WorkerName, CliError> {
    name.parse::<WorkerName>().map_err(|error: WorkerNameError| CliError::Usage(error.to_string()))
}

/// The workers that are named, or all that live; a name that cannot be drained is an error.
fn drainable(overview: &Overview, names: &[String]) -> Result<Vec<WorkerName>, CliError> {
    if names.is_empty() {
        let live = overview.workers.iter().filter(|worker| worker.state == WorkerState::Live);
        return live.map(|worker| parse(&worker.name)).collect();
    }
    CliError::all(names.iter().map(|name| {
        let worker = overview.workers.iter().find(|worker| worker.name == *name).ok_or_else(|| {
            let known: Vec<_> = overview.workers.iter().map(|worker| safe(&worker.name)).collect();
            let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
            CliError::Usage(format!("no worker has the name {}; workers: {known}", safe(name)))
        })?;
        match worker.state {
            WorkerState::Live
            | WorkerState::Suspect
            | WorkerState::Draining
            | WorkerState::Drained
            | WorkerState::Silent => parse(name),
            WorkerState::Python => Err(CliError::Usage(format!(
                "{name} is a Python worker, which cannot be drained; distcomp-ctl stop stops all workers"
            ))),
            WorkerState::Dead => {
                Err(CliError::Usage(format!("{name} is dead; distcomp-ctl reclaim takes over its tasks")))
            }
        }
    }))
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
