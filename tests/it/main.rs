//! Black-box tests: the four binaries against a real, private Redis, one file per group of promises.
//!
//! `tests/README.md` says how to run and extend them.
mod support;

mod harness;
