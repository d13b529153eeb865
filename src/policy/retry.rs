//! The delay before a failed task may be tried again.

use std::time::Duration;

/// The wait after a first failure: `base`, with up to half of it more by `jitter` (0 … 1), so that tasks that failed together do not come back together.
/// Zero stays zero. It doubles with each failure since the last requeue, up to an hour: `settle.lua` counts them, since only the queue knows.
#[must_use]
pub fn backoff(base: Duration, jitter: f64) -> Duration {
    base.saturating_add((base / 2).mul_f64(jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_backoff_is_the_base_and_up_to_half_more() {
        let second = Duration::from_secs(1);
        assert_eq!(backoff(Duration::ZERO, 0.5), Duration::ZERO);
        assert_eq!(backoff(second, 0.0), second);
        assert_eq!(backoff(second, 1.0), second * 3 / 2);
        assert_eq!(backoff(Duration::MAX, 1.0), Duration::MAX);
    }
}
