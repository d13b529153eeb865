//! `distcomp-worker --local`: runs tasks on one machine without any set-up, with a private server, one worker, a progress bar and a summary.
//!
//! A run is its command line's tasks: `setup` sets what others have left aside, `run_worker` runs the worker and keeps the server, `report` judges.

mod display;
mod report;
mod results;
mod run;
mod run_context;
mod run_worker;
mod server_watch;
mod setup;

pub(super) use run::run;
