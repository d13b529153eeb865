//! This boot of the machine: its id, and the clocks that count from it, which every process of the machine reads alike.

use std::fs;

/// The id of this boot: pids and start times of another boot mean nothing. `None` where the kernel does not tell.
#[must_use]
pub fn id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Milliseconds since the machine was started, time asleep included: the same for every process of a machine.
#[must_use]
pub fn clock_ms() -> u64 {
    // Every kernel that this runs on has this clock (since Linux 2.6.39), so the call does not fail.
    let Ok(now) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME) else { return 0 };
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    seconds * 1000 + u64::try_from(now.tv_nsec()).unwrap_or(0) / 1_000_000
}

/// Now, in the clock ticks since boot in which [`Stat::start_ticks`](super::stat::Stat::start_ticks) counts. `None` where the kernel does not tell.
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
