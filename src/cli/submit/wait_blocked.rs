//! Lines that `--wait` need not wait for any more: they stay blocked, since what they wait for has failed.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::model::needs::Needs;
use crate::model::snapshot::Awaited;
use crate::model::{BatchName, Gate};
use crate::queue::{Connection, QueueError, batch_names, batch_stuck, batch_views};
use crate::view::batches::waits_for;
use crate::view::text::tasks;

/// Names that are told.
const TOLD: usize = 3;

/// Lines that were found blocked for good.
#[derive(Default)]
pub(super) struct Blocked {
    lines: Vec<String>,
    /// What they wait for, and how that stands.
    why: BTreeSet<String>,
    /// Whether all were looked at once more.
    is_confirmed: bool,
}

impl Blocked {
    /// Takes all of the lines if none of them can start without somebody's help; says whether it did.
    pub(super) async fn take(&mut self, conn: &Connection, pending: &mut Vec<String>) -> Result<bool, CliError> {
        let gates: Vec<Needs> = pending.iter().map(|line| Needs::of_line(line)).collect();
        let names: BTreeSet<BatchName> = gates.iter().flat_map(Needs::gates).filter_map(Gate::name).cloned().collect();
        let names: Vec<BatchName> = names.into_iter().collect();
        if pending.is_empty() || gates.iter().any(|needs| needs.gates().is_empty()) {
            return Ok(false);
        }
        let (states, stuck) = match stand(conn, &names).await {
            Ok((states, stuck)) => (names.iter().zip(states), names.iter().zip(stuck)),
            // A user that may not read it waits on.
            Err(QueueError::Denied { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let (states, stuck): (BTreeMap<_, _>, BTreeMap<_, _>) = (states.collect(), stuck.collect());
        let (mut why, mut stopped_by) = (BTreeSet::new(), BTreeSet::new());
        for needs in &gates {
            let is_for_good = |gate: &&Gate| {
                let Some(name) = gate.name() else { return false };
                let is_closed = states.get(name).is_some_and(|state| !state.opens(gate));
                is_closed && stuck.get(name).is_some_and(|stuck| *stuck)
            };
            let Some(name) = needs.gates().iter().find(is_for_good).and_then(Gate::name) else { return Ok(false) };
            stopped_by.insert(name.clone());
        }
        for name in stopped_by {
            let state = states.get(&name).filter(|state| state.has_failed());
            let cause = match state {
                Some(failed) => Some(failed.clone()),
                None => batch_stuck::cause(conn, std::slice::from_ref(&name)).await?,
            };
            why.insert(
                cause.map_or_else(|| format!("waits for {name}, which cannot go on"), |cause| waits_for(&cause)),
            );
        }
        self.lines.append(pending);
        self.why.append(&mut why);
        Ok(true)
    }

    /// Something has moved since they were found.
    pub(super) fn forget(&mut self) {
        self.is_confirmed = false;
    }

    /// After the last line: those of which the first are to be looked at once more; none when that has been done.
    pub(super) fn look_again(&mut self, most: usize) -> Vec<String> {
        if std::mem::replace(&mut self.is_confirmed, true) {
            return Vec::new();
        }
        let from = self.lines.len().saturating_sub(most);
        self.lines.split_off(from)
    }

    /// How many they are; says why.
    pub(super) fn end(&self, context: &Context) -> u64 {
        if !self.lines.is_empty() {
            let why: Vec<&str> = self.why.iter().take(TOLD).map(String::as_str).collect();
            context.say(&format!("{} cannot go on: {}", tasks(self.lines.len() as u64), why.join("; ")));
        }
        self.lines.len() as u64
    }
}

/// How some names stand, and whether they are stuck.
async fn stand(conn: &Connection, names: &[BatchName]) -> Result<(Vec<Awaited>, Vec<bool>), QueueError> {
    Ok((batch_views::awaited(conn, names).await?, batch_stuck::are_stuck(conn, names).await?))
}

/// The names that all of these lines wait for, if each waits for something that is not done.
pub(super) async fn awaited(conn: &Connection, lines: &[String]) -> Result<Option<Vec<String>>, QueueError> {
    let needs: Vec<Needs> = lines.iter().map(|line| Needs::of_line(line)).collect();
    let gates = || needs.iter().flat_map(Needs::gates).filter_map(Gate::name);
    if lines.is_empty() || needs.iter().any(|needs| !needs.gates().iter().any(|gate| gate.name().is_some())) {
        return Ok(None);
    }
    let names: BTreeSet<BatchName> = gates().cloned().collect();
    let names: Vec<BatchName> = names.into_iter().collect();
    let states: BTreeMap<_, _> = names.iter().zip(batch_names::states(conn, &names).await?).collect();
    let is_closed = |gate: &Gate| gate.name().and_then(|name| states.get(name)).is_some_and(|state| !state.opens(gate));
    if !needs.iter().all(|needs| needs.gates().iter().any(is_closed)) {
        return Ok(None);
    }
    let closed: BTreeSet<&BatchName> =
        needs.iter().flat_map(Needs::gates).filter(|gate| is_closed(gate)).filter_map(Gate::name).collect();
    let more = closed.len().saturating_sub(TOLD);
    let mut told: Vec<String> = closed.into_iter().take(TOLD).map(ToString::to_string).collect();
    told.extend((more > 0).then(|| format!("{more} more")));
    Ok(Some(told))
}
