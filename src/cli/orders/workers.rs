//! Drains workers, and lets them claim again.

use crate::cli::exit::CliError;
use crate::cli::results::host;
use crate::host::user_name;
use crate::model::snapshot::{Overview, WorkerState};
use crate::model::{WorkerName, WorkerNameError};
use crate::queue::{Connection, control};
use crate::view::safe_text::safe;

fn parse(name: &str) -> Result<WorkerName, CliError> {
    name.parse::<WorkerName>().map_err(|error: WorkerNameError| CliError::Usage(error.to_string()))
}

/// Names of workers as they were given, each of them checked.
pub(crate) fn worker_names(names: &[String]) -> Result<Vec<WorkerName>, CliError> {
    CliError::all(names.iter().map(|name| parse(name)))
}

/// Who runs this, and where.
pub(crate) fn here() -> String {
    format!("{}@{}", user_name(), host())
}

fn shown(workers: &[WorkerName]) -> String {
    workers.iter().map(WorkerName::as_str).collect::<Vec<_>>().join(", ")
}

/// The workers that are named, or all that live; a name that cannot be drained is an error.
pub(crate) fn drainable(overview: &Overview, names: &[String]) -> Result<Vec<WorkerName>, CliError> {
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

/// What draining them would do, in words.
pub(crate) fn drain_plan(workers: &[WorkerName]) -> String {
    format!(
        "drain {}: they finish their running tasks and claim nothing new until distcomp-ctl resume --worker NAME",
        shown(workers)
    )
}

/// Drains them in the name of somebody.
pub(crate) async fn drain_workers(conn: &Connection, workers: &[WorkerName], by: &str) -> Result<String, CliError> {
    for worker in workers {
        control::drain(conn, worker, by).await?;
    }
    Ok(format!("draining {}", shown(workers)))
}

/// What lifting their drain would do, in words.
pub(crate) fn undrain_plan(workers: &[WorkerName]) -> String {
    format!("let {} claim tasks again", shown(workers))
}

/// Lifts their drain, and what speaks against them as suspects: those of which there was something, and the others.
pub(crate) async fn resume_workers<'a>(
    conn: &Connection,
    workers: &'a [WorkerName],
    by: &str,
) -> Result<(Vec<&'a str>, Vec<&'a str>), CliError> {
    let (mut lifted, mut others) = (Vec::new(), Vec::new());
    for worker in workers {
        let list = if control::undrain(conn, worker, by).await? { &mut lifted } else { &mut others };
        list.push(worker.as_str());
    }
    Ok((lifted, others))
}

/// The same in words.
pub(crate) fn resumed_text((lifted, others): &(Vec<&str>, Vec<&str>)) -> String {
    let text = if lifted.is_empty() { "resumed nothing".to_owned() } else { format!("resumed {}", lifted.join(", ")) };
    if others.is_empty() { text } else { format!("{text}; neither drained nor suspect: {}", others.join(", ")) }
}
