//! The decisions: pure functions and state machines. Time is an argument; nothing here does IO.

pub mod admission;
pub mod capacity;
pub mod deadline;
pub mod estimate;
pub mod gather;
pub mod lifecycle;
pub mod polling;
pub mod prefetch;
pub mod retry;
pub mod standing;
pub mod witness;

pub use admission::{Budget, Limits, Reservation, Wait};
pub use capacity::Capacity;
pub use deadline::Deadlines;
pub use lifecycle::Lifecycle;
pub use polling::Polling;
pub use standing::Standing;
pub use witness::Witness;
