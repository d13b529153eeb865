//! How a limit stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A limit, and what counts against it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitView {
    /// The name that tasks count against.
    pub limit: String,
    /// How many tasks may be in progress; `None` where no limit is set and tasks name it.
    pub max: Option<u32>,
    /// How many of them on one node; `None` for as many as in all.
    pub per_node: Option<u32>,
    /// How many tasks count against it: in progress, or stopped by an order and not yet dead.
    pub in_use: u64,
    /// How many tasks wait that name it and are not blocked.
    pub waiting: u64,
    /// How many count on each host, where the limit has a number for a node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, u64>,
}

impl LimitView {
    /// Whether no task that names it can start, wherever.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.max.is_some_and(|max| self.in_use >= u64::from(max)) || self.per_node == Some(0)
    }

    /// Whether no more of its tasks can start on this host.
    #[must_use]
    pub fn is_full_on(&self, host: &str) -> bool {
        let here = self.nodes.get(host).copied().unwrap_or(0);
        self.is_full() || self.per_node.is_some_and(|most| here >= u64::from(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_full_in_all_or_on_a_node() {
        let view = LimitView { max: Some(3), per_node: Some(2), in_use: 2, ..LimitView::default() };
        let view = LimitView { nodes: BTreeMap::from([("a".to_owned(), 2)]), ..view };
        assert!(!view.is_full() && view.is_full_on("a") && !view.is_full_on("b"));
        assert!(LimitView { in_use: 3, ..view.clone() }.is_full_on("b"));
        assert!(!LimitView { max: None, per_node: None, ..view }.is_full_on("a"), "nothing is limited");
    }
}
