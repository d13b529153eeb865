//! What blocked tasks wait for: most of them, and one of them.

use std::collections::{BTreeMap, BTreeSet};

use super::batch_names::states;
use super::batch_views::awaited;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::{self, LossyString};
use crate::model::snapshot::{Awaited, BlockedOn};
use crate::model::{BatchName, Gate, Needs};

/// Gates that are looked at to say what most of the blocked tasks wait for.
const GATES: usize = 100;

/// What most of the blocked tasks wait for, the most first: of some of the gates, where there are many.
///
/// # Errors
/// Those of any call.
pub(super) async fn blocked_on(conn: &Connection) -> Result<Vec<BlockedOn>, QueueError> {
    let ready = conn.name(Key::Ready);
    let mut scan = redis::cmd("SSCAN");
    scan.arg(format!("{ready}gates")).arg(0).arg("COUNT").arg(GATES);
    let (_, gates): (u64, Vec<LossyString>) = conn.cmd(&scan).await?;
    let gates = lossy_string::list(gates);
    if gates.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipe = redis::pipe();
    for gate in &gates {
        pipe.zcard(format!("{ready}{gate}"));
    }
    let counts: Vec<u64> = conn.pipe(&pipe).await?;
    // There are gates of several kinds on one name.
    let mut of_names: BTreeMap<&str, u64> = BTreeMap::new();
    for (gate, waiting) in gates.iter().zip(counts) {
        *of_names.entry(gate.get(2..).unwrap_or_default()).or_default() += waiting;
    }
    let found = of_names.into_iter().filter(|(_, waiting)| *waiting > 0);
    let mut found: Vec<(GateOf, u64)> =
        found.filter_map(|(name, waiting)| Some((GateOf::parse(name)?, waiting))).collect();
    found.sort_by_key(|(_, waiting)| std::cmp::Reverse(*waiting));
    found.truncate(SHOWN);
    with_awaited(conn, found).await
}

/// Gates that an overview names.
const SHOWN: usize = 3;

/// What a gate waits for.
enum GateOf {
    Batch(BatchName),
    Time(u64),
}

impl GateOf {
    /// `NAME` or `@SECONDS`.
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            Some(seconds) => seconds.parse().ok().map(Self::Time),
            None => text.parse().ok().map(Self::Batch),
        }
    }
}

async fn with_awaited(conn: &Connection, found: Vec<(GateOf, u64)>) -> Result<Vec<BlockedOn>, QueueError> {
    let names: Vec<BatchName> = found
        .iter()
        .filter_map(|(gate, _)| if let GateOf::Batch(name) = gate { Some(name.clone()) } else { None })
        .collect();
    let awaited = awaited(conn, &names).await?;
    let of = |name: &BatchName| awaited.iter().find(|awaited| awaited.name == *name).cloned();
    Ok(found
        .into_iter()
        .map(|(gate, waiting)| match gate {
            GateOf::Batch(name) => BlockedOn { waiting, batch: of(&name), begin: None },
            GateOf::Time(seconds) => BlockedOn { waiting, batch: None, begin: Some(seconds) },
        })
        .collect())
}

/// Of each of these lines, whether one of its gates is closed. A few calls for all of them.
///
/// # Errors
/// Those of any call.
pub async fn are_blocked(conn: &Connection, lines: &[String]) -> Result<Vec<bool>, QueueError> {
    let needs: Vec<Needs> = lines.iter().map(|line| Needs::of_line(line)).collect();
    if needs.iter().all(|needs| needs.gates().is_empty()) {
        return Ok(vec![false; lines.len()]);
    }
    let names: BTreeSet<BatchName> = needs.iter().flat_map(Needs::gates).filter_map(Gate::name).cloned().collect();
    let names: Vec<BatchName> = names.into_iter().collect();
    let states: BTreeMap<&BatchName, Awaited> = names.iter().zip(states(conn, &names).await?).collect();
    let (now, _): (u64, u64) = conn.cmd(&redis::cmd("TIME")).await?;
    let is_closed = |gate: &Gate| match gate {
        Gate::After(name) | Gate::AfterAny(name) => states.get(name).is_some_and(|state| !state.opens(gate)),
        Gate::Begin(begin) => *begin > now,
    };
    Ok(needs.iter().map(|needs| needs.gates().iter().any(is_closed)).collect())
}

/// The gates of one line that are closed, in its order.
///
/// # Errors
/// Those of any call.
pub(super) async fn gates_of(conn: &Connection, line: &str) -> Result<Vec<BlockedOn>, QueueError> {
    let needs = Needs::of_line(line);
    if needs.gates().is_empty() {
        return Ok(Vec::new());
    }
    let of = |gate: &Gate| match gate {
        Gate::After(name) | Gate::AfterAny(name) => (GateOf::Batch(name.clone()), 1),
        Gate::Begin(seconds) => (GateOf::Time(*seconds), 1),
    };
    let found = with_awaited(conn, needs.gates().iter().map(of).collect()).await?;
    let (now, _): (u64, u64) = conn.cmd(&redis::cmd("TIME")).await?;
    let is_any = |name: &BatchName| needs.gates().contains(&Gate::AfterAny(name.clone()));
    let is_closed = |gate: &BlockedOn| match (&gate.batch, gate.begin) {
        (Some(batch), _) => !(batch.is_done() || (is_any(&batch.name) && batch.has_failed())),
        (None, Some(begin)) => begin > now,
        (None, None) => false,
    };
    Ok(found.into_iter().filter(is_closed).collect())
}
