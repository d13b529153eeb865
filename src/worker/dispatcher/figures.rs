//! What the worker tells of itself to whoever measures it.

use super::Dispatcher;
use crate::model::meters::WorkerFigures;

impl Dispatcher {
    pub(super) fn figures(&self) -> WorkerFigures {
        let budget = self.ledger.budget();
        WorkerFigures {
            worker: self.me.worker.to_string(),
            meters: self.meters.clone(),
            running: budget.tasks,
            slots: self.slots(),
            held: u32::try_from(self.ledger.held().len()).unwrap_or(u32::MAX),
            is_linked: self.lease.is_linked(),
            is_suspect: self.intake.is_suspect(),
            is_open: self.departure.is_open(),
            waiting: self.intake.waiting(),
            usage: self.node.usage(),
            reserved: budget.untouched,
            stocks: self.placement.traits().stocks.clone(),
            free: self.placement.free(),
        }
    }
}
