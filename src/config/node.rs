//! Warns about settings under which a node of this size never takes a task.

use super::settings::Config;
use crate::model::{Accounting, Amounts, ResourceKind};

impl Config {
    /// How much of each kind must be free before anything starts; 0 where it is not looked at.
    #[must_use]
    pub fn accept(&self) -> Amounts {
        Amounts::NONE.with_mem(self.min_dram_accept).with_cpu(self.min_free_cores)
    }
}

/// Settings that keep a node of this size, limits of containers and cgroups included, from ever taking a task, one line each.
#[must_use]
pub fn node_warnings(config: &Config, node: &Amounts) -> Vec<String> {
    let accept = config.accept();
    let warning = |kind: ResourceKind| {
        let (least, total) = (accept.get(kind), node.get(kind));
        let is_never_free = match kind.accounting() {
            // The system itself takes some of what is measured.
            Accounting::Measured => least >= total,
            Accounting::Declared => least > total,
        };
        let key = kind.threshold().filter(|_| least > 0 && is_never_free)?;
        let (least, total) = (kind.exact(least), kind.exact(total));
        Some(format!("{key} is {least}, but this node has only {total}: it will never accept a task"))
    };
    ResourceKind::ALL.into_iter().filter_map(warning).collect()
}
