//! The command that tries a group of failures again.

use super::ctl_command::ctl;

/// `distcomp-ctl requeue --kind 'exit 3'`, with the batch where it is of one.
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
