//! What an autoscaler knows at one moment, and what it decides by that.

use std::collections::BTreeSet;
use std::time::Instant;

use super::args::ProviderArgs;
use super::provider::Provider;
use crate::cli::common::Context;
use crate::config::ShapeParts;
use crate::model::snapshot::{AutoscalerView, Overview, Runnable, WorkerState, WorkerView};
use crate::model::{Amounts, Offer, Shape};
use crate::policy::allocations::{Allocations, Change, Listed};
use crate::policy::scaling::{Bounds, Fleet, Held, Own, Wanted, starts, wanted};
use crate::queue::{Connection, QueueError, inspect, runnable};

/// The queue at one moment.
pub(super) struct Look {
    /// Its workers, limits and counts.
    pub(super) overview: Overview,
    /// What may run.
    pub(super) runnable: Runnable,
}

impl Look {
    /// Reads it.
    ///
    /// # Errors
    /// Those of any call.
    pub(super) async fn read(conn: &Connection) -> Result<Self, QueueError> {
        Ok(Self { overview: inspect::overview(conn).await?, runnable: runnable::runnable(conn).await? })
    }
}

/// What is to be done, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// What the tasks want.
    pub(super) wanted: Wanted,
    /// How far the autoscaler's own workers have come.
    pub(super) own: Own,
    /// How many to start now, if the provider does not fail.
    pub(super) start: u64,
    /// What keeps more from being started.
    pub(super) held: Option<Held>,
}

/// Decides.
pub(super) struct Planner {
    /// The allocations that are known.
    pub(super) allocations: Allocations,
    bounds: Bounds,
    parts: ShapeParts,
    shape: Shape,
    /// The flags by which the shape was said.
    pub(super) flags: String,
    /// What a worker has shown that it offers.
    pub(super) seen_offer: Option<Amounts>,
}

impl Planner {
    /// Nothing is known yet.
    pub(super) fn new(args: &ProviderArgs, provider: &dyn Provider, context: &Context) -> Self {
        let scale = args.scale();
        let max = provider.most().map_or(scale.max_workers, |most| most.min(scale.max_workers));
        let parts = scale.parts(args.time_limit());
        let shape = parts.shape(&context.config);
        Self {
            allocations: Allocations::new(scale.start_timeout),
            bounds: Bounds { min: scale.min_workers, max, backlog: scale.backlog },
            flags: format!("{} {}", args.name(), provider.shown()),
            parts,
            shape,
            seen_offer: None,
        }
    }

    /// Takes over what an earlier process of this name has left.
    pub(super) fn resume(&mut self, now: Instant, record: &AutoscalerView) {
        for id in &record.started {
            self.allocations.accepted(now, id);
        }
        if record.flags == self.flags {
            self.seen_offer =
                record.seen_offer.as_deref().and_then(|text| text.parse::<Offer>().ok()).map(|offer| offer.amounts);
        }
    }

    /// Takes in what the provider lists and which workers there are.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        list: Option<&[Listed]>,
        provider: &dyn Provider,
        look: &Look,
    ) -> Vec<Change> {
        let own: Vec<(String, &WorkerView)> =
            look.overview.workers.iter().filter_map(|worker| Some((provider.id_of(&worker.name)?, worker))).collect();
        let live: BTreeSet<String> =
            own.iter().filter(|(_, worker)| is_there(worker)).map(|(id, _)| id.clone()).collect();
        let offers =
            own.iter().filter(|(_, worker)| worker.takes_tasks()).filter_map(|(_, worker)| worker.load.as_ref()?.offer);
        let seen = offers.reduce(|a, b| a.max(&b));
        self.seen_offer = seen.or(self.seen_offer);
        self.allocations.update(now, list, &live)
    }

    /// The shape of a worker: what was said of it, and no more than a worker has shown.
    pub(super) fn shape(&self) -> Shape {
        let offer = match (self.shape.offer, self.seen_offer) {
            (Some(said), Some(seen)) => Some(said.min(&seen)),
            (said, seen) => said.or(seen),
        };
        Shape { offer, ..self.shape.clone() }
    }

    /// The shape as it was said.
    pub(super) fn said_shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether nobody has said how much a worker has.
    pub(super) fn is_guessing(&self) -> bool {
        self.parts.cpus.is_none()
    }

    /// The most workers that there may be.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Workers of the provider whose names an operator keeps drained: nothing starts there.
    pub(super) fn drained(&self, provider: &dyn Provider, look: &Look) -> Vec<String> {
        let is_drained = |worker: &&WorkerView| worker.state == WorkerState::Drained && !worker.is_alive();
        look.overview.workers.iter().filter(is_drained).filter_map(|worker| provider.id_of(&worker.name)).collect()
    }

    /// What to do.
    pub(super) fn plan(&self, look: &Look) -> Plan {
        let own = self.allocations.own();
        let Overview { workers, limits, counts, now, .. } = &look.overview;
        let fleet = Fleet { workers, limits, in_progress: counts.in_progress, now: *now };
        let wanted = wanted(&self.shape(), &look.runnable, &fleet, own.pending.saturating_add(own.starting));
        let (start, held) = starts(&wanted, &own, &self.bounds, look.runnable.is_halted);
        Plan { wanted, own, start, held }
    }
}

/// Whether a worker holds its allocation: it lives, or nobody knows that it does not.
fn is_there(worker: &WorkerView) -> bool {
    match worker.state {
        WorkerState::Live | WorkerState::Suspect | WorkerState::Draining | WorkerState::Silent => true,
        WorkerState::Drained => worker.is_alive(),
        WorkerState::Dead | WorkerState::Python => false,
    }
}
