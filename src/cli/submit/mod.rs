//! `distcomp-submit`: adds task files to the queue.
//!
//! Everything is checked (`check`) before the first line goes in (`send`); `wait` follows them to their end.

mod args;
mod bashisms;
mod check;
mod file_kind;
mod input;
mod plausibility;
mod run;
mod send;
mod sign;
pub(crate) mod task_file;
mod wait;

pub use args::SubmitArgs;
pub(crate) use input::{Input, are_there};
pub use run::main;
pub(crate) use run::{Files, open_files, submit_files};
