//! How long a failed task waits before it may be tried again.

use std::time::Duration;

/// The longest backoff, whatever the number of failures.
const MOST: Duration = Duration::from_secs(3600);

/// `base` doubled with every failure after the first, with up to half of it more by `jitter` (0 … 1), so that tasks that failed together do not
/// come back together. Zero stays zero.
#[must_use]
pub fn backoff(base: Duration, failures: u32, jitter: f64) -> Duration {
    if base.is_zero() {
        return Duration::ZERO;
    }
    let grown = base.saturating_mul(1_u32 << failures.saturating_sub(1).min(20)).min(MOST);
    grown.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_and_is_bounded() {
        let second = Duration::from_secs(1);
        assert_eq!(backoff(Duration::ZERO, 5, 0.5), Duration::ZERO);
        assert_eq!(backoff(second, 1, 0.0), second);
        assert_eq!(backoff(second, 3, 0.0), 4 * second);
        assert_eq!(backoff(second, 3, 1.0), 6 * second);
        assert_eq!(backoff(second, u32::MAX, 0.0), MOST);
    }
}
