//! The daemon: one file a loop. [`events`] lists what can happen and what can be done; `dispatcher` stands between them and owns the state.
//!
//! Reading order: [`events`], [`dispatcher`], [`ledger`], [`daemon`].

mod action_executor;
pub mod attach;
pub mod boot;
mod claim_comparison;
pub mod claim_reconciler;
pub mod coalescing;
pub mod daemon;
pub mod dispatcher;
pub mod events;
mod expiry;
mod failpoint;
pub mod faults;
pub mod file_thread;
pub mod heartbeater;
mod historian;
pub mod indexer;
pub mod keeper_factory;
pub mod keepers;
pub mod ledger;
pub mod link;
mod local_orphans;
mod loops;
pub mod metrics;
pub mod node_extras;
pub mod outcome;
pub mod outputs;
mod pending_outcomes;
pub mod placed;
pub mod placement;
pub mod poller;
pub mod reclaimer;
mod record_reconciler;
pub mod rehearsal;
mod releaser;
pub mod reloader;
pub mod replay_buffer;
pub mod reporter;
pub mod results;
pub mod sampler;
pub mod signals;
pub mod slot;
pub mod spool;
pub mod start_checks;
pub mod state;
pub mod timeout_monitor;
pub mod trust;
pub mod waker;

pub use boot::{BootPlan, boot};
pub use daemon::{Setup, run};
pub use dispatcher::Identity;
pub use keeper_factory::KeeperFactory;
pub use local_orphans::LocalOrphans;
pub use metrics::Metrics;
