//! `reclaim`: returns the tasks of dead workers to todo.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::confirm::confirm;
use super::context::CtlContext;
use crate::cli::exit::CliError;
use crate::cli::orders::{is_gone, take_over};
use crate::model::WorkerName;
use crate::model::snapshot::Overview;
use crate::queue::take_over::{Orphan, ReclaimReason, Reclaimed, scan_in_progress};
use crate::queue::{control, inspect};
use crate::view::safe_text::safe;
use crate::view::text::{count, duration, tasks};

/// Takes over from the workers that are named, or from all that are gone.
pub(super) async fn reclaim(session: &mut CtlContext, names: &[String], force: bool) -> Result<(), CliError> {
    let overview = inspect::overview(&session.conn).await?;
    let dead_after = session.context.config.dead_after;
    if !force {
        refuse_fresh(&overview, names, dead_after)?;
    }
    let mut orphans = collect(session, &overview, names, dead_after).await?;
    let traces: BTreeSet<String> = if names.is_empty() {
        // Of one that was deregistered nothing is left but the record of its death.
        let gone = overview.workers.iter().filter(|worker| worker.extras.died.is_none() && is_gone(worker, dead_after));
        gone.map(|worker| worker.name.clone()).collect()
    } else {
        names.iter().cloned().collect()
    };
    for name in traces {
        orphans.entry(name).or_default();
    }
    let (good, bad): (BTreeMap<_, _>, BTreeMap<_, _>) =
        orphans.into_iter().partition(|(name, _)| name.parse::<WorkerName>().is_ok());
    for (name, lines) in &bad {
        session.context.say(&format!(
            "skipped {} of {}: that is not a valid worker name here; use requeue --state in_progress --worker",
            tasks(lines.len() as u64),
            safe(name)
        ));
    }
    let number: u64 = good.values().map(|lines| lines.len() as u64).sum();
    if good.is_empty() {
        return finish(session, &[], Reclaimed::default(), "nothing to reclaim: no worker is dead");
    }
    let shown: Vec<String> =
        good.iter().map(|(name, lines)| format!("{name} ({})", tasks(lines.len() as u64))).collect();
    let plan = format!("move {} back to todo, of {}", tasks(number), shown.join(", "));
    let names: Vec<&str> = good.keys().map(String::as_str).collect();
    if session.manner.dry_run {
        return finish(session, &names, Reclaimed::default(), &format!("would {plan}"));
    }
    session.announce(&plan);
    confirm(session.manner)?;
    let mut total = Reclaimed::default();
    for (name, lines) in &good {
        let moved =
            take_over(&session.conn, name, lines, (ReclaimReason::Operator, session.context.config.max_lost)).await?;
        total.returned += moved.returned;
        total.failed += moved.failed;
    }
    let lost = if total.failed == 0 {
        String::new()
    } else {
        format!(", {} failed after too many losses", count(total.failed))
    };
    finish(session, &names, total, &format!("reclaimed {}{lost}", tasks(total.returned)))
}

/// Removes the records of workers that died, so that no list shows them any more. It changes nothing of any task, and asks nothing.
pub(super) async fn forget(session: &mut CtlContext, names: &[String]) -> Result<(), CliError> {
    let overview = inspect::overview(&session.conn).await?;
    let dead: Vec<&str> = overview
        .workers
        .iter()
        .filter(|worker| worker.extras.died.is_some())
        .map(|worker| worker.name.as_str())
        .collect();
    if let Some(unknown) = names.iter().find(|name| !dead.contains(&name.as_str())) {
        let known = if dead.is_empty() { "no worker died in the last day".to_owned() } else { dead.join(", ") };
        let known = safe(&known);
        return Err(CliError::Usage(format!(
            "{} is no worker whose death is recorded; those are: {known}",
            safe(unknown)
        )));
    }
    if !session.manner.dry_run {
        control::forget_deaths(&session.conn, names).await?;
    }
    if session.manner.json {
        let json = json!({ "command": "reclaim", "dry_run": session.manner.dry_run, "forgotten": names });
        return session.out.json(&json);
    }
    let would = if session.manner.dry_run { "would remove" } else { "removed" };
    session.tell(&safe(&format!("{would} the record of {}", names.join(", "))))
}

/// Goes through what is in progress, a bounded step at a time.
async fn collect(
    session: &CtlContext,
    overview: &Overview,
    names: &[String],
    dead_after: Duration,
) -> Result<BTreeMap<String, Vec<Orphan>>, CliError> {
    let wanted = |worker: &str| {
        if names.is_empty() {
            overview.workers.iter().find(|known| known.name == worker).is_none_or(|known| is_gone(known, dead_after))
        } else {
            names.iter().any(|name| name == worker)
        }
    };
    let mut found: BTreeMap<String, Vec<Orphan>> = BTreeMap::new();
    let mut cursor = 0;
    loop {
        let (next, page) = scan_in_progress(&session.conn, cursor, wanted, session.order).await?;
        for (worker, orphan) in page {
            found.entry(worker).or_default().push(orphan);
        }
        if next == 0 {
            return Ok(found);
        }
        cursor = next;
    }
}

fn refuse_fresh(overview: &Overview, names: &[String], dead_after: Duration) -> Result<(), CliError> {
    let fresh = overview.workers.iter().find(|worker| names.contains(&worker.name) && !is_gone(worker, dead_after));
    let Some(worker) = fresh else { return Ok(()) };
    let age = worker.heartbeat_age_seconds.map_or_else(String::new, |age| format!(" ({} ago)", duration(age)));
    Err(CliError::Usage(format!(
        "{} has sent a recent heartbeat{age} and counts as dead only after {}; --force reclaims its tasks anyway",
        safe(&worker.name),
        duration(dead_after.as_secs())
    )))
}

fn finish(session: &mut CtlContext, workers: &[&str], moved: Reclaimed, text: &str) -> Result<(), CliError> {
    if !session.manner.json {
        return session.tell(&safe(text));
    }
    session.out.json(&json!({
        "command": "reclaim", "dry_run": session.manner.dry_run, "workers": workers, "returned": moved.returned, "failed": moved.failed,
    }))
}
