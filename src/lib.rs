//! DistComp: a Redis-backed distributed task runner.
pub mod config;
pub mod model;
pub mod policy;
pub mod queue;
