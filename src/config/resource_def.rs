//! What `resources` says of one resource.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The resource that is found by itself.
pub const GPUS: &str = "gpus";

/// What a node has of a resource, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceDef {
    /// What is found. Of GPUs alone.
    Auto,
    /// Devices by name; none switches the resource off.
    Devices(Vec<Arc<str>>),
    /// An amount in thousandths; 0 switches the resource off.
    Sum(u64),
}

/// Resources by name; GPUs are there whether they are configured or not.
pub type ResourceDefs = BTreeMap<Arc<str>, ResourceDef>;
