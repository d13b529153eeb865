//! Explains why the queue as a whole does not move, and what its tasks wait for.

use super::fleet::{busy_workers, halted, largest, no_room, no_worker, waits_for};
use super::needs::{nothing_free, unsuited};
use crate::model::ResourceKind;
use crate::model::snapshot::{Awaited, BlockedOn, Overview, WaitingGroup, WorkerView};
use crate::view::batches::kept_back;
use crate::view::limits;
use crate::view::safe_text::safe;
use crate::view::shares::shares;
use crate::view::table::{number, table, text};
use crate::view::text::{count, counted, resource, resources, tasks, trimmed, verb};

/// Why the queue as a whole does not move, or that it does: most telling first.
#[must_use]
pub fn explain_queue(overview: &Overview) -> Vec<String> {
    let counts = &overview.counts;
    let mut why = halted(overview);
    if counts.todo == 0 && !(overview.is_at_rest() && counts.in_progress > 0) {
        why.push(match counts.in_progress {
            0 => "nothing waits and nothing runs".to_owned(),
            running => format!("nothing waits; {} in progress", count(running)),
        });
        return why;
    }
    if let Some(nobody) = no_worker(overview) {
        why.extend(without_worker(overview, nobody));
        return why;
    }
    if !why.is_empty() {
        return why;
    }
    let (large, largest) = too_large_in_all(overview);
    let unknown = not_judged(overview);
    let apart = kept_apart(overview);
    let runnable = counts.todo.saturating_sub(large).saturating_sub(unknown).saturating_sub(apart);
    if runnable > 0 {
        let pace = if overview.rate_per_second > 0.0 {
            "it is running"
        } else if overview.failed_per_second > 0.0 {
            "all tasks that ended in the last minute failed"
        } else {
            "nothing finished in the last minute"
        };
        why.push(format!("{pace}: {} wait, {} in progress", count(runnable), count(counts.in_progress)));
    }
    why.extend(kept_back(overview).map(|text| format!("of those that wait: {text}")));
    why.extend(overview.fair_share.as_ref().map(shares));
    why.extend(limits::notices(overview));
    why.extend(largest);
    if unknown > 0 {
        why.push(format!("{} {} {}", count(unknown), verb(unknown, "wait"), NOT_JUDGED));
    }
    if overview.backing_off > 0 {
        why.push(format!("{} wait for their retry delay", count(overview.backing_off)));
    }
    if runnable > 0 {
        why.extend(busy_workers(overview));
    }
    for reservation in &overview.reservations {
        why.push(format!("{} reserves room for {}", safe(&reservation.worker), safe(&reservation.line)));
    }
    why
}

/// While no worker takes tasks: how many would start if one did, and what keeps the others, which a worker would not change.
fn without_worker(overview: &Overview, nobody: String) -> Vec<String> {
    let (waiting, rest) = (waiting_in_all(overview), waiting_for_worker(overview));
    let first = match rest {
        0 if waiting > 0 => None,
        rest if rest < waiting => Some(format!("{} {}: {nobody}", count(rest), verb(rest, "wait"))),
        _ => Some(nobody),
    };
    let kept = kept_back(overview).map(|text| format!("of those that wait: {text}"));
    first.into_iter().chain(kept).chain(limits::notices(overview)).collect()
}

/// How many wait. What an interrupted run had in progress waits for the next one.
fn waiting_in_all(overview: &Overview) -> u64 {
    let cut_short = if overview.is_at_rest() { overview.counts.in_progress } else { 0 };
    overview.counts.todo.saturating_add(cut_short)
}

/// How many wait for batches and times, or are of held batches.
fn kept_apart(overview: &Overview) -> u64 {
    overview.counts.blocked.saturating_add(overview.counts.held)
}

/// While no worker takes tasks: how many wait for one. All of them, where a worker would also let tasks go or bring back what dead workers have, so that
/// what waits for these may move.
fn waiting_for_worker(overview: &Overview) -> u64 {
    let waiting = waiting_in_all(overview);
    let has_come = |gate: &BlockedOn| {
        gate.begin.is_some_and(|begin| begin <= overview.now) || gate.batch.as_ref().is_some_and(Awaited::is_done)
    };
    if overview.counts.in_progress > 0 || overview.blocked_on.iter().any(has_come) {
        return waiting;
    }
    waiting.saturating_sub(kept_apart(overview)).saturating_sub(shut_out(overview))
}

/// How many wait for a limit of 0.
fn shut_out(overview: &Overview) -> u64 {
    let is_shut = |need: &&WaitingGroup| limits::shut(overview, &need.needs()).is_some();
    overview.needs.iter().filter(is_shut).fold(0, |sum, need| sum.saturating_add(need.waiting))
}

/// The one reason that holds most of the work back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopReason {
    /// How many tasks wait for it.
    pub waiting: u64,
    /// The reason, in words.
    pub why: String,
    /// Whether it is a limit that is full.
    pub is_limit: bool,
}

/// The one reason that holds most of the work back; `None` when nothing waits.
#[must_use]
pub fn top_reason(overview: &Overview) -> Option<TopReason> {
    let todo = waiting_in_all(overview);
    if todo == 0 {
        return None;
    }
    if let Some(why) = halted(overview).into_iter().next() {
        return Some(TopReason { waiting: todo, why, is_limit: false });
    }
    if let Some(nobody) = no_worker(overview) {
        let limit = overview.needs.iter().find_map(|need| limits::shut(overview, &need.needs()));
        let reasons = [
            (kept_apart(overview), kept_back(overview), false),
            (shut_out(overview), limit, true),
            (waiting_for_worker(overview), Some(nobody), false),
        ];
        let (waiting, why, is_limit) = reasons.into_iter().max_by_key(|(count, ..)| *count)?;
        return Some(TopReason { waiting, why: why?, is_limit });
    }
    let (large, why) = too_large_in_all(overview);
    let unknown = not_judged(overview);
    let apart = kept_apart(overview);
    let rest =
        todo.saturating_sub(large).saturating_sub(unknown).saturating_sub(overview.backing_off).saturating_sub(apart);
    let limit = largest_group(overview).and_then(|need| limits::first(overview, &need.needs()));
    let is_limit = limit.is_some();
    let others = [
        (large, why, false),
        (unknown, Some(NOT_JUDGED.to_owned()), false),
        (overview.backing_off, Some("they have failed and wait for their retry delay".to_owned()), false),
        (rest, Some(limit.unwrap_or_else(|| rest_waits_for(overview))), is_limit),
        (apart, kept_back(overview), false),
    ];
    let (waiting, why, is_limit) = others.into_iter().max_by_key(|(count, ..)| *count)?;
    Some(TopReason { waiting, why: why?, is_limit })
}

/// Of tasks whose demands were not read.
const NOT_JUDGED: &str = "with other demands: distcomp-status explain LINE says why one of them waits";

/// How many wait of which nothing can be said: with demands beyond the first ones, where no node could run any of those.
fn not_judged(overview: &Overview) -> u64 {
    if overview.needs_left_out == 0 || overview.needs.iter().any(|need| overview.fits_somewhere(need)) {
        return 0;
    }
    let judged = overview.needs.iter().map(|need| need.waiting).fold(overview.backing_off, u64::saturating_add);
    let judged = judged.saturating_add(kept_apart(overview));
    overview.counts.todo.saturating_sub(judged)
}

/// What waits, by what it needs, with what stands in its way.
#[must_use]
pub fn needs(overview: &Overview, width: usize) -> String {
    let amounts = ResourceKind::ALL.map(|kind| number(kind.heading()));
    let columns: Vec<_> = [number("waiting")].into_iter().chain(amounts).chain([text("why")]).collect();
    // What is kept apart in the queue, and waits for the same, is one row.
    let mut groups: Vec<(Vec<String>, u64)> = Vec::new();
    for need in &overview.needs {
        let amounts = ResourceKind::ALL.map(|kind| trimmed(kind.shown(need.demand.amounts.get(kind))));
        let cells: Vec<String> = amounts.into_iter().chain([why_need(overview, need)]).collect();
        match groups.iter_mut().find(|(same, _)| *same == cells) {
            Some((_, waiting)) => *waiting = waiting.saturating_add(need.waiting),
            None => groups.push((cells, need.waiting)),
        }
    }
    let rows = groups.into_iter().map(|(cells, waiting)| [count(waiting)].into_iter().chain(cells).collect());
    let mut drawn = table(&columns, rows.collect(), width);
    if overview.needs_left_out > 0 {
        drawn.push_str(&format!("and {} more demands\n", count(overview.needs_left_out)));
    }
    drawn
}

/// Why tasks of one need wait.
#[must_use]
pub fn why_need(overview: &Overview, need: &WaitingGroup) -> String {
    if let Some(why) = halted(overview).into_iter().next() {
        return why;
    }
    if let Some(nobody) = no_worker(overview) {
        return limits::shut(overview, &need.needs()).unwrap_or(nobody);
    }
    let able: Vec<&WorkerView> = overview.workers.iter().filter(|worker| worker.takes_tasks()).collect();
    if let Some(why) = unsuited(overview, &need.needs()) {
        return why;
    }
    if !overview.fits_somewhere(need) {
        return format!("the largest node offers {}", largest(&able));
    }
    if let Some(why) = limits::first(overview, &need.needs()) {
        return why;
    }
    if need.failed_on.is_empty() {
        return wait_of(overview, need);
    }
    let on = safe(&need.failed_on.join(", ")).into_owned();
    let has_failed = |worker: &&WorkerView| need.failed_on.contains(&worker.name);
    if able.iter().all(has_failed) {
        format!("failed on every live worker ({on}), waiting for a retry")
    } else {
        format!("failed on {on}, reserved for other workers for up to a minute")
    }
}

/// The largest group, of those that some node could run.
fn largest_group(overview: &Overview) -> Option<&WaitingGroup> {
    let able = |need: &&WaitingGroup| overview.fits_somewhere(need);
    overview.needs.iter().filter(able).max_by_key(|need| need.waiting)
}

/// What the largest group waits for, where that is no limit.
fn rest_waits_for(overview: &Overview) -> String {
    largest_group(overview).map_or_else(|| commonest_wait(overview), |need| wait_of(overview, need))
}

/// Why tasks wait that some node could run and no limit holds back: for room of the kind that they need, or for what most wait for.
fn wait_of(overview: &Overview, need: &WaitingGroup) -> String {
    match nothing_free(overview, &need.needs()).or_else(|| no_room(overview, &need.demand)) {
        Some(room) => format!("{room}{}", slots_used(overview)),
        None => commonest_wait(overview),
    }
}

/// How many wait for a node that is not there, and what for.
fn too_large_in_all(overview: &Overview) -> (u64, Option<String>) {
    let able: Vec<&WorkerView> = overview.workers.iter().filter(|worker| worker.takes_tasks()).collect();
    let large: Vec<&WaitingGroup> = overview.fits_nowhere().collect();
    let sum = large.iter().map(|need| need.waiting).sum();
    let why = large.iter().max_by_key(|need| need.waiting).map(|need| {
        let others = if large.len() > 1 { " or the like" } else { "" };
        if let Some(why) = unsuited(overview, &need.needs()) {
            return format!(
                "{} of such tasks wait{}: {why}",
                count(sum),
                if large.len() > 1 { " for this or the like" } else { "" }
            );
        }
        format!(
            "{} {} {}{others}; the largest node offers {}",
            count(sum),
            verb(sum, "need"),
            resources(&need.demand.amounts, resource),
            largest(&able)
        )
    });
    (sum, why)
}

/// That tasks wait which no worker that is there could ever run, and what they lack; `None` while there are none, and where no worker takes any task.
#[must_use]
pub fn never_run(overview: &Overview) -> Option<String> {
    let number = overview.unrunnable().filter(|number| *number > 0)?;
    let able: Vec<&WorkerView> = overview.workers.iter().filter(|worker| worker.takes_tasks()).collect();
    let largest_group = overview.fits_nowhere().max_by_key(|need| need.waiting)?;
    let others = if overview.fits_nowhere().nth(1).is_some() { ", most of them" } else { "" };
    let why = match unsuited(overview, &largest_group.needs()) {
        Some(why) => why,
        None => format!(
            "{} {}; the largest node offers {}",
            verb(number, "need"),
            resources(&largest_group.demand.amounts, resource),
            largest(&able)
        ),
    };
    Some(format!("{} can never run on the workers that are there{others}: {why}", tasks(number)))
}

/// What most of the workers that could take something wait for.
fn commonest_wait(overview: &Overview) -> String {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for worker in overview.workers.iter().filter(|worker| worker.takes_tasks()) {
        let Some(why) = worker.load.as_ref().and_then(|load| waits_for(overview, load)) else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, times)) => *times += 1,
            None => reasons.push((why, 1)),
        }
    }
    let why = reasons.iter().max_by_key(|(_, times)| *times).map_or("their turn", |(why, _)| why);
    format!("{why}{}", slots_used(overview))
}

/// How many slots are in use; nothing of Python workers, which do not tell.
fn slots_used(overview: &Overview) -> String {
    let (running, slots) = overview
        .workers
        .iter()
        .filter(|worker| worker.takes_tasks())
        .filter_map(|worker| worker.load.as_ref())
        .fold((0, 0), |(running, slots), load| (running + load.running, slots + load.slots));
    if slots == 0 { String::new() } else { format!(" ({running} of {} in use)", counted(u64::from(slots), "slot")) }
}
