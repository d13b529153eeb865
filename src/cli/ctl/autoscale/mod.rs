//! `autoscale`: starts workers at a provider, such as Slurm, as the waiting tasks want them. The workers end by themselves.
//!
//! `run` is the command, `scaler` its loop, `planner` what it decides by, `provider` what it acts through. Its state is the provider's own list and the workers that are
//! registered: killing it loses nothing.

mod args;
mod closing;
mod command;
mod keeper;
mod launch;
mod once;
mod pbs;
mod planner;
mod provider;
mod run;
mod scaler;
mod slurm;
mod ssh;
mod starting;
mod telling;

#[expect(unreachable_pub, reason = "a flag of a public command")]
pub use args::AutoscaleArgs;
pub(super) use run::autoscale;
