//! What processes have used, from `/proc`.

use std::fs;

/// Milliseconds on a processor of all threads of a process, its children not counted.
pub(crate) fn cpu_ms(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let nanos = |path: std::path::PathBuf| -> Option<f64> {
        fs::read_to_string(path).ok()?.split_ascii_whitespace().next()?.parse().ok()
    };
    threads.flatten().filter_map(|thread| nanos(thread.path().join("schedstat"))).sum::<f64>() / 1e6
}
