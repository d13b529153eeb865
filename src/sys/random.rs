//! Random numbers from the kernel.

use std::fmt;

/// The kernel cannot provide random numbers.
#[derive(Clone, Copy, Debug)]
pub struct NoRandomness(getrandom::Error);

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NoRandomness {}

/// Fills a buffer with cryptographically secure random bytes.
///
/// # Errors
/// When the kernel cannot provide them. Then no secret can be created.
pub fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(bytes).map_err(NoRandomness)
}

/// An identifier of sixteen hexadecimal digits that is unique, but not a secret: without random numbers it consists of the time and the pid.
#[must_use]
pub fn id() -> String {
    let mut bytes = [0; 8];
    if fill(&mut bytes).is_err() {
        let nanos = super::wall_clock::now().map_or(0, |now| now.subsec_nanos());
        bytes = (u64::from(nanos) << 32 | u64::from(std::process::id())).to_ne_bytes();
    }
    format!("{:016x}", u64::from_ne_bytes(bytes))
}

/// A random number from 0 to 1, for jitter. Always 0 if the kernel has no random numbers, which is harmless.
#[must_use]
pub fn fraction() -> f64 {
    let mut bytes = [0; 2];
    let _ = fill(&mut bytes);
    f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_have_sixteen_digits() {
        assert!(id().len() == 16 && id() != id() && id().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn fractions_lie_between_0_and_1() {
        let all: Vec<f64> = (0..64).map(|_| fraction()).collect();
        assert!(all.iter().all(|it| (0.0..=1.0).contains(it)) && all.iter().any(|it| *it != all[0]), "{all:?}");
    }
}
