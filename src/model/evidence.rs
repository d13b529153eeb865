//! The record that every attempt leaves in Redis.

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::stdout_record::StdoutRecord;
use super::task::WorkerName;

/// Where a peak of memory was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeakSource {
    /// The whole tree, from its cgroup.
    Cgroup,
    /// The largest single process of the tree, from `getrusage`.
    LargestProcess,
}

/// One attempt, as kept in `distcomp:evidence`: a JSON object on a line of its own. The names are short because there is one for every
/// task that ever ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Attempt number, from 1.
    #[serde(rename = "a")]
    pub attempt: u32,
    /// The worker that ran it.
    #[serde(rename = "w")]
    pub worker: WorkerName,
    /// Start, milliseconds since the epoch, by the worker's clock; `None` when it never started or the start is not known. Of a lost attempt, when it was
    /// claimed, by the server's clock.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// End, milliseconds since the epoch.
    #[serde(rename = "e")]
    pub end_ms: u64,
    /// How it ended.
    #[serde(rename = "r")]
    pub outcome: Outcome,
    /// Peak memory in bytes, where it is known.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Where the peak was read.
    #[serde(rename = "ms", default, skip_serializing_if = "Option::is_none")]
    pub peak_source: Option<PeakSource>,
    /// The memory in bytes that it declared, where that was not what its line says.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub declared_bytes: Option<u64>,
    /// How its stdout can be had byte for byte, from the text in `finished_tasks` or, of a failure, from the tail; `None` where that is not known.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<StdoutRecord>,
    /// Place of the task in the order of submission, where it is known. Written by the script that settles the attempt.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// For a failure, the last 4 KiB of stdout.
    #[serde(rename = "o", default, skip_serializing_if = "String::is_empty")]
    pub stdout_tail: String,
    /// The last 4 KiB of stderr.
    #[serde(rename = "x", default, skip_serializing_if = "String::is_empty")]
    pub stderr_tail: String,
    /// The claim it ran under, so that a repeated settlement is recognised.
    #[serde(rename = "t", default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// When Redis took the record, by its own clock: milliseconds after `end_ms`, which may be by another. Written by Redis; `None` in records of earlier
    /// versions.
    #[serde(rename = "z", default, skip_serializing)]
    pub taken_after_ms: Option<i64>,
}

impl AttemptRecord {
    /// Of an attempt of which only its end is known: no start, no peak, no output, no claim.
    #[must_use]
    pub fn bare(attempt: u32, worker: WorkerName, end_ms: u64, outcome: Outcome) -> Self {
        Self {
            attempt,
            worker,
            start_ms: None,
            end_ms,
            outcome,
            peak_bytes: None,
            peak_source: None,
            declared_bytes: None,
            stdout: None,
            sequence: None,
            stdout_tail: String::new(),
            stderr_tail: String::new(),
            token: String::new(),
            taken_after_ms: None,
        }
    }
}
