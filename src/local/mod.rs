//! One machine, nothing to set up: a private Redis-compatible server, found, started and stopped by us.
//!
//! It listens on a unix socket that only we can open, and keeps its data in a directory of its own per working
//! directory, so that the same command goes on where it was. It never outlives us: see [`LocalServer`].

mod discover;
mod error;
mod leftover;
mod server;
mod socket;

pub use discover::SERVER_VARIABLE;
pub use error::LocalError;
pub use server::LocalServer;
