//! How many workers the waiting tasks want: the one answer behind `distcomp-ctl autoscale`, `/api/v1/wanted` and the metric of it.
//!
//! First the workers that are there get what fits into the room that they have left. Of what remains, and could run on a new worker, the sums of all
//! resources are taken. So many workers of the shape are wanted as the scarcest resource needs. This is never more than a perfect packing needs: where
//! tasks do not fit side by side, the next look asks for the rest.

use std::time::Duration;

use super::demand_sum::{DemandSum, LimitUnits};
use super::lifetime::Lifetime;
use super::worker_room::WorkerRoom;
use crate::model::snapshot::{LimitView, Runnable, WorkerState, WorkerView};
use crate::model::{Amounts, ResourceName, Shape, Stock, Unfit};

/// What is there.
#[derive(Clone, Copy, Debug)]
pub struct Fleet<'a> {
    /// All workers that are known.
    pub workers: &'a [WorkerView],
    /// The limits that are set.
    pub limits: &'a [LimitView],
    /// Tasks in progress.
    pub in_progress: u64,
    /// Seconds since the epoch by the clock of Redis.
    pub now: u64,
}

/// What is wanted, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Workers of the shape in all: those that are there and have something to do, and the additional ones.
    pub wanted: u64,
    /// Workers beside those that are there.
    pub additional: u64,
    /// Tasks that the additional ones would run.
    pub runnable: u64,
    /// Tasks that fit into the room of workers that are there.
    pub placed: u64,
    /// Tasks that a new worker of this shape could never run.
    pub unfit: u64,
    /// Of those, the ones that ask for a longer life.
    pub too_long: u64,
    /// Tasks that a limit keeps back.
    pub limited: u64,
    /// Whether one worker is wanted only to sort the queue: no worker lives, and there are tasks that only a worker can move on.
    pub is_for_chores: bool,
}

/// How many workers of a shape are wanted. `starting`: workers of it that have been asked for and are not attached yet.
#[must_use]
pub fn wanted(shape: &Shape, runnable: &Runnable, fleet: &Fleet<'_>, starting: u64) -> Wanted {
    let mut answer = Wanted::default();
    if runnable.is_halted {
        answer.wanted = in_use(shape, fleet.workers, &[]);
        return answer;
    }
    let mut rooms: Vec<WorkerRoom<'_>> = fleet.workers.iter().filter_map(WorkerRoom::of).collect();
    let mut units = LimitUnits::of(fleet.limits);
    let mut rest = DemandSum::default();
    for group in &runnable.groups {
        let waiting = if group.is_unknown { group.waiting.min(1) } else { group.waiting };
        let fits = shape.suits(&group.demand, &group.needs).and_then(|()| units.fit_a_node(group));
        let is_for_live = || rooms.iter().any(|room| room.worker.could_run(&group.demand, &group.needs, fleet.now));
        if let Err(unfit) = fits {
            answer.unfit += waiting;
            answer.too_long += if unfit == Unfit::Lifetime { waiting } else { 0 };
            if !is_for_live() {
                continue;
            }
        }
        let free = units.take(group, waiting);
        answer.limited += waiting - free;
        let mut left = free;
        for room in &mut rooms {
            if left == 0 {
                break;
            }
            left -= room.place(group, left, fleet.limits, fleet.now);
        }
        answer.placed += free - left;
        if fits.is_ok() && left > 0 {
            rest.add(group, left);
        }
    }
    let needed = rest.nodes(shape, &units);
    answer.runnable = rest.tasks;
    answer.additional = needed.saturating_sub(starting);
    if answer.additional == 0 && starting == 0 && is_stuck(runnable, fleet) {
        answer.additional = 1;
        answer.is_for_chores = true;
    }
    let served: Vec<&str> = rooms.iter().filter(|room| room.is_served).map(|room| room.worker.name.as_str()).collect();
    answer.wanted = answer.additional + in_use(shape, fleet.workers, &served);
    answer
}

/// The part of its life that a task with `time=` can count on, of a worker that lives so long: less its way out, and less a minute, or a twentieth of a
/// short life, for its start.
#[must_use]
pub fn usable_life(limit: Duration, drain: Duration, grace: Duration) -> Duration {
    let lead = (limit / 20).min(Duration::from_secs(60));
    Lifetime::new(limit, drain, grace).terminates_after.saturating_sub(lead)
}

/// Whether nothing goes on until a worker comes: there are tasks that no index has yet, or that dead workers have.
fn is_stuck(runnable: &Runnable, fleet: &Fleet<'_>) -> bool {
    let is_alive = |worker: &WorkerView| worker.is_alive() || worker.state == WorkerState::Silent;
    let has_work = runnable.unsorted > 0 || fleet.in_progress > 0;
    has_work && !fleet.workers.iter().any(is_alive)
}

/// Workers of the shape or larger that take tasks, and run some or are about to.
fn in_use(shape: &Shape, workers: &[WorkerView], served: &[&str]) -> u64 {
    let runs = |worker: &WorkerView| worker.load.as_ref().is_some_and(|load| load.running + load.held > 0);
    let counts = |worker: &&WorkerView| {
        worker.takes_tasks() && is_of_shape(shape, worker) && (runs(worker) || served.contains(&worker.name.as_str()))
    };
    workers.iter().filter(counts).count() as u64
}

/// Whether a worker has what the shape has, but for a tenth: the system of a node keeps a part of it.
fn is_of_shape(shape: &Shape, worker: &WorkerView) -> bool {
    let is_large = shape.offer.is_none_or(|offer| {
        let has = worker.most().max(&worker.usage.total);
        has.holds(&Amounts::of(|kind| offer.get(kind) - offer.get(kind) / 10))
    });
    let has_stock = |(name, stock): (&ResourceName, &Stock)| {
        let of_worker = worker.traits().and_then(|traits| traits.stocks.0.get(name));
        of_worker.is_some_and(|has| has.total() >= stock.total())
    };
    let has_labels = || shape.labels.iter().all(|label| worker.traits().is_some_and(|has| has.labels.contains(label)));
    is_large && shape.stocks.0.iter().all(has_stock) && has_labels()
}

/// How many workers one autoscaler may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// As many are kept, whether or not there is work.
    pub min: u64,
    /// Never more, of its own, than these.
    pub max: u64,
    /// So many may wait at the provider at once; at least 1.
    pub backlog: u64,
}

/// The workers of one autoscaler, however far they have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Allocations that wait at the provider.
    pub pending: u64,
    /// Allocations that run, or of which nothing is known, and whose worker is not attached.
    pub starting: u64,
    /// Attached workers.
    pub attached: u64,
    /// Allocations that hold a node although nothing is to come of them any more.
    pub given_up: u64,
}

impl Own {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        [self.starting, self.attached, self.given_up].into_iter().fold(self.pending, u64::saturating_add)
    }
}

/// What keeps an autoscaler from starting all that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// There are as many as there may be.
    MaxWorkers,
    /// As many wait at the provider as may.
    Backlog,
}

/// How many to start now, and what keeps more from being started.
#[must_use]
pub fn starts(wanted: &Wanted, own: &Own, bounds: &Bounds, is_halted: bool) -> (u64, Option<Held>) {
    let to_min = if is_halted { 0 } else { bounds.min.min(bounds.max).saturating_sub(own.all()) };
    let more = wanted.additional.max(to_min);
    let room = bounds.max.saturating_sub(own.all());
    let backlog = bounds.backlog.max(1).saturating_sub(own.pending);
    let start = more.min(room).min(backlog);
    let held = match start {
        start if start == more => None,
        _ if room <= backlog => Some(Held::MaxWorkers),
        _ => Some(Held::Backlog),
    };
    (start, held)
}

#[cfg(test)]
#[path = "scaling_tests.rs"]
mod tests;
