//! What `conf.json` guarantees, as tables.

mod file;
mod fixture;
mod keys;
mod redis;
mod watching;
