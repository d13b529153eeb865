//! The attempts of the last minutes, as the event log tells of them.

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecentEnd {
    /// It runs.
    Runs,
    /// It finished.
    Finished,
    /// It failed.
    Failed,
    /// It was given back.
    Returned,
    /// Its worker died.
    Lost,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct RecentAttempt {
    /// The task's id; empty where the log has only the beginning of its line.
    pub id: String,
    /// The worker.
    pub worker: String,
    /// When it started, seconds since the epoch.
    pub start: f64,
    /// When it ended; `None` while it runs.
    pub end: Option<f64>,
    /// Whether it runs, and how it ended if not.
    pub ended: RecentEnd,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Peak memory over the memory that it declared, where both are known.
    pub peak_over_declared: Option<f64>,
}

/// The attempts of the last minutes, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecentAttempts {
    /// The attempts.
    pub attempts: Vec<RecentAttempt>,
    /// From when on these are all, seconds since the epoch; 0 = the log holds no older ones.
    pub complete_since: f64,
}
