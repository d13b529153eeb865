//! The screens of `watch`, and the data that they show.

use std::collections::HashMap;

use super::list::Sorting;
use super::listed::ListedTasks;
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
    /// What waits.
    Waiting,
    /// What has finished.
    Finished,
}

impl Screen {
    /// In the order of their keys.
    pub const ALL: [Self; 7] =
        [Self::Overview, Self::Workers, Self::Running, Self::Failures, Self::Batches, Self::Waiting, Self::Finished];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Workers => "Workers",
            Self::Running => "Running",
            Self::Failures => "Failures",
            Self::Batches => "Batches",
            Self::Waiting => "Waiting",
            Self::Finished => "Finished",
        }
    }

    /// Its name where there is no room for all names.
    pub(super) fn short_name(self) -> &'static str {
        match self {
            Self::Overview => "All",
            Self::Workers => "Work",
            Self::Running => "Run",
            Self::Failures => "Fail",
            Self::Batches => "Batch",
            Self::Waiting => "Wait",
            Self::Finished => "Done",
        }
    }

    /// What its rows are, for the key that opens one; `None` where nothing can be opened.
    pub(super) fn opens(self) -> Option<&'static str> {
        match self {
            Self::Overview => None,
            Self::Workers => Some("worker"),
            Self::Running | Self::Waiting | Self::Finished => Some("task"),
            Self::Failures => Some("sample"),
            Self::Batches => Some("batch"),
        }
    }

    /// How it is sorted at first; `None`: as the rows come.
    pub(super) fn sorting(self) -> Option<Sorting> {
        const AGE: usize = 3;
        const FAILED: usize = 0;
        match self {
            Self::Running => Some(Sorting { column: AGE, is_descending: true }),
            Self::Failures => Some(Sorting { column: FAILED, is_descending: true }),
            Self::Overview | Self::Workers | Self::Batches | Self::Waiting | Self::Finished => None,
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
    /// A worker. Everything that its page says is read always.
    Worker(String),
}

/// What is looked at, beside what is read always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The page that is open.
    pub opened: Option<Wanted>,
    /// The screen that is seen, if no page is open.
    pub list: Option<Screen>,
    /// Whether the page shows what the task printed with its escapes.
    pub is_raw: bool,
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
    /// Some tasks that wait, if they were looked at.
    pub waiting: Option<ListedTasks>,
    /// Some tasks that have finished, if they were looked at.
    pub finished: Option<ListedTasks>,
    /// By their ids, the lines of running tasks of which workers tell only the beginning, if they were looked at.
    pub lines: HashMap<String, String>,
    /// When, as a clock shows it.
    pub clock: String,
}
