//! The commands: flags, then library calls, then an exit code. The only place that names `clap`.

pub mod common;
pub mod ctl;
mod duration;
pub mod exit;
mod find;
mod generate;
mod groups;
mod keys;
mod local;
mod members;
pub mod output;
mod results;
mod secrets;
mod spool;
pub mod status;
pub mod submit;
pub mod worker;
