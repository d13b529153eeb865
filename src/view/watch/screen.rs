//! The screens of `watch`, and the data that they show.

use crate::model::BatchName;
use crate::model::snapshot::{BatchList, FailureGroup, Overview};

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
    /// The batches.
    Batches,
}

impl Screen {
    /// In the order of their keys.
    pub const ALL: [Self; 5] = [Self::Overview, Self::Workers, Self::Running, Self::Failures, Self::Batches];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Workers => "Workers",
            Self::Running => "Running",
            Self::Failures => "Failures",
            Self::Batches => "Batches",
        }
    }
}

/// What Enter opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A task: its line or its id.
    Task(String),
    /// A batch.
    Batch(BatchName),
}

/// What is looked at, beside what is read always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The page that is open.
    pub opened: Option<Wanted>,
    /// Whether the list of batches is seen.
    pub has_batches: bool,
}

/// What was read last.
#[derive(Clone, Debug, Default)]
pub struct WatchData {
    /// The queue.
    pub overview: Overview,
    /// Every group of failures, with the reason of its sample.
    pub failures: Vec<FailureGroup>,
    /// The batches, if they were looked at.
    pub batches: Option<BatchList>,
    /// When, as a clock shows it.
    pub clock: String,
}
