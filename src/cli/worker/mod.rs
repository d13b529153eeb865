//! `distcomp-worker`: the daemon of a node, its `--check`, and one machine with nothing set up (`--local`).

mod args;
mod check;
mod load;
mod local;
mod remote_flags;
mod run;

pub use args::WorkerArgs;
pub use local::ResultsFile;
pub(super) use remote_flags::check_flags;
pub use run::main;
