//! Obstacles to every task: an operator's order, no worker, busy workers, nodes that are too small.

use super::super::ctl_command::ctl;
use crate::model::snapshot::{Overview, WaitReason, WorkerLoad, WorkerState, WorkerView};
use crate::model::{Amounts, Demand, Fit, ResourceKind, Room};
use crate::view::safe_text::safe;
use crate::view::text::{counted, joined, resource, resources};
use crate::view::waits::{waits, waits_in_full};

/// What an operator asked for.
pub(super) fn halted(overview: &Overview) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(who) = &overview.paused {
        why.push(format!("the queue is paused by {}; {} resume continues", safe(who), ctl()));
    }
    if overview.stopping {
        why.push(format!(
            "the stop command is in the queue: workers claim nothing more and exit; {} resume cancels it",
            ctl()
        ));
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
        0 if overview.is_local => "no run is active here: repeat its command, or use distcomp run --all".to_owned(),
        0 => "no worker is running: start distcomp-worker on a node".to_owned(),
        _ => {
            let lifted = |state: WorkerState| {
                let mut workers = overview.workers.iter().filter(|worker| worker.state == state);
                let first = workers.next().map(|first| safe(&first.name));
                first.map_or_else(String::new, |first| {
                    let number = 1 + workers.count();
                    format!(", {number} {} (distcomp-ctl resume --worker {first} lifts that)", state.as_str())
                })
            };
            let (drained, suspect) = (lifted(WorkerState::Drained), lifted(WorkerState::Suspect));
            format!("no worker can claim it: {draining} draining{drained}{suspect}, {silent} silent, {dead} dead")
        }
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
            let slots = format!("{} of {} in use", load.running, counted(u64::from(load.slots), "slot"));
            let waiting = Some(load).filter(|load| !is_lifted(overview, load)).and_then(waits_in_full);
            let why = waiting.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            (waiting.is_some() || load.running >= load.slots).then(|| format!("{}: {slots}{why}", safe(&worker.name)))
        })
        .take(SHOWN)
        .collect()
}

/// What a worker says it waits for.
pub(super) fn waits_for(overview: &Overview, load: &WorkerLoad) -> Option<String> {
    Some(load).filter(|load| !is_lifted(overview, load)).and_then(waits)
}

/// Whether it waits for the end of a pause that was lifted: it has yet to hear of that.
fn is_lifted(overview: &Overview, load: &WorkerLoad) -> bool {
    overview.paused.is_none() && load.wait == Some(WaitReason::Paused)
}

/// That no node which could ever run a task has room for it now, and what it is short of; `None` where one has, or does not tell.
pub(super) fn no_room(overview: &Overview, demand: &Demand) -> Option<String> {
    let rooms: Vec<Amounts> = overview
        .workers
        .iter()
        .filter(|worker| worker.takes_tasks() && worker.could_hold(demand))
        // Those that take nothing at all say why.
        .filter(|worker| worker.load.as_ref().is_none_or(|load| load.wait.is_none()))
        .map(|worker| worker.load.as_ref().and_then(|load| load.room))
        .collect::<Option<_>>()?;
    if rooms.is_empty() || rooms.iter().any(|room| room.holds(&demand.amounts)) {
        return None;
    }
    let most = Room { slots: 1, amounts: rooms.iter().fold(Amounts::NONE, |most, room| most.max(room)) };
    Some(match most.fit(demand) {
        Fit::Short(shortages) => {
            let lacks: Vec<String> = shortages.iter().map(|lack| resource(lack.kind, lack.left)).collect();
            format!("no room now: a node has at most {} left", joined(&lacks))
        }
        Fit::Now => {
            let all: Vec<String> = ResourceKind::ALL.iter().map(|kind| format!("the {}", kind.noun())).collect();
            format!("no room now: no node has {} left together", joined(&all))
        }
    })
}

/// The most that one task can have, and why that is less than what the nodes have.
pub(super) fn largest(able: &[&WorkerView]) -> String {
    let most = |of: fn(&WorkerView) -> Amounts| able.iter().fold(Amounts::NONE, |most, worker| most.max(&of(worker)));
    let (offers, totals) = (most(WorkerView::most), most(|worker| worker.usage.total));
    resources(&offers, |kind, offered| {
        let total = totals.get(kind);
        // Rounded down: a task that asks for what is printed here must fit.
        let text = resource(kind, kind.rounded_down(offered));
        if total.saturating_sub(offered) < kind.amount(0.02) {
            text
        } else {
            format!("{text} of its {} (the system and other programs hold the rest)", resource(kind, total))
        }
    })
}
