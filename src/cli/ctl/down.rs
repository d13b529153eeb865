//! `down`: drains the workers of the hosts of a file, and waits until they have left. It needs no ssh.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::args::FleetArgs;
use super::change::operator;
use super::context::CtlContext;
use super::fleet::{Fate, Report, finish, finish_dry, hosts, names, those, workers};
use super::hosts::Host;
use super::switch::agreed;
use crate::cli::common::until_signal;
use crate::cli::exit::{CliError, Exit};
use crate::cli::orders::drain_workers;
use crate::model::WorkerName;
use crate::model::snapshot::{WorkerState, WorkerView};
use crate::queue::control;
use crate::view::progress::Progress;
use crate::view::text::counted;

/// Between two looks at which workers have left.
const LOOK: Duration = Duration::from_millis(300);

/// A drained worker that has nothing left to do and beats on for so long stays: a supervisor would start it again.
const STAYS: Duration = Duration::from_secs(10);

/// Drains the workers.
pub(super) async fn down(session: &mut CtlContext, args: &FleetArgs, waits: bool) -> Result<Exit, CliError> {
    let hosts = hosts(session, args)?;
    let known = workers(session).await?;
    let (mut reports, mut wanted) = (Vec::new(), Vec::new());
    for host in hosts {
        match known.get(host.worker.as_str()).map_or(Err(Fate::NotRunning), standing) {
            Ok(()) => wanted.push(host),
            Err(Fate::Failed) => {
                let why = format!("{} is a Python worker, which cannot be drained", host.worker);
                reports.push(Report::failed(&host, why));
            }
            Err(fate) => reports.push(Report::of(&host, fate)),
        }
    }
    let absent = those(&reports, Fate::NotRunning);
    let plan = format!(
        "drain {}: {}: they finish their running tasks and leave{absent}",
        counted(wanted.len() as u64, "worker"),
        names(&wanted)
    );
    if wanted.is_empty() || session.manner.dry_run {
        reports.extend(wanted.iter().map(|host| Report::of(host, Fate::WouldDrain)));
        return finish_dry(session, "down", &args.reach.hosts, reports, &plan);
    }
    if !agreed(session, "down", &plan, serde_json::Value::Null)? {
        return Ok(Exit::Done);
    }
    let drained: Vec<WorkerName> = wanted.iter().map(|host| host.worker.clone()).collect();
    drain_workers(&session.conn, &drained, operator()?.as_str()).await?;
    if !waits {
        reports.extend(wanted.iter().map(|host| Report::of(host, Fate::Draining)));
        return finish(session, "down", &args.reach.hosts, reports);
    }
    // Only now: at the question, Ctrl-C ends the program.
    let ended = until_signal(async {
        reports.extend(leave_all(session, wanted, args.timeout).await?);
        finish(session, "down", &args.reach.hosts, reports)
    });
    let ended = ended.await?;
    if matches!(ended, Exit::Interrupted | Exit::Terminated) {
        session.say("stopped waiting: the drain goes on, and the command can be repeated");
    }
    Ok(ended)
}

/// Whether the worker can be drained; else how its host stands.
fn standing(worker: &WorkerView) -> Result<(), Fate> {
    match worker.state {
        WorkerState::Python => Err(Fate::Failed),
        WorkerState::Dead => Err(Fate::NotRunning),
        WorkerState::Drained if !worker.is_alive() => Err(Fate::NotRunning),
        WorkerState::Live
        | WorkerState::Suspect
        | WorkerState::Draining
        | WorkerState::Drained
        | WorkerState::Silent => Ok(()),
    }
}

/// Waits until each has left, is dead, or stays for good.
async fn leave_all(
    session: &CtlContext,
    mut waiting: Vec<Host>,
    limit: Option<Duration>,
) -> Result<Vec<Report>, CliError> {
    let is_shown = !session.manner.json && !session.manner.quiet;
    let mut progress = Progress::new("leaving", waiting.len() as u64, is_shown);
    let deadline = limit.map(|limit| Instant::now() + limit);
    let (mut reports, mut idle) = (Vec::new(), HashMap::new());
    loop {
        let known = workers(session).await?;
        let mut left = Vec::new();
        for host in waiting {
            let worker = known.get(host.worker.as_str());
            match worker.map_or(Some(Fate::Left), |worker| departure(worker, &mut idle)) {
                Some(Fate::Left) => {
                    // The name is as it was: a worker that is started under it by other means shall work.
                    control::undrain(&session.conn, &host.worker, operator()?.as_str()).await?;
                    reports.push(Report::of(&host, Fate::Left));
                }
                Some(_) => reports.push(Report::failed(&host, stayed(worker))),
                None => left.push(host),
            }
        }
        progress.set(reports.len() as u64);
        waiting = left;
        if waiting.is_empty() {
            return Ok(reports);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let why = |host: &Host| {
                let running = known
                    .get(host.worker.as_str())
                    .and_then(|worker| worker.load.as_ref())
                    .map_or(0, |load| load.running);
                format!("it still runs {} (--timeout); the drain goes on", counted(u64::from(running), "task"))
            };
            reports.extend(waiting.iter().map(|host| Report::failed(host, why(host))));
            return Ok(reports);
        }
        sleep(LOOK).await;
    }
}

/// How a worker has ended, or that it will not; `None` while it may.
fn departure(worker: &WorkerView, idle: &mut HashMap<String, Instant>) -> Option<Fate> {
    match worker.state {
        WorkerState::Dead => Some(Fate::Failed),
        WorkerState::Drained if !worker.is_alive() => Some(Fate::Left),
        WorkerState::Drained => {
            let since = *idle.entry(worker.name.clone()).or_insert_with(Instant::now);
            (since.elapsed() > STAYS).then_some(Fate::Failed)
        }
        WorkerState::Live
        | WorkerState::Suspect
        | WorkerState::Draining
        | WorkerState::Silent
        | WorkerState::Python => None,
    }
}

fn stayed(worker: Option<&WorkerView>) -> String {
    if worker.is_some_and(|worker| worker.state == WorkerState::Dead) {
        "its worker died while it drained; its tasks go back to todo".to_owned()
    } else {
        "it is drained and idle, and stays: a supervisor would start it again; stop its service there (systemctl stop distcomp-worker)"
            .to_owned()
    }
}
