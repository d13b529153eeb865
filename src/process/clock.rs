//! The clock that worker and keepers share.

use std::time::Duration;

/// A timer for an answer that is later than this was not late by itself: the worker stood still, and maybe those who owe the answer with it.
pub const STOOD_STILL: Duration = Duration::from_secs(1);

/// Milliseconds since the machine was started, time asleep included: the same for every process of a machine.
#[must_use]
pub fn clock_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
