//! Why an attempt failed, for people: how it ended, and the end of its standard error as its task meant it to be seen.

use super::console_text::console_lines;
use super::printed::printed;
use super::safe_text::safe;
use crate::model::failure_reason::beyond_kind;

/// How the attempt ended, with the colon behind it, and the end of its standard error. The first is empty where the reason does not begin with it.
#[must_use]
pub fn reason_parts(reason: &str) -> (&str, &str) {
    match reason.find(": ") {
        Some(at) if !reason[..at].contains(char::is_control) => reason.split_at(at + 2),
        Some(_) | None => ("", reason),
    }
}

/// The lines of a reason without colours. A carriage return replaces what stands before it in the line, but never how the attempt ended.
#[must_use]
pub fn reason_lines(reason: &str) -> Vec<String> {
    let (head, tail) = reason_parts(reason);
    let plain = console_lines(tail).into_iter().map(|parts| parts.into_iter().map(|(_, text)| text).collect());
    begun_with(head, plain.collect())
}

/// The same of what a reason says beyond its kind, for a view that shows the kind beside it.
#[must_use]
pub fn lines_beyond_kind(reason: &str, kind: &str) -> Vec<String> {
    let rest = beyond_kind(reason, kind);
    if rest.len() == reason.len() {
        return reason_lines(reason);
    }
    console_lines(rest).into_iter().map(|parts| parts.into_iter().map(|(_, text)| text).collect()).collect()
}

/// The lines of a reason for a terminal, with the colours of its task.
#[must_use]
pub fn styled_reason(reason: &str) -> Vec<String> {
    let (head, tail) = reason_parts(reason);
    begun_with(head, printed(tail, false))
}

fn begun_with(head: &str, mut lines: Vec<String>) -> Vec<String> {
    let head = safe(head);
    match lines.first_mut() {
        Some(first) => first.insert_str(0, &head),
        None => lines.push(head.into_owned()),
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carriage_return_never_hides_how_an_attempt_ended() {
        let reason = "exit 9: 10 %\r\x1b[31mnew\x1b[0m\nlast";
        assert_eq!(reason_lines(reason), ["exit 9: new", "last"]);
        assert_eq!(lines_beyond_kind(reason, "exit 9"), ["new", "last"]);
        assert_eq!(lines_beyond_kind("timed out after 3 s: a\rb", "timed out"), ["timed out after 3 s: b"]);
        assert_eq!(styled_reason(reason)[0], "exit 9: \x1b[31mnew\x1b[0m");
        assert_eq!(reason_lines("cancelled"), ["cancelled"]);
        assert_eq!(reason_lines(""), [""]);
        assert_eq!(reason_lines("a\rb: c"), ["b: c"]);
    }
}
