//! What is known of names of batches: whether there is such a name, and how many of it are open. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use super::batches;
use super::call_size;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::LossyString;
use crate::model::BatchName;
use crate::model::snapshot::Awaited;

/// How some names stand, in their order. Not one instant for more than a few hundred.
///
/// # Errors
/// Those of any call.
pub async fn states(conn: &Connection, names: &[BatchName]) -> Result<Vec<Awaited>, QueueError> {
    let mut states = Vec::with_capacity(names.len());
    for part in call_size::parts(names, PART, |name| name.as_str().len() * 8) {
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(conn.name(Key::BatchN)).arg(fields(part));
        // A batch that is waived is so with all its steps.
        let levels: Vec<String> = part.iter().flat_map(BatchName::levels).map(String::from).collect();
        pipe.cmd("HMGET").arg(conn.name(Key::BatchWaived)).arg(&levels);
        let (counts, waived): (Vec<Option<LossyString>>, Vec<Option<LossyString>>) = conn.pipe(&pipe).await?;
        let mut waived = waived.into_iter();
        for (name, counts) in part.iter().zip(read(&counts)) {
            let is_waived = waived.by_ref().take(name.levels().count()).filter(Option::is_some).count() > 0;
            states.push(Awaited {
                name: name.clone(),
                open: counts.open.unwrap_or(0),
                failed: counts.failed,
                tasks: counts.tasks,
                submissions: counts.submissions,
                is_known: counts.open.is_some(),
                is_waived,
            });
        }
    }
    Ok(states)
}

/// The counters of one name. Each level of a batch has its own, except for submissions, which are of the whole batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    /// Tasks that wait or run; `None` where nothing is known of the name.
    pub(super) open: Option<u64>,
    /// Tasks that were given up or are gone.
    pub(super) failed: u64,
    /// All tasks that it ever had.
    pub(super) tasks: u64,
    /// Submissions that are under way, or were cut short.
    pub(super) submissions: u64,
}

/// The counters of some names, in their order.
///
/// # Errors
/// Those of any call.
pub(super) async fn counters(conn: &Connection, names: &[BatchName]) -> Result<Vec<Counters>, QueueError> {
    let mut found = Vec::with_capacity(names.len());
    for part in call_size::parts(names, PART, |name| name.as_str().len() * 4) {
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(conn.name(Key::BatchN)).arg(fields(part));
        let values: Vec<Option<LossyString>> = conn.cmd(&cmd).await?;
        found.extend(read(&values));
    }
    Ok(found)
}

/// Names in one call.
const PART: usize = 250;

/// The fields that hold the counters of some names: four of each.
fn fields(names: &[BatchName]) -> Vec<String> {
    let of = |name: &BatchName| [name.to_string(), format!("{name}!"), format!("{name}="), format!("{}+", name.top())];
    names.iter().flat_map(of).collect()
}

/// What stands in these fields. Others may have written to them: what is no number is not there, and none is below zero.
fn read(values: &[Option<LossyString>]) -> impl Iterator<Item = Counters> {
    let number = |value: &Option<LossyString>| {
        let number = value.as_ref()?.0.parse::<i64>().ok()?;
        Some(u64::try_from(number).unwrap_or(0))
    };
    values.as_chunks().0.iter().map(move |[open, failed, tasks, submissions]| Counters {
        open: number(open),
        failed: number(failed).unwrap_or(0),
        tasks: number(tasks).unwrap_or(0),
        submissions: number(submissions).unwrap_or(0),
    })
}

/// The names of the batches that are known, unless there are more than `most`.
///
/// # Errors
/// Those of any call.
pub async fn all(conn: &Connection, most: usize) -> Result<Vec<BatchName>, QueueError> {
    let batches = conn.name(Key::Batches);
    let known: usize = conn.cmd(redis::cmd("HLEN").arg(&batches)).await?;
    if known > most {
        return Ok(Vec::new());
    }
    let names: Vec<String> = conn.cmd(redis::cmd("HKEYS").arg(&batches)).await?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Of each of these batches, how many of its open tasks wait behind a gate.
///
/// # Errors
/// Those of any call.
pub async fn gated(conn: &Connection, batches: &[BatchName]) -> Result<Vec<u64>, QueueError> {
    if batches.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = batches.iter().map(BatchName::as_str).collect();
    let key = format!("{}gated", conn.name(Key::Ready));
    let gated: Vec<Option<i64>> = conn.cmd(redis::cmd("HMGET").arg(key).arg(names)).await?;
    Ok(gated.into_iter().map(|number| u64::try_from(number.unwrap_or(0)).unwrap_or(0)).collect())
}

/// Batches whose records are gone through in search of a way on, at most.
const MOST_REACHED: usize = 1000;

/// Of each of these names, whether nothing that waits for it can start without somebody's help: it has failed, or all that is open of its batch waits for
/// such names itself. Gates that are opening, or that time opens, are a way on for all.
///
/// # Errors
/// Those of any call.
pub async fn are_stuck(conn: &Connection, names: &[BatchName]) -> Result<Vec<bool>, QueueError> {
    let ready = conn.name(Key::Ready);
    let mut pipe = redis::pipe();
    pipe.cmd("EXISTS").arg(format!("{ready}times")).zrange(format!("{ready}opening"), 0, 99);
    let (times, opening): (u64, Vec<String>) = conn.pipe(&pipe).await?;
    // The end of a submission stays marked as "d:NAME" until a worker looks at it. What is done by then is judged by its counters.
    if times > 0 || opening.iter().any(|gate| !gate.starts_with("d:")) {
        return Ok(vec![false; names.len()]);
    }
    let mut known: BTreeMap<BatchName, Awaited> = BTreeMap::new();
    // Of each batch that only waits: the names that it waits for.
    let mut waiting: BTreeMap<BatchName, BTreeSet<BatchName>> = BTreeMap::new();
    let mut tops: BTreeSet<BatchName> = BTreeSet::new();
    let mut next: Vec<BatchName> = names.to_vec();
    while !next.is_empty() && known.len() < MOST_REACHED {
        let new: BTreeSet<BatchName> = next.drain(..).flat_map(|name| [name.top(), name]).collect();
        let new: Vec<BatchName> = new.into_iter().filter(|name| !known.contains_key(name)).collect();
        known.extend(new.iter().cloned().zip(states(conn, &new).await?));
        let open: Vec<BatchName> = new.into_iter().filter(|name| name.is_top() && tops.insert(name.clone())).collect();
        let (gated, records) = (gated(conn, &open).await?, batches::records(conn, &open).await?);
        for ((top, gated), record) in open.into_iter().zip(gated).zip(records) {
            let is_waiting = known.get(&top).is_some_and(|state| state.open > 0 && state.open <= gated);
            if let Some(record) = record.filter(|_| is_waiting) {
                next.extend(record.after.iter().cloned());
                waiting.insert(top, record.after);
            }
        }
    }
    Ok(stuck_of(names, &known, waiting))
}

/// Takes away from the batches that only wait those that wait for something with a way on, until none is left of them: what then waits does so for ever,
/// in a circle too.
fn stuck_of(
    names: &[BatchName],
    known: &BTreeMap<BatchName, Awaited>,
    mut waiting: BTreeMap<BatchName, BTreeSet<BatchName>>,
) -> Vec<bool> {
    let is_stuck = |name: &BatchName, waiting: &BTreeMap<BatchName, BTreeSet<BatchName>>| {
        known.get(name).is_some_and(|state| {
            let is_going = state.open > 0 && !state.is_done() && state.submissions == 0;
            state.has_failed() || (is_going && waiting.contains_key(&name.top()))
        })
    };
    loop {
        let has_a_way_on = |after: &BTreeSet<BatchName>| {
            let mut closed = after.iter().filter(|name| !known.get(*name).is_some_and(Awaited::is_done)).peekable();
            closed.peek().is_none() || closed.any(|name| !is_stuck(name, &waiting))
        };
        let freed: Vec<BatchName> =
            waiting.iter().filter(|(_, after)| has_a_way_on(after)).map(|(top, _)| top.clone()).collect();
        if freed.is_empty() {
            return names.iter().map(|name| is_stuck(name, &waiting)).collect();
        }
        freed.iter().for_each(|top| drop(waiting.remove(top)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BatchName {
        text.parse().expect("a name")
    }

    fn stuck(states: &[(&str, u64, u64)], waiting: &[(&str, &[&str])], names: &[&str]) -> Vec<bool> {
        let of_counts = |&(text, open, failed): &(&str, u64, u64)| {
            let name = name(text);
            (name.clone(), Awaited { name, open, failed, tasks: 9, submissions: 0, is_known: true, is_waived: false })
        };
        let known = states.iter().map(of_counts).collect();
        let of = |(top, after): &(&str, &[&str])| (name(top), after.iter().map(|after| name(after)).collect());
        let names: Vec<BatchName> = names.iter().map(|text| name(text)).collect();
        stuck_of(&names, &known, waiting.iter().map(of).collect())
    }

    #[test]
    fn what_waits_for_a_failed_batch_is_stuck_down_the_line() {
        let states = [("a", 0, 1), ("b", 5, 0), ("c", 3, 0), ("d", 1, 0)];
        let waiting: &[(&str, &[&str])] = &[("b", &["a"]), ("c", &["b"])];
        assert_eq!(stuck(&states, waiting, &["a", "b", "c", "d"]), [true, true, true, false]);
    }

    #[test]
    fn steps_of_one_batch_are_stuck_together() {
        let states = [("s", 4, 1), ("s/prep", 0, 1), ("s/sim", 3, 0), ("s/report", 1, 0)];
        assert_eq!(stuck(&states, &[("s", &["s/prep", "s/sim"])], &["s/sim", "s/report"]), [true, true]);
        assert_eq!(stuck(&states, &[], &["s/sim"]), [false], "some of it runs");
    }

    #[test]
    fn one_way_on_is_enough() {
        let states = [("a", 0, 1), ("x", 2, 0), ("b", 5, 0), ("c", 1, 0)];
        let waiting: &[(&str, &[&str])] = &[("b", &["a", "x"]), ("c", &["b"])];
        assert_eq!(stuck(&states, waiting, &["b", "c"]), [false, false], "x runs");
        let circle: &[(&str, &[&str])] = &[("b", &["c"]), ("c", &["b"])];
        assert_eq!(stuck(&states, circle, &["b"]), [true], "a circle");
        assert_eq!(stuck(&states, &[("b", &["later"])], &["b"]), [false], "it may yet be submitted");
    }
}
