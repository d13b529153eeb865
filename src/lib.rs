//! DistComp: a Redis-backed distributed task runner. One daemon a node runs shell commands from a queue in Redis; other programs put
//! them there, show them and change them.
//!
//! # Layers
//!
//! A module imports only from the rows above it, and no modules import each other in a circle; `tests/it/layers.rs` enforces both.
//!
//! | | modules | |
//! | --- | --- | --- |
//! | 0 | [`model`] | the nouns: task lines, amounts, records. Pure data |
//! | 1 | [`policy`], [`compose`], [`safe_dir`], [`sys`] | the decisions: admission, deadlines, polling. Pure functions, time is an argument. Task lines made of commands, templates and values. Also directories opened safely, and what the kernel reports |
//! | 2 | [`config`] | `conf.json`, checked whole |
//! | 3 | [`queue`], [`process`], [`host`], [`local`], [`signing`], [`view`], [`telemetry`] | the edges: Redis, process trees, the node, a private server, keys and signatures, what people see, logs |
//! | 4 | [`worker`] | the daemon: one file a loop, one dispatcher that decides |
//! | 5 | [`cli`] | the programs |
//!
//! # A claim's journey
//!
//! The [`worker::dispatcher`] knows what the node has room for and asks the poller for a batch. [`queue::session`] runs one script,
//! `lua/claim.lua`: the best waiting tasks that fit move from `todo_tasks` to `in_progress_tasks`, each with a token. [`model::task_line`] parses
//! them, [`policy::admission`] lets them in, a keeper ([`process`]) runs each as a tree it can end completely. How it ended goes to the reporter, which
//! settles batches by `lua/settle.lua`: refused when the claim is no longer ours. The heartbeater keeps the lease, the reclaimer takes over from
//! workers whose lease has run out, the indexer follows what others write to the hashes.
//!
//! # Where to start reading
//!
//! `model/task_line.rs`, `worker/events.rs`, `worker/dispatcher/`, `policy/admission.rs`, `queue/keys.rs`, `queue/lua/shared/lanes.lua`,
//! `queue/lua/claim.lua`, `process/mod.rs`.

pub mod cli;
pub mod compose;
pub mod config;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod host;
pub mod local;
pub mod model;
pub mod policy;
pub mod process;
pub mod queue;
pub mod safe_dir;
pub mod signing;
pub mod sys;
pub mod telemetry;
pub mod view;
pub mod worker;
