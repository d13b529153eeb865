//! Black-box tests: the four binaries against a real, private Redis, one file per group of promises.
//!
//! `tests/README.md` says how to run and extend them.
mod support;

mod config_cli;
mod containment;
mod ctl;
mod dashboard;
mod errors;
mod examples;
mod faults;
mod foreign;
mod harness;
mod keeper_output;
mod keepers;
mod layers;
mod lifecycle;
mod local;
mod metrics;
mod order;
mod python_interop;
mod queue_model;
mod retry;
mod running;
mod soak;
mod status;
mod submit;
mod task_lines;
mod time_outs;
mod wire_format;
