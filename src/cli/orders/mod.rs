//! What an operator orders, whichever way: which tasks, batches or workers it concerns, and how the change is made. `distcomp-ctl` prints and asks
//! around this, and the operator's pages of `distcomp-status serve` do.

mod batches;
mod execution;
mod gone;
mod queue;
mod select;
mod select_args;
mod select_file;
mod selected;
mod workers;

pub(crate) use batches::{BatchResume, batch_pause_plan, joined, pause_batches, whole};
pub(crate) use execution::{Execution, Interrupted, plan_text, result_text};
pub(crate) use gone::{is_gone, take_over};
pub(crate) use queue::{pause_plan, pause_queue, resume_plan, resume_queue};
pub(crate) use select::{Selector, Verb, verb};
pub(crate) use select_args::SelectArgs;
pub(crate) use selected::Selected;
pub(crate) use workers::{
    drain_plan, drain_workers, drainable, here, resume_workers, resumed_text, undrain_plan, worker_names,
};
