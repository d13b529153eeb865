//! What this process uses, as `/proc/self` tells it.

use std::fs;

/// Clock ticks a second in `/proc`: the same on every architecture of Linux.
const TICKS: f64 = 100.0;

/// What this process uses; `None` where `/proc` does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnProcess {
    /// Seconds of processor time, of the user and of the system.
    pub cpu_seconds: Option<f64>,
    /// Memory that is resident, bytes.
    pub resident_bytes: Option<f64>,
    /// Address space, bytes.
    pub virtual_bytes: Option<f64>,
    /// Open files.
    pub open_files: Option<f64>,
    /// Most of them that it may have; `None` where that is not limited.
    pub most_files: Option<f64>,
    /// Its start, seconds since the epoch.
    pub started: Option<f64>,
}

impl OwnProcess {
    /// Reads it.
    #[must_use]
    pub fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).ok();
        let stat = text("/proc/self/stat");
        let status = text("/proc/self/status");
        let ticks = |field: usize| stat.as_deref().and_then(|stat| field_of(stat, field));
        let kib = |name: &str| Some(number_after(status.as_deref()?, name)? * 1024.0);
        let boot = text("/proc/stat").and_then(|stat| number_after(&stat, "btime"));
        Self {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| (user + system) / TICKS),
            resident_bytes: kib("VmRSS:"),
            virtual_bytes: kib("VmSize:"),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64),
            most_files: text("/proc/self/limits").and_then(|limits| number_after(&limits, "Max open files")),
            started: ticks(22).zip(boot).map(|(ticks, boot)| boot + ticks / TICKS),
        }
    }
}

/// A numbered field of `/proc/PID/stat`, from 1. The second is a name, which may hold anything: what follows it is counted from its end.
fn field_of(stat: &str, field: usize) -> Option<f64> {
    let rest = stat.rsplit_once(')')?.1;
    rest.split_ascii_whitespace().nth(field.checked_sub(3)?)?.parse().ok()
}

/// The first number of the line that begins with this name.
fn number_after(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let own = OwnProcess::read();
        let (resident, started) = (own.resident_bytes.unwrap(), own.started.unwrap());
        assert!(resident > 100_000.0 && own.virtual_bytes.unwrap() > resident, "{own:?}");
        assert!(own.open_files.unwrap() >= 3.0 && own.cpu_seconds.unwrap() >= 0.0, "{own:?}");
        let age = crate::sys::wall_clock::unix_seconds() as f64 - started;
        assert!((-2.0..86_400.0).contains(&age), "{own:?}");
    }

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 0 0 1 0 999 5 6";
        assert_eq!(
            [field_of(stat, 14), field_of(stat, 15), field_of(stat, 22)],
            [Some(250.0), Some(50.0), Some(999.0)]
        );
        assert_eq!(field_of("7 (cut", 14), None);
        assert_eq!(
            number_after("Max open files            1024                 4096                 files", "Max open files"),
            Some(1024.0)
        );
        assert_eq!(number_after("Max open files            unlimited", "Max open files"), None);
    }
}
