//! `distcomp-worker --local`: one machine, nothing to set up. A private server, one worker, a bar, a summary, and nothing left behind.
//!
//! A run is its command line's tasks: `ground` sets what others have left aside, `drive` runs the worker and keeps the server, `report` judges.

mod drive;
mod ground;
mod keep;
mod report;
mod results;
mod run;
mod shared;
mod show;

pub(super) use run::run;
