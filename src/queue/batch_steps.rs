//! A batch with its steps, and what each of them waits for.

use std::collections::{BTreeSet, HashMap};

use super::batch_views::{awaited, some};
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::{self, LossyString};
use super::{batch_times, batches};
use crate::model::snapshot::{BatchDetail, BatchState, BatchView};
use crate::model::{BatchName, Gate, Needs};

/// Calls that look for the names of steps where not all of them are wanted.
const SCANS: usize = 200;

/// Gates that are looked at.
const GATES: usize = 300;

/// Blocked lines that are looked at, and their bytes, about.
const LINES: usize = 5000;
const BYTES: usize = 4 << 20;

/// Lines in one call.
const PART: usize = 100;

/// A batch or a step, and its own steps by name, at most `most` of them; and whether there are more.
///
/// Of steps Redis does not count how many tasks are blocked. It is found where all or nothing that waits of the batch is blocked, and where few enough of its
/// tasks are blocked to look at each. Elsewhere blocked tasks of a step count as waiting.
///
/// # Errors
/// Those of any call.
pub async fn with_steps(conn: &Connection, name: &BatchName, most: usize) -> Result<BatchDetail, QueueError> {
    let (mut names, has_more) = names_of_steps(conn, name, most).await?;
    names.insert(0, name.clone());
    let mut views = some(conn, &names).await?;
    if name.is_top() {
        find_joined(conn, &mut views[0]).await?;
    }
    let top = if name.is_top() { views.first().cloned() } else { some(conn, &[name.top()]).await?.pop() };
    let first = usize::from(name.is_top());
    if let Some(top) = top.filter(|top| top.blocked > 0 && views.len() > first) {
        find_blocked(conn, &top, &mut views[first..]).await?;
    }
    batch_times::look_up(conn, &mut views).await?;
    let batch = views.remove(0);
    Ok(BatchDetail { batch, steps: views, has_more })
}

/// Tasks of a batch that was the second one of some of them are looked at where it has so many open ones at most.
const FEW: u64 = 2000;

/// Finds, of these batches and steps, how many of their tasks are blocked, and what those of steps wait for, as far as [`with_steps`] does.
///
/// # Errors
/// Those of any call.
pub async fn look_up(conn: &Connection, views: &mut [BatchView]) -> Result<(), QueueError> {
    for view in views.iter_mut().filter(|view| view.waiting > 0) {
        if view.name.is_top() {
            find_joined(conn, view).await?;
            continue;
        }
        let top = some(conn, &[view.name.top()]).await?.pop();
        if let Some(top) = top.filter(|top| top.blocked > 0) {
            find_blocked(conn, &top, std::slice::from_mut(view)).await?;
        }
    }
    Ok(())
}

/// Blocked tasks that had a batch before they joined this one are counted with that one.
async fn find_joined(conn: &Connection, batch: &mut BatchView) -> Result<(), QueueError> {
    if batch.waiting > 0 && batch.open <= FEW && !batch.after.is_empty() {
        let seen = BlockedLines::look(conn, batch).await?;
        let more = seen.blocked.saturating_sub(batch.blocked).min(batch.waiting);
        batch.blocked += more;
        batch.waiting -= more;
        if batch.state == BatchState::Waiting && batch.waiting == 0 {
            batch.state = BatchState::Blocked;
        }
    }
    Ok(())
}

async fn names_of_steps(
    conn: &Connection,
    batch: &BatchName,
    most: usize,
) -> Result<(Vec<BatchName>, bool), QueueError> {
    let (mut cursor, mut names, mut calls) = (0, Vec::new(), 0);
    let is_cut = loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(conn.name(Key::BatchN)).arg(cursor).arg("MATCH").arg(format!("{batch}/*=")).arg("COUNT").arg(1000);
        let (next, page): ScanPage = conn.cmd(&scan).await?;
        names
            .extend(page.iter().filter_map(|(field, _)| {
                std::str::from_utf8(field).ok()?.strip_suffix('=')?.parse::<BatchName>().ok()
            }));
        calls += 1;
        if next == 0 || names.len() > most {
            break false;
        }
        if most < usize::MAX && calls == SCANS {
            break true;
        }
        cursor = next;
    };
    names.sort();
    names.dedup();
    let has_more = is_cut || names.len() > most;
    names.truncate(most);
    Ok((names, has_more))
}

/// Splits what waits of some steps of a batch into what may run and what is blocked, where that can be told, and finds what they wait for.
async fn find_blocked(conn: &Connection, top: &BatchView, steps: &mut [BatchView]) -> Result<(), QueueError> {
    let seen = BlockedLines::look(conn, top).await?;
    let names: BTreeSet<BatchName> = seen.steps.values().flat_map(|step| step.after.iter().cloned()).collect();
    let awaited = awaited(conn, &names.into_iter().collect::<Vec<_>>()).await?;
    for step in steps {
        let found = seen.steps.get(&step.name);
        // Whether all of them were seen.
        let blocked = match (top.waiting, seen.blocked >= top.blocked) {
            // All that waits of the batch is blocked.
            (0, _) => step.waiting,
            (1.., true) => found.map_or(0, |found| found.blocked),
            (1.., false) => 0,
        };
        step.blocked = blocked.min(step.waiting);
        step.waiting -= step.blocked;
        if step.blocked > 0 {
            step.eta_seconds = None;
        }
        if step.state == BatchState::Waiting && step.waiting == 0 {
            step.state = BatchState::Blocked;
        }
        if let Some(found) = found {
            step.after = awaited.iter().filter(|awaited| found.after.contains(&awaited.name)).cloned().collect();
        }
    }
    Ok(())
}

/// What was seen of the blocked lines of a batch.
#[derive(Default)]
struct BlockedLines {
    steps: HashMap<BatchName, BlockedStep>,
    /// How many were seen.
    blocked: u64,
}

#[derive(Default)]
struct BlockedStep {
    blocked: u64,
    after: BTreeSet<BatchName>,
}

impl BlockedLines {
    async fn look(conn: &Connection, batch: &BatchView) -> Result<Self, QueueError> {
        let mut seen = Self::default();
        let (mut lines, mut bytes) = (0, 0);
        for gate in gates_of(conn, batch).await? {
            let mut from = 0;
            loop {
                if lines >= LINES || bytes >= BYTES {
                    return Ok(seen);
                }
                let mut range = redis::cmd("ZRANGE");
                range.arg(&gate).arg(from).arg(from + PART - 1);
                let found: Vec<LossyString> = conn.cmd(&range).await?;
                let found = lossy_string::list(found);
                seen.add(conn, batch, &found).await?;
                lines += found.len();
                bytes += found.iter().map(String::len).sum::<usize>();
                if found.len() < PART {
                    break;
                }
                from += PART;
            }
        }
        Ok(seen)
    }

    async fn add(&mut self, conn: &Connection, batch: &BatchView, entries: &[String]) -> Result<(), QueueError> {
        // `LANE<tab>LINE`.
        let lines: Vec<String> =
            entries.iter().filter_map(|entry| entry.split_once('\t')).map(|(_, line)| line.to_owned()).collect();
        for member in batches::members(conn, &lines).await?.into_iter().flatten() {
            let names = member.names.iter().filter(|name| name.is_within(&batch.name));
            let levels: BTreeSet<BatchName> = names.flat_map(BatchName::levels).collect();
            self.blocked += u64::from(!levels.is_empty());
            let needs = Needs::of_line(&member.line);
            for level in levels.into_iter().filter(|level| !level.is_top()) {
                let step = self.steps.entry(level).or_default();
                step.blocked += 1;
                step.after.extend(needs.gates().iter().filter_map(Gate::name).cloned());
            }
        }
        Ok(())
    }
}

/// The keys of some of the gates that lines of a batch may wait behind, those that hold something: of the names that it waits for, and of times.
async fn gates_of(conn: &Connection, batch: &BatchView) -> Result<Vec<String>, QueueError> {
    let ready = conn.name(Key::Ready);
    let mut times = redis::cmd("ZRANGE");
    times.arg(format!("{ready}times")).arg(0).arg(GATES - 1);
    let times = lossy_string::list(conn.cmd(&times).await?);
    let names = batch.after.iter().take(GATES);
    let of_names = names.flat_map(|awaited| ["b", "k", "a"].map(|kind| format!("{kind}:{}", awaited.name)));
    let gates: Vec<String> = of_names.chain(times).map(|gate| format!("{ready}{gate}")).collect();
    let mut pipe = redis::pipe();
    for gate in &gates {
        pipe.zcard(gate);
    }
    let held: Vec<u64> = if gates.is_empty() { Vec::new() } else { conn.pipe(&pipe).await? };
    Ok(gates.into_iter().zip(held).filter(|(_, held)| *held > 0).map(|(gate, _)| gate).collect())
}
