//! A point of the charts.

use serde::Serialize;

/// What the charts show of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Point {
    /// Seconds since the epoch.
    pub(super) t: f64,
    pub(super) todo: u64,
    pub(super) running: u64,
    pub(super) slots: u64,
    pub(super) failed: u64,
    /// A second.
    pub(super) finished_rate: f64,
    /// A second.
    pub(super) failed_rate: f64,
    #[serde(skip)]
    pub(super) finished_total: u64,
    #[serde(skip)]
    pub(super) failed_total: u64,
    /// Redis did not answer before it.
    #[serde(skip)]
    pub(super) follows_outage: bool,
}

/// A rate as it is shown.
pub(super) fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}
