//! `distcomp-worker --local`: runs tasks on one machine without any set-up, with a private server, one worker, a progress bar and a summary.
//!
//! A run is its command line's tasks: `setup` sets what others have left aside, `run_worker` runs the worker and keeps the server, `report` judges.
//! Meanwhile `run_watch` follows what ends: `run_ends` counts it, `ended_writer` prints it and keeps the job log.

mod display;
mod ended_writer;
mod joblog_file;
mod report;
mod results;
mod results_table;
mod roster;
mod run;
mod run_context;
mod run_ends;
mod run_watch;
mod run_worker;
#[cfg(test)]
mod sample_tests;
mod server_watch;
mod setup;
mod stream_file;
mod task_output;

pub use results_table::ResultsFile;
pub(super) use run::run;
