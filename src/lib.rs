//! DistComp: a Redis-backed distributed task runner.
pub mod config;
pub mod host;
pub mod model;
pub mod queue;
pub mod view;
