//! Figures as text for Prometheus, in either of its forms. Encoded when somebody asks, from plain numbers; labels are names of workers and words of ours, never
//! anything of a task.

mod encode;
mod exposition;
mod listener;
mod queue;
mod worker;

pub use exposition::respond;
pub use listener::{Ask, Pulse, pages};
pub use queue::{QueueFigures, queue};
pub use worker::worker;
