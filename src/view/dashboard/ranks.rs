//! Which workers come first.

use crate::model::snapshot::{Overview, WorkerState, WorkerView};

/// What asks for attention comes first; equals stay in the order of their names.
fn rank(state: WorkerState) -> u8 {
    match state {
        WorkerState::Dead => 0,
        WorkerState::Silent => 1,
        WorkerState::Suspect => 2,
        WorkerState::Draining => 3,
        WorkerState::Drained => 4,
        WorkerState::Live | WorkerState::Python => 5,
    }
}

/// All workers, those that are not live first.
pub(super) fn in_order(overview: &Overview) -> Vec<&WorkerView> {
    let mut workers: Vec<&WorkerView> = overview.workers.iter().collect();
    workers.sort_by_key(|worker| rank(worker.state));
    workers
}
