//! The commands that hints name. `distcomp-ctl` has `--local` where this process looks at the queue of a directory, so that what is copied reaches the same queue.

use std::path::Path;
use std::sync::OnceLock;

static LOCAL: OnceLock<String> = OnceLock::new();

/// From now on hints name the queue of this directory. The first call counts: a process looks at one queue.
pub fn look_at_directory(dir: &Path) {
    let at = if dir == Path::new(".") { String::new() } else { format!("={}", quoted(&dir.display().to_string())) };
    LOCAL.get_or_init(|| format!("distcomp-ctl --local{at}"));
}

/// The beginning of a command that changes the queue which this process looks at.
#[must_use]
pub fn ctl() -> &'static str {
    LOCAL.get().map_or("distcomp-ctl", String::as_str)
}

/// The command that tries a group of failures again: `distcomp-ctl requeue --kind 'exit 3'`, with the batch where it is of one.
#[must_use]
pub fn requeue_command(kind: &str, batch: Option<&str>) -> String {
    let batch = batch.map(|batch| format!(" --batch {}", quoted(batch))).unwrap_or_default();
    format!("{} requeue --kind {}{batch}", ctl(), quoted(kind))
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '@' | '%' | '+');
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_one_word_of_the_command() {
        assert_eq!(requeue_command("oom", None), "distcomp-ctl requeue --kind oom");
        assert_eq!(requeue_command("exit 3", Some("s1/prep")), "distcomp-ctl requeue --kind 'exit 3' --batch s1/prep");
        assert_eq!(requeue_command("it's", None), "distcomp-ctl requeue --kind 'it'\\''s'");
    }
}
