//! `distcomp-ctl`: an operator's changes to the queue. Each command says what it will do, and asks.

mod args;
mod autoscale;
mod batches;
mod change;
mod confirm;
mod context;
mod down;
mod edit;
mod edit_plan;
mod fleet;
mod host_args;
mod hosts;
mod keygen;
mod limit;
mod order;
mod quarantine;
mod reclaim;
mod resign;
mod run;
mod share;
mod ssh;
mod switch;
mod up;

pub use args::CtlArgs;
pub(super) use order::perform;
pub use run::main;
