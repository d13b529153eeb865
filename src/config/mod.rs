//! `conf.json`: read once, checked whole, then typed and immutable.
//!
//! [`load()`] reads the file into a mirror of its keys (`raw`), and `resolve` turns that into a [`Config`], or into
//! [`ConfigErrors`] holding every fault of the file at once. [`Watcher`] notices that the file has changed.
//! This layer never prints and never exits; warnings are returned.

mod fault;
mod load;
mod node;
mod paths;
mod raw;
mod redis;
mod redis_url;
mod reload;
mod resolve;
mod settings;
mod values;

#[cfg(test)]
mod tests;

pub use fault::{ConfigErrors, Fault};
pub use load::{DEFAULT_FILE, Environment, Loaded, Overrides, Role, SECRET_VARIABLES, Source, load, secret_variables};
pub use node::{NodeCapacity, node_warnings};
pub use raw::KEYS;
pub use reload::{Change, Fingerprint, Reload, Watcher, carry_over, diff};
pub use settings::{Config, Endpoint, Prefetch, RedisSettings, TlsSettings};
