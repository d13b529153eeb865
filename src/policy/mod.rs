//! The decisions: pure functions and state machines. Time is an argument; nothing here does IO.

pub mod admission;
pub mod allocations;
pub mod capacity;
pub mod coalesce;
pub mod cores;
pub mod deadline;
mod demand_sum;
pub mod estimate;
pub mod failure_detector;
pub mod halt;
pub mod lifecycle;
pub mod lifetime;
pub mod line_pattern;
pub mod memory;
pub mod ongoing_fault;
pub mod polling;
pub mod pools;
pub mod prefetch;
pub mod retry;
pub mod scaling;
pub mod start_record;
mod worker_room;

pub use admission::{Budget, Limits, Reservation, Wait};
pub use capacity::Capacity;
pub use cores::Cores;
pub use deadline::Deadlines;
pub use failure_detector::FailureDetector;
pub use halt::Halt;
pub use lifecycle::Lifecycle;
pub use lifetime::Lifetime;
pub use memory::{MemoryEnd, MemoryRetry};
pub use ongoing_fault::OngoingFault;
pub use polling::Polling;
pub use pools::Pools;
