//! Figures as text for Prometheus (OpenMetrics). Encoded when somebody asks, from plain numbers; labels are names of workers and words of ours, never
//! anything of a task.

mod encode;
mod listener;
mod queue;
mod worker;

pub use encode::CONTENT_TYPE;
pub use listener::{Ask, Pulse, pages};
pub use queue::{QueueFigures, queue};
pub use worker::worker;
