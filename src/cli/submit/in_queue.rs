//! What the queue knows of the names of a submission: circles that it would close, names that nobody knows, and what is open of those that it waits for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::batches::BatchPlan;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::near::nearest;
use crate::model::BatchName;
use crate::model::snapshot::Awaited;
use crate::queue::batch_names;
use crate::queue::{Connection, QueueError, batch_views, batches};
use crate::sys::wall_clock;
use crate::view::safe_text::safe;
use crate::view::text::{amount, moment, tasks};

/// Batches that are gone through in search of a circle, at most.
const MOST_LOOKED_AT: usize = 1000;

/// Names of the queue that a wrong one is compared with, at most.
const MOST_COMPARED: usize = 10_000;

/// Names of which something is said.
const SAID: usize = 3;

/// Refuses a submission that closes a circle, and warns of names that nobody knows.
pub(super) async fn compare(context: &Context, conn: &Connection, plan: &BatchPlan) -> Result<(), CliError> {
    if let Some((Circle { path, queued }, is_whole)) = circle(conn, plan).await? {
        let told = format!("a circle: {}", path.join(" after "));
        if is_whole {
            return Err(CliError::Usage(format!(
                "{told}; {queued} is in the queue already: cancel it, or submit without --after"
            )));
        }
        context.warn(&format!("perhaps {told}, by steps of batches in the queue: what waits in a circle never starts"));
    }
    warn_of_released(context, conn, plan).await?;
    warn_of_unknown(context, conn, plan).await
}

/// A name stays released: whoever has forgotten that would believe that the tasks wait.
async fn warn_of_released(context: &Context, conn: &Connection, plan: &BatchPlan) -> Result<(), CliError> {
    let names: Vec<BatchName> = plan.awaited.keys().cloned().collect();
    let released = batch_names::released(conn, &names).await?;
    for (name, by) in released.iter().take(SAID) {
        let by = if by.is_empty() { String::new() } else { format!(" by {}", safe(by)) };
        context.warn(&format!("{name} was released{by}: what waits for it starts at once"));
    }
    if released.len() > SAID {
        let more = amount(&(released.len() - SAID).to_string(), "name");
        context.warn(&format!("{more} more that are waited for were released"));
    }
    Ok(())
}

/// A way from a name back to itself, both ends included, and one of the names on it that is queued.
struct Circle {
    path: Vec<String>,
    queued: String,
}

/// What a batch waits for, or a step of it.
struct Edge {
    after: BatchName,
    /// Whether it is all of that batch. Whatever waits for all of a batch waits for each of its steps, so that a way of whole batches back to where it began
    /// is a circle. A record of the queue does not say which of its steps wait.
    is_whole: bool,
    /// Whether a record of the queue says so, and not the submission.
    is_queued: bool,
}

/// Top-level names, and what each waits for: what is new, and what the records of batches with open tasks have that can be reached from there.
async fn edges(conn: &Connection, plan: &BatchPlan) -> Result<BTreeMap<BatchName, Vec<Edge>>, CliError> {
    let mut edges: BTreeMap<BatchName, Vec<Edge>> = BTreeMap::new();
    let new: BTreeSet<_> = plan.edges().map(|(name, after)| (name.top(), after.clone())).collect();
    let mut reached = BTreeSet::new();
    for (name, after) in new {
        let edge = Edge { after: after.top(), is_whole: after.is_top(), is_queued: false };
        if edge.after != name {
            reached.insert(edge.after.clone());
            edges.entry(name).or_default().push(edge);
        }
    }
    let mut next: Vec<BatchName> = reached.iter().take(MOST_LOOKED_AT).cloned().collect();
    while !next.is_empty() {
        let records = batches::records(conn, &next).await?;
        let states = batch_names::states(conn, &next).await?;
        let mut further = Vec::new();
        for ((name, record), state) in next.into_iter().zip(records).zip(states) {
            // What has ended waits for nothing.
            for after in record.filter(|_| state.open > 0).map(|record| record.after).unwrap_or_default() {
                let edge = Edge { after: after.top(), is_whole: after.is_top(), is_queued: true };
                if edge.after == name {
                    continue;
                }
                if reached.len() < MOST_LOOKED_AT && reached.insert(edge.after.clone()) {
                    further.push(edge.after.clone());
                }
                edges.entry(name.clone()).or_default().push(edge);
            }
        }
        next = further;
    }
    Ok(edges)
}

/// A circle that the submission closes together with what is queued, and whether all on the way are whole batches; such a one first.
async fn circle(conn: &Connection, plan: &BatchPlan) -> Result<Option<(Circle, bool)>, CliError> {
    let edges = edges(conn, plan).await?;
    let origins: BTreeSet<BatchName> = plan.edges().map(|(name, _)| name.top()).collect();
    let origins = || origins.iter().take(MOST_LOOKED_AT);
    let whole = origins().find_map(|origin| way_back(&edges, origin, true));
    Ok(match whole {
        Some(path) => Some((path, true)),
        None => origins().find_map(|origin| way_back(&edges, origin, false)).map(|path| (path, false)),
    })
}

/// The shortest way from a name back to itself that goes through the queue.
fn way_back(edges: &BTreeMap<BatchName, Vec<Edge>>, origin: &BatchName, whole_only: bool) -> Option<Circle> {
    type Place<'a> = (&'a BatchName, bool);
    let start = (origin, false);
    let mut before: BTreeMap<Place<'_>, Place<'_>> = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(at @ (name, was_queued)) = next.pop_front() {
        for edge in edges.get(name).into_iter().flatten().filter(|edge| edge.is_whole || !whole_only) {
            let place = (&edge.after, was_queued || edge.is_queued);
            if place == (origin, true) {
                let back: Vec<Place<'_>> = std::iter::successors(Some(at), |at| before.get(at).copied()).collect();
                let queued = back.iter().find(|(_, was_queued)| !was_queued).map_or(origin, |(name, _)| name);
                let path = back.iter().rev().map(|(name, _)| name).chain([&origin]).map(ToString::to_string);
                return Some(Circle { path: path.collect(), queued: queued.to_string() });
            }
            if place != start && !before.contains_key(&place) {
                before.insert(place, at);
                next.push_back(place);
            }
        }
    }
    None
}

/// A name that nobody knows is a slip, or is to be submitted later: both are possible, and the tasks wait.
async fn warn_of_unknown(context: &Context, conn: &Connection, plan: &BatchPlan) -> Result<(), CliError> {
    let strange: Vec<(&BatchName, &u64)> = plan.awaited.iter().filter(|(name, _)| !plan.has(name)).collect();
    let names: Vec<BatchName> = strange.iter().map(|(name, _)| (*name).clone()).collect();
    let states = batch_names::states(conn, &names).await?;
    let unknown = strange.iter().zip(states).filter(|(_, state)| !state.is_known && !state.is_waived);
    let unknown: Vec<_> = unknown.map(|(strange, _)| *strange).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let known = match batch_names::all(conn, MOST_COMPARED).await {
        // A user that may not list them does without a guess.
        Err(QueueError::Denied { .. }) => Vec::new(),
        known => known?,
    };
    let own = plan.tasks.keys().chain(&plan.declared).take(MOST_COMPARED);
    let known: BTreeSet<&BatchName> = known.iter().chain(own).collect();
    for (name, number) in unknown.iter().take(SAID) {
        // What waits for a name is not what is meant by it.
        let waits = |known: &BatchName| plan.edges().any(|(waits, after)| after == *name && waits.is_within(known));
        let others: Vec<String> = known.iter().filter(|known| !waits(known)).map(ToString::to_string).collect();
        let near = nearest(name.as_str(), &others).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        let stay = if **number == 1 { "1 task stays".to_owned() } else { format!("{} stay", tasks(**number)) };
        context.warn(&format!(
            "nothing is known of {name}{near}: {stay} blocked until it has been submitted and has finished"
        ));
    }
    if unknown.len() > SAID {
        context.warn(&format!(
            "nothing is known of {} more that are waited for",
            amount(&(unknown.len() - SAID).to_string(), "name")
        ));
    }
    Ok(())
}

/// What tasks wait for, in words: `s1 has 1,000 open`; nothing where all of it is done.
pub(super) async fn open(conn: &Connection, plan: &BatchPlan) -> Result<Option<String>, CliError> {
    let names: Vec<BatchName> = plan.awaited.keys().cloned().collect();
    let states = batch_names::states(conn, &names).await?;
    let closed: Vec<_> = states.into_iter().filter(|state| !state.is_done()).collect();
    let named = with_missed(conn, closed.iter().take(SAID).cloned().collect()).await?;
    let mut said: Vec<String> = named.iter().map(Awaited::told).collect();
    if closed.len() > SAID {
        said.push(format!("{} more are not done", closed.len() - SAID));
    }
    if plan.begin > wall_clock::unix_seconds() {
        said.push(format!("not before {}", moment(plan.begin as f64)));
    }
    Ok((!said.is_empty()).then(|| said.join(", ")))
}

/// The same, with cancelled and gone tasks apart from those that failed, where there are any. A user that may not look for these sees all of them as failed.
async fn with_missed(conn: &Connection, closed: Vec<Awaited>) -> Result<Vec<Awaited>, CliError> {
    if closed.iter().all(|awaited| awaited.failed == 0) {
        return Ok(closed);
    }
    let names: Vec<BatchName> = closed.iter().map(|awaited| awaited.name.clone()).collect();
    match batch_views::awaited(conn, &names).await {
        Err(QueueError::Denied { .. }) => Ok(closed),
        found => Ok(found?),
    }
}
