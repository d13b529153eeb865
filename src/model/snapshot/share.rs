//! How the cores in use are shared.

use serde::{Deserialize, Serialize};

use crate::model::FairShare;

/// A fair share that is on, and what each owner uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareView {
    /// Who the owners are.
    pub by: FairShare,
    /// Those that use something or have a weight, who uses the most first.
    pub owners: Vec<OwnerUse>,
}

/// What one owner uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnerUse {
    /// Its name; empty for all tasks outside batches.
    pub owner: String,
    /// Cores of its tasks in progress; a task counts as a thousandth of one at least.
    pub cores: f64,
    /// How many times the cores of others it may use.
    pub weight: f64,
}
