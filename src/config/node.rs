//! What a configuration means on a particular node.

use super::settings::Config;
use crate::model::{Bytes, MilliCores};

/// The size of a node, limits of containers and cgroups included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeCapacity {
    /// All the memory a worker here may use.
    pub mem: Bytes,
    /// All the cores a worker here may use.
    pub cores: MilliCores,
}

/// Settings that keep this node from ever taking a task, one line each.
#[must_use]
pub fn node_warnings(config: &Config, node: &NodeCapacity) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.min_dram_accept >= node.mem {
        warnings.push(format!(
            "min_dram_gb_accept_new_task is {}, and this node has {} in all: it will never accept a task",
            config.min_dram_accept, node.mem
        ));
    }
    if config.min_free_cores > node.cores {
        warnings.push(format!(
            "min_free_cpu_cores is {}, and this node has {} in all: it will never accept a task",
            config.min_free_cores, node.cores
        ));
    }
    warnings
}
