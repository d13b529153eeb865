//! DistComp: a Redis-backed distributed task runner.
pub mod model;
pub mod process;
