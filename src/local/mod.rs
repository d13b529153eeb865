//! The private Redis-compatible server of `--local`: found, started and stopped by us, with nothing to set up.
//!
//! It listens on a unix socket that only we can open, and keeps its data in a directory of its own per working
//! directory, so that the same command goes on where it was. It never outlives us: see [`LocalServer`].

mod access;
mod discover;
mod disk;
mod error;
mod launch;
mod leftover;
mod place;
mod server;
mod socket;

pub use access::{Following, LocalAccess};
pub use discover::SERVER_VARIABLE;
pub use disk::{full_disk, refusal_of_disk};
pub use error::LocalError;
pub use place::{has_queue, socket_of};
pub use server::LocalServer;
