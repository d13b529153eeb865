//! `distcomp-ctl`: an operator's changes to the queue. Each says what it will do, and asks.

mod args;
mod change;
mod confirm;
mod keygen;
mod quarantine;
mod reclaim;
mod run;
mod select;
mod session;
mod switch;

pub use args::CtlArgs;
pub use run::main;
