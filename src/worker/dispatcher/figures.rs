//! What the worker tells of itself to whoever measures it.

use super::Dispatcher;
use crate::model::FailureKind;
use crate::model::meters::{OutcomeKind, WorkerFigures};
use crate::queue::session::{Settle, Settlement};

impl Dispatcher {
    pub(super) fn figures(&self) -> WorkerFigures {
        let node = self.node.unwrap_or_default();
        let budget = self.ledger.budget();
        WorkerFigures {
            worker: self.me.worker.to_string(),
            meters: self.meters.clone(),
            running: budget.tasks,
            slots: self.slots(),
            held: u32::try_from(self.ledger.held().len()).unwrap_or(u32::MAX),
            is_linked: self.is_linked,
            is_open: self.lifecycle.is_open(),
            waiting: self.last.as_ref().map(|last| last.waiting),
            usage: node.usage(),
            reserved: budget.untouched,
        }
    }
}

/// Under which kind an outcome is counted.
pub(super) fn kind_of(settle: &Settle) -> OutcomeKind {
    match &settle.settlement {
        Settlement::Finish { .. } => OutcomeKind::Finished,
        Settlement::Return if settle.record.is_some() => OutcomeKind::Returned,
        Settlement::Return => OutcomeKind::Unstarted,
        Settlement::Fail { kind, .. } => match kind {
            FailureKind::Exit(_) => OutcomeKind::Exit,
            // A lost keeper kills the tree.
            FailureKind::Signal(_) | FailureKind::Lost | FailureKind::Cancelled => OutcomeKind::Signal,
            FailureKind::TimedOut(_) => OutcomeKind::TimedOut,
            FailureKind::Memory => OutcomeKind::Memory,
            FailureKind::Spawn => OutcomeKind::Spawn,
            FailureKind::Invalid => OutcomeKind::Invalid,
            FailureKind::Unsigned => OutcomeKind::Unsigned,
        },
    }
}
