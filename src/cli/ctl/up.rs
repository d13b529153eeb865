//! `up`: starts a worker by ssh on each host of a file where none of its name lives, and waits until each has registered in Redis.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::args::FleetArgs;
use super::change::operator;
use super::context::CtlContext;
use super::fleet::{Fate, Report, Workers, finish, finish_dry, hosts, names, those, workers, workers_and_stop};
use super::hosts::Host;
use super::ssh::{Ssh, Start, WorkerStart, for_each};
use super::switch::agreed;
use crate::cli::common::until_signal;
use crate::cli::exit::{CliError, Exit};
use crate::cli::orders::resume_workers;
use crate::cli::worker::check_flags;
use crate::model::WorkerName;
use crate::model::snapshot::{WorkerState, WorkerView};
use crate::view::progress::Progress;
use crate::view::text::counted;

/// Between two looks at which workers have registered.
const LOOK: Duration = Duration::from_millis(300);

/// How long a host may take, unless the user says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// What is wrong with the flags, before anything is connected.
pub(super) fn check(args: &FleetArgs) -> Result<(), CliError> {
    Ssh::new(args.reach.ssh.as_deref())?;
    check_flags(&args.worker)
}

/// Starts the workers.
pub(super) async fn up(session: &mut CtlContext, args: &FleetArgs) -> Result<Exit, CliError> {
    if session.context.is_local {
        return Err(CliError::Usage("other hosts cannot reach the queue of --local: up needs a server".to_owned()));
    }
    let (ssh, hosts) = (Ssh::new(args.reach.ssh.as_deref())?, hosts(session, args)?);
    let start = WorkerStart { dir: args.reach.dir()?, flags: args.worker.clone() };
    let (known, is_stopping) = workers_and_stop(session).await?;
    if is_stopping {
        let text = "the queue is stopping, so that a worker would leave at once: distcomp-ctl resume lifts that";
        return Err(CliError::Usage(text.to_owned()));
    }
    let (mut reports, mut wanted) = (Vec::new(), Vec::new());
    for host in hosts {
        match known.get(host.worker.as_str()).and_then(|worker| present(&host, worker)) {
            Some(report) => reports.push(report),
            None => wanted.push(host),
        }
    }
    let number = counted(wanted.len() as u64, "worker");
    let running = those(&reports, Fate::Running);
    let plan = format!("start {number} by ssh in {}: {}{running}", start.dir, names(&wanted));
    if wanted.is_empty() || session.manner.dry_run {
        reports.extend(wanted.iter().map(|host| Report::of(host, Fate::WouldStart)));
        return finish_dry(session, "up", &args.reach.hosts, reports, &plan);
    }
    if !agreed(session, "up", &plan, serde_json::Value::Null)? {
        return Ok(Exit::Done);
    }
    let limit = args.timeout.unwrap_or(LIMIT);
    let drained =
        |host: &&Host| known.get(host.worker.as_str()).is_some_and(|worker| worker.state == WorkerState::Drained);
    let drained: Vec<WorkerName> = wanted.iter().filter(drained).map(|host| host.worker.clone()).collect();
    // Only now: at the question, Ctrl-C ends the program.
    let ended = until_signal(async {
        // A drain belongs to the name: a worker that starts under it would leave at once.
        resume_workers(&session.conn, &drained, operator()?.as_str()).await?;
        let started = start_all(session, &ssh, &start, wanted, limit).await;
        let attached = attach_all(session, started, limit).await?;
        reports.extend(explain(&ssh, attached, limit).await);
        finish(session, "up", &args.reach.hosts, reports)
    });
    let ended = ended.await?;
    if matches!(ended, Exit::Interrupted | Exit::Terminated) {
        session.say("stopped: workers that were started go on, and the command can be repeated");
    }
    Ok(ended)
}

/// How a host stands whose worker lives, and needs none.
fn present(host: &Host, worker: &WorkerView) -> Option<Report> {
    if !worker.is_alive() {
        return None;
    }
    match worker.state {
        WorkerState::Draining | WorkerState::Drained => Some(Report::failed(
            host,
            format!(
                "{} is {}, and holds its name until it has left; distcomp-ctl resume --worker {} lets it go on",
                host.worker,
                worker.state.as_str(),
                host.worker
            ),
        )),
        WorkerState::Python => {
            Some(Report::failed(host, format!("a Python worker with the name {} lives", host.worker)))
        }
        WorkerState::Live | WorkerState::Suspect | WorkerState::Silent | WorkerState::Dead => {
            Some(Report::of(host, Fate::Running))
        }
    }
}

/// A host whose worker was started, as it answered.
struct Begun {
    report: Report,
    /// Whether its worker shall register, and has not yet.
    is_awaited: bool,
}

impl Begun {
    /// `is_burst`: it ends by itself when it has nothing to do.
    fn of(host: Host, start: Start, is_burst: bool) -> Self {
        match start {
            Start::Runs { log } => {
                Self { report: Report { log: Some(log), ..Report::of(&host, Fate::Started) }, is_awaited: true }
            }
            Start::Ended { log, code: 0, .. } if is_burst => {
                Self { report: Report { log: Some(log), ..Report::of(&host, Fate::Started) }, is_awaited: false }
            }
            Start::Ended { log, code, lines } => {
                let why = format!("its worker ended with exit code {code}; from {log}:\n{}", lines.join("\n"));
                Self { report: Report { log: Some(log), ..Report::failed(&host, why) }, is_awaited: false }
            }
            Start::Failed(why) => Self { report: Report::failed(&host, why), is_awaited: false },
        }
    }
}

async fn start_all(
    session: &CtlContext,
    ssh: &Ssh,
    start: &WorkerStart,
    wanted: Vec<Host>,
    limit: Duration,
) -> Vec<Begun> {
    let is_shown = !session.manner.json && !session.manner.quiet;
    let mut progress = Progress::new("starting", wanted.len() as u64, is_shown);
    let is_burst = start.flags.iter().any(|flag| flag == "--burst");
    let mut begun = Vec::new();
    let one = |host: Host| async move {
        let answer = ssh.start(&host, start, limit).await;
        Begun::of(host, answer, is_burst)
    };
    for_each(wanted, one, |one| {
        begun.push(one);
        progress.advance(1);
    })
    .await;
    begun
}

/// Waits until all that were started have registered, or the time is over.
async fn attach_all(session: &CtlContext, mut begun: Vec<Begun>, limit: Duration) -> Result<Vec<Begun>, CliError> {
    let deadline = Instant::now() + limit;
    loop {
        let known = workers(session).await?;
        for one in &mut begun {
            settle(one, &known);
        }
        if !begun.iter().any(|one| one.is_awaited) || Instant::now() >= deadline {
            return Ok(begun);
        }
        sleep(LOOK).await;
    }
}

/// What Redis says counts more than what a session said: a worker that somebody else has started meanwhile runs, too.
fn settle(one: &mut Begun, known: &Workers) {
    let is_alive = known.get(one.report.host.worker.as_str()).is_some_and(WorkerView::is_alive);
    if is_alive && one.is_awaited {
        one.is_awaited = false;
    } else if is_alive && one.report.fate == Fate::Failed {
        one.report = Report { log: one.report.log.take(), ..Report::of(&one.report.host, Fate::Running) };
    }
}

/// Asks the hosts whose workers have not registered for the last lines of their logs.
async fn explain(ssh: &Ssh, begun: Vec<Begun>, limit: Duration) -> Vec<Report> {
    let mut reports = Vec::new();
    let one = |one: Begun| async move {
        let Begun { report, is_awaited } = one;
        let Some(log) = report.log.clone().filter(|_| is_awaited) else { return report };
        let lines = ssh.log_lines(&report.host, &log, limit).await.join("\n");
        let seconds = limit.as_secs_f64();
        let why = format!(
            "its worker was started and has not registered in Redis within {seconds} s (--timeout); from {log}:\n{lines}"
        );
        Report { log: Some(log), ..Report::failed(&report.host, why) }
    };
    for_each(begun, one, |report| reports.push(report)).await;
    reports
}
