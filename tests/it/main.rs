//! Black-box tests: the four binaries against a real, private Redis, one file per group of promises.
//!
//! `tests/README.md` says how to run and extend them.
mod support;

mod acl;
mod config_cli;
mod confine;
mod containment;
mod ctl;
mod dashboard;
mod enforce;
mod errors;
mod events;
mod examples;
mod faults;
mod foreign;
mod harness;
mod hostile_text;
mod keeper_output;
mod keepers;
mod layers;
mod leaks;
mod lifecycle;
mod local;
mod logs;
mod make_secrets;
mod metrics;
mod order;
mod python_interop;
mod queue_model;
mod retry;
mod running;
mod sentinel;
mod signed;
mod soak;
mod spawning;
mod status;
mod strangers;
mod submit;
mod task_lines;
mod time_outs;
mod tls;
mod wake;
mod wire_format;
