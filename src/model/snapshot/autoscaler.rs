//! How an autoscaler stands, as it last said.

use serde::{Deserialize, Serialize};

/// An autoscaler. Its record in Redis is this as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoscalerView {
    /// Its name.
    pub name: String,
    /// Where it starts workers: `slurm`, `pbs`, `ssh` or `command`.
    pub provider: String,
    /// The shape of its workers.
    pub shape: String,
    /// When it last said so, seconds since the epoch by the clock of Redis.
    pub at: u64,
    /// Seconds between two looks.
    pub interval: u64,
    /// The most workers it may have.
    pub max_workers: u64,
    /// Workers of its own that are attached.
    pub workers: u64,
    /// Allocations of its own that wait at the provider.
    pub pending: u64,
    /// Allocations of its own that run and whose worker has not attached yet.
    pub starting: u64,
    /// Workers of the shape that are wanted in all.
    pub wanted: u64,
    /// Starts that the provider refused, or whose worker never attached, since the record began.
    pub failures: u64,
    /// Why it is paused; `None` while it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// What keeps it from doing its work now; `None` for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether it has ended by itself.
    pub is_stopped: bool,
    /// Where it runs: `HOST:PID`.
    pub holder: String,
    /// What a worker of its own has shown that a node offers, as scripts write it; for the flags in `flags`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_offer: Option<String>,
    /// The flags by which `seen_offer` was seen.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub flags: String,
    /// Allocations that it has started and whose worker has not attached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub started: Vec<String>,
}

impl AutoscalerView {
    /// Seconds after which one that has said nothing is shown as silent.
    #[must_use]
    pub fn silent_after(&self) -> u64 {
        self.interval.saturating_mul(3).max(30)
    }

    /// Seconds for which it has been silent, where that is too long.
    #[must_use]
    pub fn silent_for(&self, now: u64) -> Option<u64> {
        let age = now.saturating_sub(self.at);
        (!self.is_stopped && age > self.silent_after()).then_some(age)
    }
}
