//! The commands: flags, then library calls, then an exit code. The only place that names `clap`.

pub mod common;
mod completion;
pub mod ctl;
mod duration;
pub mod exit;
mod find;
pub mod front;
mod generate;
mod groups;
mod joblog;
mod keys;
mod known_batches;
mod local;
mod manual;
mod near;
pub mod output;
mod reconnect;
mod results;
mod run_help;
mod secrets;
mod spill_list;
pub mod status;
pub mod submit;
mod task_group;
mod task_set;
mod words;
pub mod worker;
