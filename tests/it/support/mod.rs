//! What every test stands on: a private server, the four binaries, and ways to wait and to look at processes.
//!
//! Nothing here imports the library: the tests see what a user sees.
mod bed;
mod browser;
mod cli;
mod clock;
mod cluster;
mod dashboard;
mod disk;
mod gates;
mod held;
mod http;
mod invariants;
mod limits;
mod proxy;
mod redis;
mod stopwatch;
mod tree;
mod two_steps;
mod wait;
mod worker;

pub(crate) use bed::{Bed, Table, decode, lines_of, read, reason_of, result_of, run_times, task_id};
pub(crate) use browser::Browser;
pub(crate) use cli::{Cli, Output, Started, bin};
pub(crate) use clock::Clock;
pub(crate) use cluster::Cluster;
pub(crate) use dashboard::Dashboard;
pub(crate) use disk::{fill, has_small_disks, on_disk_of_few_files, on_small_disk, seen_by};
pub(crate) use http::{Answer, read_head, request, send, try_request};
pub(crate) use invariants::{Checker, Report, Snapshot};
pub(crate) use proxy::{Mode, Proxy};
pub(crate) use redis::{Redis, ServerOptions, acl_file, acl_password, free_port, make_secrets, server_program};
pub(crate) use stopwatch::Stopwatch;
pub(crate) use tree::{UniqueSleep, begun, kill_all, unique_sleep, with_argv, with_mark};
pub(crate) use wait::{SOON, holds_for, stays, wait_until};
pub(crate) use worker::Worker;
