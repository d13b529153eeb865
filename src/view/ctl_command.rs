//! How hints name `distcomp-ctl`: with `--local` where this process looks at the queue of a directory, so that what is copied reaches the same queue.

use std::path::Path;
use std::sync::OnceLock;

static LOCAL: OnceLock<String> = OnceLock::new();

/// From now on hints name the queue of this directory. The first call counts: a process looks at one queue.
pub fn look_at_directory(dir: &Path) {
    let at = if dir == Path::new(".") { String::new() } else { format!("={}", dir.display()) };
    LOCAL.get_or_init(|| format!("distcomp-ctl --local{at}"));
}

/// The beginning of a command that changes the queue which this process looks at.
#[must_use]
pub fn ctl() -> &'static str {
    LOCAL.get().map_or("distcomp-ctl", String::as_str)
}
