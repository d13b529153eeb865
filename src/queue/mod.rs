//! Redis: the only code that names the `redis` crate.
//!
//! Keys are in [`keys`], one script a file in `lua/`, bound in `scripts`. [`Client`] knows where Redis is, [`Connection`] is one connection to it.
//! A worker acts through a [`Session`], an operator through [`control`] and [`submit`], a reader through [`inspect`]. The index of waiting tasks
//! follows foreign writes through [`index`].
//!
//! This module must never run a command whose cost grows with the queue on a periodic path.

mod args;
pub mod aside;
pub mod auth_probe;
pub mod autoscale;
mod batch_cancelled;
pub mod batch_forget;
pub mod batch_gates;
pub mod batch_names;
pub mod batch_steps;
pub mod batch_stuck;
pub mod batch_times;
pub mod batch_views;
pub mod batches;
pub mod browse;
pub mod call_size;
mod cells;
pub mod client;
pub mod control;
mod dialer;
pub mod edit;
pub mod error;
pub mod events;
pub mod failure_details;
pub mod find;
pub mod follow;
pub mod guard;
pub mod history;
mod homes;
pub mod index;
pub mod inspect;
pub mod keys;
pub mod kinds;
mod lanes;
pub mod layout;
pub mod learnt;
pub mod limits;
pub mod lists;
mod live_workers;
mod lock;
mod lossy_string;
mod output;
mod overview;
pub mod preflight;
mod python_workers;
pub mod queue_identity;
pub mod recent;
pub mod reclaim;
pub mod reconcile;
mod records;
mod reply;
pub mod runnable;
mod scripts;
pub mod select;
mod sentinel;
pub mod session;
pub mod share;
pub mod submit;
pub mod take_over;
mod task_views;
pub mod wakeups;

pub use client::{Client, Connection};
pub use error::QueueError;
pub use keys::{Key, Keys, STOP_FIELD};
pub use layout::Layouts;
pub use live_workers::{LiveWorkers, live_workers};
pub use session::Session;

/// Feeds bytes, as a server could send them, to every decoder of answers. What they make of it is answered for others to show.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) -> (Option<crate::model::snapshot::Overview>, Vec<crate::model::snapshot::TaskView>) {
    output::fuzz(bytes);
    let Ok(redis::Value::Array(values)) = redis::parse_redis_value(bytes) else { return (None, Vec::new()) };
    session::fuzz(&values);
    reclaim::fuzz(&values);
    inspect::fuzz(&values)
}
