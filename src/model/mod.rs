//! The nouns: pure data, no IO, no clock, no async.
//!
//! Start with [`task_line`], the only parser of the task-line grammar.

pub mod amounts;
pub mod batch;
pub mod class;
pub mod demand;
pub mod event;
pub mod evidence;
pub mod failure_cause;
pub mod failure_reason;
pub mod family;
pub mod field;
pub mod finished_value;
pub mod json_text;
pub mod labels;
pub mod learnt;
pub mod limit;
pub mod listing;
pub mod meters;
pub mod needs;
pub mod node;
pub mod outcome;
pub mod resource;
pub mod safe_text;
pub mod share;
pub mod snapshot;
pub mod spread;
pub mod stdout_record;
pub mod stock;
pub mod task;
pub mod task_line;
pub mod traits;
pub mod units;

pub use amounts::Amounts;
pub use batch::{BatchName, Belonging, Gate, NoBatchName, Upstream, is_tag};
pub use class::{Class, Lane};
pub use demand::{Demand, Fit, Offer, Room, Shortage};
pub use event::Event;
pub use evidence::{AttemptRecord, PeakSource};
pub use field::{Field, FieldOrder, TaskLineError};
pub use finished_value::FinishedValue;
pub use json_text::{ascii_json, text_of_json};
pub use labels::{Constraint, Label, Labels};
pub use limit::{Limit, LimitName, NoLimit, NoLimitName};
pub use needs::{Amount, NeedError, Needs, ResourceName};
pub use node::{NodeSample, Usage};
pub use outcome::Outcome;
pub use resource::{Accounting, ResourceKind};
pub use share::{FairShare, NoWeight, Weight};
pub use stdout_record::{StdoutRecord, TrimmedSpace};
pub use stock::{Stock, Stocks};
pub use task::{TaskId, WorkerName, WorkerNameError};
pub use task_line::{TaskKind, TaskLine};
pub use traits::{Traits, Unsuited};
pub use units::{Bytes, MilliCores};
