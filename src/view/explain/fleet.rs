//! What stands in the way of every task: an operator's word, no worker, busy workers, nodes that are too small.

use crate::model::snapshot::{Overview, WorkerState, WorkerView};
use crate::view::safe_text::safe;
use crate::view::workers::trimmed;

/// What an operator asked for.
pub(super) fn halted(overview: &Overview) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(who) = &overview.paused {
        why.push(format!("the queue is paused by {}; distcomp-ctl resume goes on", safe(who)));
    }
    if overview.stopping {
        why.push(
            "the stop command is in the queue: workers take nothing more and exit; distcomp-ctl resume lifts it"
                .to_owned(),
        );
    }
    why
}

pub(super) fn no_worker(overview: &Overview) -> Option<String> {
    if overview.workers.iter().any(WorkerView::takes_tasks) {
        return None;
    }
    let number = |state| overview.workers.iter().filter(|worker| worker.state == state).count();
    let (draining, silent, dead) =
        (number(WorkerState::Draining), number(WorkerState::Silent), number(WorkerState::Dead));
    Some(match overview.workers.len() {
        0 => "no worker is there: start distcomp-worker on a node".to_owned(),
        _ => format!("no worker is there to take it: {draining} draining, {silent} silent, {dead} dead"),
    })
}

/// Why workers say they take nothing.
pub(super) fn busy_workers(overview: &Overview) -> Vec<String> {
    const SHOWN: usize = 5;
    overview
        .workers
        .iter()
        .filter(|worker| worker.takes_tasks())
        .filter_map(|worker| {
            let load = worker.load.as_ref()?;
            let slots = format!("{} of {} slots in use", load.running, load.slots);
            let why = load.waiting.as_deref().map_or_else(String::new, |why| format!(": {}", safe(why)));
            (load.waiting.is_some() || load.running >= load.slots)
                .then(|| format!("{}: {slots}{why}", safe(&worker.name)))
        })
        .take(SHOWN)
        .collect()
}

pub(super) fn fits(worker: &WorkerView, mem_gb: f64, cores: f64) -> bool {
    // The totals are written with two decimals; what differs by less than that is not told apart.
    mem_gb <= worker.mem_total_gb + 0.01 && cores <= worker.cores_total + 0.01
}

pub(super) fn largest(able: &[&WorkerView]) -> String {
    let most = |figure: fn(&WorkerView) -> f64| able.iter().map(|worker| figure(worker)).fold(0.0, f64::max);
    format!(
        "{} GB and {} cores",
        trimmed(most(|worker| worker.mem_total_gb)),
        trimmed(most(|worker| worker.cores_total))
    )
}
