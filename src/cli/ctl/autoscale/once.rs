//! `--once`: what an autoscaler would do now, and why.

use std::time::Instant;

use serde_json::json;

use super::args::ProviderArgs;
use super::planner::{Look, Plan, Planner};
use super::provider::{Provider, ProviderError};
use crate::cli::ctl::context::CtlContext;
use crate::cli::exit::{CliError, Exit};
use crate::model::WorkerName;
use crate::model::snapshot::AutoscalerView;
use crate::policy::scaling::Held;
use crate::queue::autoscale;
use crate::view::safe_text::safe;
use crate::view::text::{count, counted, tasks};

/// Says it, and does nothing. Exit code 1 where the provider does not answer.
pub(super) async fn once(
    session: &mut CtlContext,
    args: &ProviderArgs,
    name: &WorkerName,
    provider: &dyn Provider,
    mut planner: Planner,
) -> Result<Exit, CliError> {
    let look = Look::read(&session.conn).await?;
    let records = autoscale::at_work(&session.conn).await?;
    let record = records.iter().find(|view| view.name == name.as_str());
    if let Some(record) = record {
        planner.resume(Instant::now(), record);
    }
    let list = provider.list().await;
    let listed = list.as_ref().ok().and_then(Option::as_deref);
    planner.observe(Instant::now(), listed, provider, &look);
    let plan = planner.plan(&look);
    let running = record.filter(|view| view.silent_for(look.overview.now).is_none());
    if session.manner.json {
        session.out.json(&as_json(args, name, provider, &planner, &plan, running, list.as_ref().err()))?;
    } else {
        for line in as_text(args, name, provider, &planner, &plan, running, list.as_ref().err()) {
            session.out.line(&safe(&line))?;
        }
    }
    Ok(if list.is_ok() { Exit::Done } else { Exit::TasksFailed })
}

fn as_json(
    args: &ProviderArgs,
    name: &WorkerName,
    provider: &dyn Provider,
    planner: &Planner,
    plan: &Plan,
    running: Option<&AutoscalerView>,
    problem: Option<&ProviderError>,
) -> serde_json::Value {
    let Plan { wanted, own, start, .. } = plan;
    let bounds = planner.bounds();
    json!({
        "autoscaler": name, "provider": args.name(), "shape": planner.shape().to_string(),
        "would_start": if problem.is_some() { 0 } else { *start }, "why": why(plan, planner, args, problem),
        "wanted": wanted.wanted, "additional": wanted.additional, "runnable": wanted.runnable, "placed": wanted.placed,
        "unfit": wanted.unfit, "too_long": wanted.too_long, "limited": wanted.limited,
        "attached": own.attached, "starting": own.starting, "pending": own.pending, "given_up": own.given_up,
        "min_workers": bounds.min, "max_workers": bounds.max, "backlog": bounds.backlog,
        "running": running.map(|view| &view.holder), "paused": running.and_then(|view| view.paused.as_ref()),
        "problem": problem.map(ToString::to_string), "command": provider.shown(),
    })
}

fn as_text(
    args: &ProviderArgs,
    name: &WorkerName,
    provider: &dyn Provider,
    planner: &Planner,
    plan: &Plan,
    running: Option<&AutoscalerView>,
    problem: Option<&ProviderError>,
) -> Vec<String> {
    let Plan { wanted, own, start, .. } = plan;
    let bounds = planner.bounds();
    let mut lines = vec![format!("autoscaler {name} ({}), workers of {}", args.name(), planner.shape())];
    lines.extend(running.map(|view| match &view.paused {
        Some(why) => format!("it runs as {} and is paused: {why}", view.holder),
        None => format!("it runs as {}", view.holder),
    }));
    let mut left_out = Vec::new();
    for (number, what) in [
        (wanted.placed, "fit the room of live workers"),
        (wanted.unfit - wanted.too_long, "need more or other than such a worker has"),
        (wanted.too_long, "need a longer life than such a worker has"),
        (wanted.limited, "are over a limit"),
    ] {
        if number > 0 {
            left_out.push(format!("{} {what}", count(number)));
        }
    }
    let left_out = if left_out.is_empty() { String::new() } else { format!("; {}", left_out.join(", ")) };
    lines.push(format!("{} for new workers{left_out}", tasks(wanted.runnable)));
    lines.push(format!(
        "{} attached, {} starting, {} pending; at least {}, at most {}, {} pending at once",
        count(own.attached),
        count(own.starting + own.given_up),
        count(own.pending),
        count(bounds.min),
        count(bounds.max),
        count(bounds.backlog)
    ));
    let would = if problem.is_some() { 0 } else { *start };
    lines.push(format!("would start {}: {}", counted(would, "worker"), why(plan, planner, args, problem)));
    if would > 0 {
        lines.push(format!("would run: {}", provider.shown()));
    }
    lines
}

/// Why as many are started as are.
pub(super) fn why(plan: &Plan, planner: &Planner, args: &ProviderArgs, problem: Option<&ProviderError>) -> String {
    let Plan { wanted, own, held, start } = plan;
    let additional = counted(wanted.additional, "more worker");
    if let Some(problem) = problem {
        return format!("{} does not say what there is: {problem}", args.name());
    }
    match held {
        Some(Held::MaxWorkers) => {
            return format!("{additional} wanted, and there may be {} (--max-workers)", planner.bounds().max);
        }
        Some(Held::Backlog) => {
            return format!(
                "{additional} wanted, and {} pending at once (--backlog)",
                counted(planner.bounds().backlog, "allocation")
            );
        }
        None => {}
    }
    if *start > wanted.additional {
        return format!("there are to be {} (--min-workers)", planner.bounds().min);
    }
    if wanted.is_for_chores {
        return "no worker lives, and there are tasks that only a worker can sort or take over".to_owned();
    }
    if *start > 0 && planner.is_guessing() && planner.seen_offer.is_none() {
        return format!("{} may run, and the first worker shows how much one has", tasks(wanted.runnable));
    }
    match (wanted.additional, own.pending + own.starting) {
        (0, 0) if wanted.runnable == 0 => "no waiting task wants another worker".to_owned(),
        (0, coming) => format!("{} for which {} coming", tasks(wanted.runnable), counted(coming, "worker")),
        (_, _) => format!("{} of {additional}", tasks(wanted.runnable)),
    }
}
