//! The slots of a worker, each with its keeper. The dispatcher names the slot of every task and owns the order of those that wait in it; what is here
//! passes commands on and says what came of them.
//!
//! `pool` has a sender for each slot, `actor` is the loop of one, `protocol` knows what its keeper owes.

mod actor;
mod isolation_env;
mod pool;
mod protocol;
mod run_spec;

pub use pool::SlotPool;
pub use protocol::{OutputReply, SlotMessage};
