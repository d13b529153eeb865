//! Black-box tests: the four binaries against a real, private Redis, one file per group of promises.
//!
//! `tests/README.md` says how to run and extend them.
mod support;

mod config_cli;
mod containment;
mod ctl;
mod errors;
mod events;
mod examples;
mod faults;
mod foreign;
mod glance;
mod harness;
mod keeper_output;
mod keepers;
mod layers;
mod lifecycle;
mod local;
mod logs;
mod order;
mod packaging;
mod python_interop;
mod queue_model;
mod retry;
mod running;
mod screens;
mod soak;
mod status;
mod submit;
mod task_lines;
mod time_outs;
mod watch;
mod wire_format;
