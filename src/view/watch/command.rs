//! What names a task in a list: its command and its id, without what is the same for many.

use crate::model::TaskKind;
use crate::view::safe_text::safe;

/// Enough of an id to be told from others; commands take the beginning of an id.
pub(super) fn short_id(id: &str) -> String {
    safe(&id.chars().take(8).collect::<String>()).into_owned()
}

/// The command of a task line, whose other fields are before it; the line itself where it has no such fields.
pub(super) fn command(line: &str) -> &str {
    let mut fields = line.splitn(5, ':');
    let kind = fields.next().and_then(|field| field.split(',').next());
    let Some(command) = kind.and_then(TaskKind::parse).and_then(|_| fields.nth(3)) else { return line };
    match command.split_once(':') {
        Some((digits, rest))
            if !digits.is_empty() && !rest.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            rest
        }
        _ => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_without_their_fields() {
        for (line, wanted) in [
            ("shell:8:2:5:./cachesim trace.bin", "./cachesim trace.bin"),
            ("shell,gpus=1:8:2:5:300:cp host:a b", "cp host:a b"),
            ("shell:1:1:1:cp host:a b", "cp host:a b"),
            ("python:1:1:1:8080:", "8080:"),
            ("what:1:1:1:x", "what:1:1:1:x"),
            ("no line", "no line"),
            ("shell:1:1", "shell:1:1"),
        ] {
            assert_eq!(command(line), wanted);
        }
    }
}
