//! Redis: the only code that names the `redis` crate.
//!
//! Keys are in [`keys`], one script a file in `lua/`, bound in `scripts`. [`Client`] knows where Redis is, [`Connection`] is one connection to it.
//! A worker acts through a [`Session`], an operator through [`control`] and [`submit`], a reader through [`inspect`]. The index of waiting tasks
//! follows foreign writes through [`index`].
//!
//! This module must never run a command whose cost grows with the queue on a periodic path.

pub mod browse;
pub mod client;
pub mod control;
pub mod error;
pub mod guard;
pub mod index;
pub mod inspect;
pub mod keys;
pub mod reclaim;
mod scripts;
pub mod select;
pub mod session;
pub mod submit;
pub mod wake;

pub use client::{Client, Connection};
pub use error::QueueError;
pub use keys::{CLOSE, Key, Keys};
pub use session::Session;
