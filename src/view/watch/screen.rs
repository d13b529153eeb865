//! The screens of `watch`, and the data that they show.

use crate::model::snapshot::{FailureGroup, Overview};

/// The screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// The whole at a glance.
    Overview,
    /// Every worker.
    Workers,
    /// What runs.
    Running,
    /// What failed, by kind.
    Failures,
}

impl Screen {
    /// In the order of their keys.
    pub const ALL: [Self; 4] = [Self::Overview, Self::Workers, Self::Running, Self::Failures];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Workers => "Workers",
            Self::Running => "Running",
            Self::Failures => "Failures",
        }
    }
}

/// What was read last.
#[derive(Clone, Debug, Default)]
pub struct WatchData {
    /// The queue.
    pub overview: Overview,
    /// Every group of failures, with the reason of its sample.
    pub failures: Vec<FailureGroup>,
    /// When, as a clock shows it.
    pub clock: String,
}
