//! DistComp: a Redis-backed distributed task runner.
pub mod cli;
pub mod config;
pub mod host;
pub mod local;
pub mod model;
pub mod policy;
pub mod process;
pub mod queue;
pub mod telemetry;
pub mod view;
pub mod worker;
