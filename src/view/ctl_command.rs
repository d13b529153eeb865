//! The commands that hints name, so that they work when they are copied. `distcomp-ctl` has `--local` where this process looks at the queue of a directory, so that what is copied reaches the same queue.

use std::path::Path;
use std::sync::OnceLock;

use crate::model::BatchName;

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
    let batch = batch.map(|batch| format!(" {}", flag("--batch", batch))).unwrap_or_default();
    format!("{} requeue {}{batch}", ctl(), flag("--kind", kind))
}

/// The flag that selects a batch: `--batch s1`, or `--batch=-x` of a name that would be read as a flag.
#[must_use]
pub fn of_batch(name: &BatchName) -> String {
    flag("--batch", name.as_str())
}

/// Names of batches at the end of a command: `s1`, or `-- -x` where one would be read as a flag.
#[must_use]
pub fn last_words(names: &[BatchName]) -> String {
    let ends_flags = if names.iter().any(|name| name.as_str().starts_with('-')) { "-- " } else { "" };
    format!("{ends_flags}{}", names.iter().map(BatchName::as_str).collect::<Vec<_>>().join(" "))
}

/// The same of one name.
#[must_use]
pub fn last_word(name: &BatchName) -> String {
    last_words(std::slice::from_ref(name))
}

/// A flag with its value.
#[must_use]
pub fn flag(flag: &str, value: &str) -> String {
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!("{flag}{between}{}", quoted(value))
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
        assert_eq!(requeue_command("-1", Some("-x")), "distcomp-ctl requeue --kind=-1 --batch=-x");
        assert_eq!(requeue_command("it's", None), "distcomp-ctl requeue --kind 'it'\\''s'");
    }

    #[test]
    fn name_with_a_hyphen_first_is_no_flag() {
        let name = |text: &str| text.parse::<BatchName>().expect("a name");
        assert_eq!((of_batch(&name("s1")), of_batch(&name("-x/a"))), ("--batch s1".into(), "--batch=-x/a".into()));
        assert_eq!((last_word(&name("s1")), last_word(&name("-x"))), ("s1".into(), "-- -x".into()));
        assert_eq!(last_words(&[name("s1"), name("-x")]), "-- s1 -x");
    }
}
