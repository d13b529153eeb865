//! `distcomp-worker`: the daemon of a node, its `--check`, and one machine with nothing set up (`--local`).

mod args;
mod check;
mod load;
mod local;
mod run;

pub use args::WorkerArgs;
pub use local::ResultsFile;
pub use run::main;
