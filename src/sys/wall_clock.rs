//! The wall clock, which a person or a time service may set. Durations and timeouts use `Instant` instead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970; `None` when the clock is set to before that.
#[must_use]
pub fn now() -> Option<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok()
}

/// Seconds since 1970; 0 before.
#[must_use]
pub fn unix_seconds() -> u64 {
    now().map_or(0, |now| now.as_secs())
}

/// Milliseconds since 1970; 0 before.
#[must_use]
pub fn unix_ms() -> u64 {
    now().map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// The present time in the time zone of this machine, for display.
#[must_use]
pub fn local() -> jiff::Zoned {
    jiff::Zoned::now()
}
