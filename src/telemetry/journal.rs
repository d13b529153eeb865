//! Whether stderr is the journal of systemd, and what it wants of a line: its priority in front, and no time, since it has its own.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use tracing::Level;

/// The priority of an error, as a line for the journal begins.
pub(crate) const ERROR: &str = "<3>";
/// That of a warning.
pub(crate) const WARNING: &str = "<4>";

/// Whether lines on stderr go to the journal: systemd says which stream that is, and stderr may have been sent elsewhere since.
pub(crate) fn has_stderr() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stream(&stream, "/proc/self/fd/2"))
}

/// `DEVICE:INODE` of the file.
fn is_stream(stream: &str, file: &str) -> bool {
    fs::metadata(file).is_ok_and(|it| stream == format!("{}:{}", it.dev(), it.ino()))
}

/// The priority of an event.
pub(super) fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => ERROR,
        Level::WARN => WARNING,
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_stream_is_the_journal() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let of = |it: &fs::Metadata| format!("{}:{}", it.dev(), it.ino());
        assert!(is_stream(&of(&file.as_file().metadata().unwrap()), path));
        for other in [of(&fs::metadata("/dev/null").unwrap()), String::new(), "8:1".to_owned(), "nonsense".to_owned()] {
            assert!(!is_stream(&other, path), "{other}");
        }
        assert!(!is_stream("8:1", "/nowhere"));
    }
}
