//! Metrics as text for Prometheus, encoded at each request from plain numbers. Labels are names of workers and words of ours, and never text of
//! a task.

mod encode;
mod exposition;
mod failures;
mod listener;
mod process;
mod queue;
mod scaling;
mod worker;

pub use exposition::respond;
pub use listener::{HealthProbe, WorkerHealth, pages};
pub use queue::{QueueFigures, queue};
pub use worker::worker;
