//! Why the queue as a whole does not move, and what waits in it for what.

use super::fleet::{busy_workers, fits, halted, largest, no_worker};
use crate::model::snapshot::{Need, Overview, WorkerView};
use crate::view::safe_text::safe;
use crate::view::table::{number, table, text};
use crate::view::text::count;
use crate::view::workers::trimmed;

/// Why the queue as a whole does not move, or that it does: most telling first.
#[must_use]
pub fn explain_queue(overview: &Overview) -> Vec<String> {
    let counts = &overview.counts;
    let mut why = halted(overview);
    if counts.todo == 0 {
        why.push(match counts.in_progress {
            0 => "nothing waits and nothing runs".to_owned(),
            running => format!("nothing waits; {} in progress", count(running)),
        });
        return why;
    }
    why.extend(no_worker(overview));
    if !why.is_empty() {
        return why;
    }
    let (large, largest) = too_large_in_all(overview);
    let runnable = counts.todo.saturating_sub(large);
    if runnable > 0 {
        let pace = if overview.rate_per_second > 0.0 {
            "it is running".to_owned()
        } else {
            "nothing finished in the last minute".to_owned()
        };
        why.push(format!("{pace}: {} wait, {} in progress", count(runnable), count(counts.in_progress)));
    }
    why.extend(largest);
    if overview.backing_off > 0 {
        why.push(format!("{} wait for the end of their backoff", count(overview.backing_off)));
    }
    if runnable > 0 {
        why.extend(busy_workers(overview));
    }
    for reservation in &overview.reservations {
        why.push(format!("{} keeps room for {}", safe(&reservation.worker), safe(&reservation.line)));
    }
    why
}

/// The one reason that holds most of the work back, with how much that is; `None` when nothing waits.
#[must_use]
pub fn top_reason(overview: &Overview) -> Option<(u64, String)> {
    let todo = overview.counts.todo;
    if todo == 0 {
        return None;
    }
    if let Some(why) = halted(overview).into_iter().next().or_else(|| no_worker(overview)) {
        return Some((todo, why));
    }
    let (large, why) = too_large_in_all(overview);
    let rest = todo.saturating_sub(large).saturating_sub(overview.backing_off);
    let others = [
        (large, why),
        (overview.backing_off, Some("they have failed and wait for the end of their backoff".to_owned())),
        (rest, Some(commonest_wait(overview))),
    ];
    let top = others.into_iter().max_by_key(|(count, _)| *count)?;
    Some((top.0, top.1?))
}

/// What waits, by what it needs, with what stands in its way.
#[must_use]
pub fn needs(overview: &Overview, width: usize) -> String {
    let columns = [number("waiting"), number("mem GB"), number("cores"), text("why")];
    let rows = overview
        .needs
        .iter()
        .map(|need| vec![count(need.waiting), trimmed(need.mem_gb), trimmed(need.cores), why_need(overview, need)]);
    let mut drawn = table(&columns, rows.collect(), width);
    if overview.needs_left_out > 0 {
        drawn.push_str(&format!("and {} more kinds of need\n", count(overview.needs_left_out)));
    }
    drawn
}

/// Why tasks of one need wait.
#[must_use]
pub fn why_need(overview: &Overview, need: &Need) -> String {
    if let Some(why) = halted(overview).into_iter().next().or_else(|| no_worker(overview)) {
        return why;
    }
    let able: Vec<&WorkerView> = overview.workers.iter().filter(|worker| worker.takes_tasks()).collect();
    if !able.iter().any(|worker| fits(worker, need.mem_gb, need.cores)) {
        return format!("the largest node offers {}", largest(&able));
    }
    if need.failed_on.is_empty() {
        return commonest_wait(overview);
    }
    let on = safe(&need.failed_on.join(", ")).into_owned();
    let has_failed = |worker: &&WorkerView| need.failed_on.contains(&worker.name);
    if able.iter().all(has_failed) {
        format!("failed on every live worker ({on}), to be tried again")
    } else {
        format!("failed on {on}, left to others for up to a minute")
    }
}

/// How many wait for a node that is not there, and what for.
fn too_large_in_all(overview: &Overview) -> (u64, Option<String>) {
    let able: Vec<&WorkerView> = overview.workers.iter().filter(|worker| worker.takes_tasks()).collect();
    let large: Vec<&Need> =
        overview.needs.iter().filter(|need| !able.iter().any(|worker| fits(worker, need.mem_gb, need.cores))).collect();
    let sum = large.iter().map(|need| need.waiting).sum();
    let why = large.iter().max_by_key(|need| need.waiting).map(|need| {
        let others = if large.len() > 1 { " or the like" } else { "" };
        format!(
            "{} need {} GB and {} cores{others}; the largest node offers {}",
            count(sum),
            trimmed(need.mem_gb),
            trimmed(need.cores),
            largest(&able)
        )
    });
    (sum, why)
}

/// What most of the workers that could take something wait for.
fn commonest_wait(overview: &Overview) -> String {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for worker in overview.workers.iter().filter(|worker| worker.takes_tasks()) {
        let Some(why) = worker.load.as_ref().and_then(|load| load.waiting.as_deref()) else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, times)) => *times += 1,
            None => reasons.push((why, 1)),
        }
    }
    let (running, slots) = overview
        .workers
        .iter()
        .filter(|worker| worker.takes_tasks())
        .filter_map(|worker| worker.load.as_ref())
        .fold((0, 0), |(running, slots), load| (running + load.running, slots + load.slots));
    let why = reasons.iter().max_by_key(|(_, times)| *times).map_or("their turn", |(why, _)| why);
    // Python workers do not tell of theirs.
    let used = if slots == 0 { String::new() } else { format!(" ({running} of {slots} slots in use)") };
    format!("{}{used}", safe(why))
}
