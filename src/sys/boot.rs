//! The id of this boot of the machine, and clocks that count from it. All processes of the machine read the same values.

use std::fs;

/// The id of this boot. Pids and start times are only valid together with it. `None` if the kernel does not tell.
#[must_use]
pub fn id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Milliseconds since boot, including time asleep.
#[must_use]
pub fn clock_ms() -> u64 {
    // Every kernel that this runs on has this clock (since Linux 2.6.39), so the call does not fail.
    let Ok(now) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME) else { return 0 };
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    seconds * 1000 + u64::try_from(now.tv_nsec()).unwrap_or(0) / 1_000_000
}

/// The present time in clock ticks since boot, the unit of [`Stat::start_ticks`](super::stat::Stat::start_ticks). `None` if the kernel does not tell.
#[must_use]
pub fn now_ticks() -> Option<u64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
    // A tick is a hundredth of a second on every Linux that this runs on.
    Some(seconds.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_has_an_id_and_a_clock() {
        assert_eq!(id().map(|id| id.len()), Some(36));
        let (ticks, ms) = (now_ticks().expect("uptime"), clock_ms());
        assert!(ms / 10 >= ticks && ms / 10 < ticks + 1000, "{ms} ms, {ticks} ticks");
    }
}
