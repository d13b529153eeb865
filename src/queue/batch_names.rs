//! What is known of names of batches: whether there is such a name, and how many of it are open. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use super::batches;
use super::call_size;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use crate::model::units::grouped;
use crate::model::{BatchName, Gate};

/// What the counters say of one name, each level of a batch has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameState {
    /// Whether anything is known of it.
    pub is_known: bool,
    /// Tasks that wait or run.
    pub open: u64,
    /// Tasks that were given up or are gone.
    pub failed: u64,
    /// Whether a submission to its batch is under way.
    pub is_adding: bool,
    /// Whether others need not wait for it.
    pub is_waived: bool,
}

impl NameState {
    /// Whether what comes after it may start.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_waived || (self.is_known && self.open == 0 && self.failed == 0 && !self.is_adding)
    }

    /// Whether a gate on it is open.
    #[must_use]
    pub fn opens(&self, gate: &Gate) -> bool {
        match gate {
            Gate::After(_) => self.is_done(),
            Gate::AfterAny(_) => self.is_done() || self.has_failed(),
            Gate::Begin(_) => false,
        }
    }

    /// How it stands while it is not done, in words: `s1 has 40 open`.
    #[must_use]
    pub fn told(&self, name: &BatchName) -> String {
        let count = |number: u64| grouped(u128::from(number));
        match self {
            Self { is_known: false, .. } => format!("nothing is known of {name}"),
            Self { open: 0, is_adding: true, .. } => format!("{name} is being submitted"),
            Self { open: 0, failed, .. } => format!("{name} has {} failed", count(*failed)),
            Self { open, failed: 0, .. } => format!("{name} has {} open", count(*open)),
            Self { open, failed, .. } => format!("{name} has {} open, {} failed", count(*open), count(*failed)),
        }
    }

    /// Whether all of it has ended, and some of it failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        !self.is_waived && self.open == 0 && self.failed > 0 && !self.is_adding
    }
}

/// The states of some names, in their order. Not one instant for more than a few hundred.
///
/// # Errors
/// Those of any call.
pub async fn states(conn: &Connection, names: &[BatchName]) -> Result<Vec<NameState>, QueueError> {
    let mut states = Vec::with_capacity(names.len());
    for part in call_size::parts(names, 250, |name| name.as_str().len() * 8) {
        let mut pipe = redis::pipe();
        for name in part {
            let fields = [name.to_string(), format!("{name}!"), format!("{}+", name.top())];
            pipe.cmd("HMGET").arg(conn.name(Key::BatchN)).arg(&fields);
            let levels: Vec<String> = name.levels().map(String::from).collect();
            pipe.cmd("HMGET").arg(conn.name(Key::BatchWaived)).arg(&levels);
        }
        let replies: Vec<Vec<Option<String>>> = conn.pipe(&pipe).await?;
        for pair in replies.chunks(2) {
            let number = |at: usize| {
                let text = pair.first().and_then(|fields| fields.get(at)).and_then(Option::as_deref);
                text.and_then(|text| text.parse::<i64>().ok()).map(|number| u64::try_from(number).unwrap_or(0))
            };
            states.push(NameState {
                is_known: number(0).is_some(),
                open: number(0).unwrap_or(0),
                failed: number(1).unwrap_or(0),
                is_adding: number(2).unwrap_or(0) > 0,
                is_waived: pair.get(1).is_some_and(|waived| waived.iter().any(Option::is_some)),
            });
        }
    }
    Ok(states)
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
    let mut known: BTreeMap<BatchName, NameState> = BTreeMap::new();
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
    known: &BTreeMap<BatchName, NameState>,
    mut waiting: BTreeMap<BatchName, BTreeSet<BatchName>>,
) -> Vec<bool> {
    let is_stuck = |name: &BatchName, waiting: &BTreeMap<BatchName, BTreeSet<BatchName>>| {
        let state = known.get(name).copied().unwrap_or_default();
        state.has_failed()
            || (state.open > 0 && !state.is_waived && !state.is_adding && waiting.contains_key(&name.top()))
    };
    loop {
        let has_a_way_on = |after: &BTreeSet<BatchName>| {
            let mut closed = after.iter().filter(|name| !known.get(*name).is_some_and(NameState::is_done)).peekable();
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
        let state = |open, failed| NameState { is_known: true, open, failed, ..NameState::default() };
        let known = states.iter().map(|(text, open, failed)| (name(text), state(*open, *failed))).collect();
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
