//! What the dashboard and the pages of metrics stand on: a bounded HTTP server, and the checks that every request goes through.

mod access;
mod guard;
mod reading;
mod server;

pub use access::{Access, MIN_TOKEN, WeakToken};
pub use guard::{Guard, is_loopback};
pub(in crate::view) use guard::{check, refuse};
pub use server::{Limits, serve};
