//! What a worker has beside memory and cores, as it said at its last heartbeat.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Label, Stocks, Traits};

/// How much of a named resource is in use, and all of it; 1 is one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceUse {
    /// In use, by tasks of any worker of the node.
    pub used: f64,
    /// All of it.
    pub total: f64,
}

/// What speaks against a worker: tasks that failed there and then finished elsewhere, with nothing finished there in between.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SuspectEvidence {
    /// How many tasks.
    pub lines: u64,
    /// When the first of them finished elsewhere, seconds since the epoch by the clock of Redis.
    pub since: f64,
    /// When the last did, or when something failed on the worker after that.
    pub at: f64,
    /// Whether the worker takes nothing because of it.
    #[serde(default)]
    pub paused: bool,
    /// The last of them.
    pub tasks: Vec<SuspectTask>,
}

/// A task that speaks against a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspectTask {
    /// Its id.
    pub id: String,
    /// The kind of its last failure.
    #[serde(default)]
    pub kind: String,
}

/// Named resources, labels and time to live of a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerExtras {
    /// What decides what it may take; `None` of one that takes no task with needs, or does not tell.
    #[serde(skip)]
    pub traits: Option<Traits>,
    /// What of its resources is free; `None` where it does not tell.
    #[serde(skip)]
    pub free: Option<Stocks>,
    /// Its resources by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, ResourceUse>,
    /// Its labels, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// When it ends by itself, seconds since the epoch; `None` when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<u64>,
    /// What speaks against it; `None` for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<SuspectEvidence>,
    /// When it died and what became of its tasks; `None` of one that has not, or whose tasks are still being taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub died: Option<Death>,
    /// Whether it was declared dead, and not only found silent by who reads.
    #[serde(skip)]
    pub is_declared_dead: bool,
}

/// The end of a worker that was declared dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// When it was declared dead, seconds since the epoch by the clock of Redis.
    pub at: u64,
    /// How many of its tasks went back to todo.
    pub returned: u64,
    /// How many failed, because their worker had died too often.
    pub failed: u64,
}

impl WorkerExtras {
    /// Of what a heartbeat told.
    #[must_use]
    pub fn of(traits: Option<Traits>, free: Option<Stocks>) -> Self {
        let Some(of) = &traits else { return Self::default() };
        let units = |milli: u64| milli as f64 / 1000.0;
        let resources = of.stocks.0.iter().map(|(name, stock)| {
            let total = stock.total();
            let left = free.as_ref().and_then(|free| free.0.get(name)).map_or(total, crate::model::Stock::total);
            (name.to_string(), ResourceUse { used: units(total.saturating_sub(left)), total: units(total) })
        });
        Self {
            resources: resources.collect(),
            labels: of.labels.iter().map(Label::to_string).collect(),
            ends_at: of.ends_at,
            traits,
            free,
            ..Self::default()
        }
    }

    /// Its resources for people: `gpus 1/2, lic 0/3`; empty for none.
    #[must_use]
    pub fn resources_in_use(&self) -> String {
        let one = |(name, of): (&String, &ResourceUse)| format!("{name} {}/{}", of.used, of.total);
        self.resources.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}
