//! What the queue knows of the names of a submission: circles that it would close, names that nobody knows, and what is open of those that it waits for.

use std::collections::{BTreeMap, BTreeSet};

use super::batches::BatchPlan;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::near::nearest;
use crate::model::BatchName;
use crate::model::snapshot::Awaited;
use crate::queue::batch_names;
use crate::queue::{Connection, QueueError, batches};
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
    if let Some((path, is_whole)) = circle(conn, plan).await? {
        let told = format!("a circle: {}", path.join(" after "));
        if is_whole {
            return Err(CliError::Usage(format!(
                "{told}; {} is in the queue already: cancel it, or submit without --after",
                path[1]
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

/// Follows what the new tasks wait for through the records of batches with open tasks. A record does not say which of its steps wait; but whatever waits for
/// all of a batch waits for each of its steps, so that a way of whole batches back to where it began is a circle.
async fn circle(conn: &Connection, plan: &BatchPlan) -> Result<Option<(Vec<String>, bool)>, CliError> {
    // From each batch that is reached to the one before it, and whether all on the way there were whole.
    let mut reached: BTreeMap<BatchName, (BatchName, BatchName, bool)> = BTreeMap::new();
    let mut next: Vec<(BatchName, BatchName, bool)> = Vec::new();
    let edges: BTreeSet<_> = plan.edges().map(|(name, after)| (name.top(), after.clone())).collect();
    for (origin, after) in edges {
        let (top, is_whole) = (after.top(), after.is_top());
        if top != origin && !reached.contains_key(&top) {
            reached.insert(top.clone(), (origin.clone(), origin.clone(), is_whole));
            next.push((top, origin, is_whole));
        }
    }
    while !next.is_empty() && reached.len() < MOST_LOOKED_AT {
        let names: Vec<BatchName> = next.iter().map(|(name, ..)| name.clone()).collect();
        let records = batches::records(conn, &names).await?;
        let states = batch_names::states(conn, &names).await?;
        let mut further = Vec::new();
        for (((name, origin, is_whole), record), state) in next.into_iter().zip(records).zip(states) {
            // What has ended waits for nothing.
            let after = record.filter(|_| state.open > 0).map(|record| record.after).unwrap_or_default();
            for after in after {
                let (top, is_whole) = (after.top(), is_whole && after.is_top());
                if top == origin {
                    return Ok(Some((path(&reached, &origin, &name), is_whole)));
                }
                if top != name && !reached.contains_key(&top) {
                    reached.insert(top.clone(), (name.clone(), origin.clone(), is_whole));
                    further.push((top, origin.clone(), is_whole));
                }
            }
        }
        next = further;
    }
    Ok(None)
}

/// From where the way began to its last name, and back.
fn path(
    reached: &BTreeMap<BatchName, (BatchName, BatchName, bool)>,
    origin: &BatchName,
    last: &BatchName,
) -> Vec<String> {
    let mut names = vec![origin.to_string(), last.to_string()];
    let mut at = last;
    while let Some((before, ..)) = reached.get(at).filter(|(before, ..)| before != origin) {
        names.push(before.to_string());
        at = before;
    }
    names.push(origin.to_string());
    names.reverse();
    names
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
    let known: Vec<String> = known.iter().chain(own).map(ToString::to_string).collect();
    for (name, number) in unknown.iter().take(SAID) {
        let near = nearest(name.as_str(), &known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
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
    let mut said: Vec<String> = closed.iter().take(SAID).map(Awaited::told).collect();
    if closed.len() > SAID {
        said.push(format!("{} more are not done", closed.len() - SAID));
    }
    if plan.begin > wall_clock::unix_seconds() {
        said.push(format!("not before {}", moment(plan.begin as f64)));
    }
    Ok((!said.is_empty()).then(|| said.join(", ")))
}
