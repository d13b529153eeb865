//! What `conf.json` promises, as tables.

mod file;
mod fixture;
mod keys;
mod redis;
mod watching;
