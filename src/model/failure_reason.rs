//! The text in `task_fail_reason`: how the attempt ended, then `: ` and the end of its stderr. The only place that writes it and that takes it
//! apart.

/// Characters of a reason, in all.
const REASON_CHARS: usize = 1024;

/// `exit 3: tail of stderr`, at most 1,024 characters; what does not fit is cut at the front of the tail.
#[must_use]
pub fn write(head: &str, stderr: &str) -> String {
    let stderr = stderr.trim();
    if stderr.is_empty() {
        return head.to_owned();
    }
    let room = REASON_CHARS.saturating_sub(head.chars().count() + 2);
    let skipped = stderr.chars().count().saturating_sub(room);
    let kept: String = if skipped == 0 {
        stderr.to_owned()
    } else {
        std::iter::once('…').chain(stderr.chars().skip(skipped + 1)).collect()
    };
    format!("{head}: {kept}")
}

/// What a reason says beyond its kind, for a view that shows the kind beside it: nothing where it is the kind alone, and all of it where it says more of
/// the kind (`timed out after 300 s`).
#[must_use]
pub fn beyond_kind<'a>(reason: &'a str, kind: &str) -> &'a str {
    match reason.strip_prefix(kind) {
        Some("") => "",
        Some(rest) => rest.strip_prefix(": ").unwrap_or(reason),
        None => reason,
    }
}

/// The group of a failure that recorded none, as those of Python DistComp: what its reason begins with.
#[must_use]
pub fn kind_of(reason: Option<&str>) -> String {
    const SHOWN: usize = 60;
    let kind = reason.unwrap_or_default().split(':').next().unwrap_or_default().trim();
    if kind.is_empty() {
        return "unknown".to_owned();
    }
    kind.lines().next().unwrap_or_default().chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;

    #[test]
    fn reasons_of_python_workers_are_grouped_by_how_they_begin() {
        assert_eq!(kind_of(Some("exit code 1: no such file")), "exit code 1");
        assert_eq!(kind_of(Some("killed")), "killed");
        assert_eq!(kind_of(Some("")), "unknown");
        assert_eq!(kind_of(None), "unknown");
    }

    #[test]
    fn a_reason_is_the_kind_and_the_tail_of_stderr() {
        assert_eq!(write(&Outcome::Exit(3).to_string(), "  no such file\n"), "exit 3: no such file");
        assert_eq!(write(&Outcome::TimedOut(2).to_string(), ""), "timed out after 2 s");
        let long = write(&Outcome::Exit(3).to_string(), &format!("{}END", "ü".repeat(5000)));
        assert_eq!(long.chars().count(), REASON_CHARS);
        assert!(long.starts_with("exit 3: …") && long.ends_with("END"), "{long}");
    }

    #[test]
    fn only_a_whole_kind_is_taken_off_a_reason() {
        assert_eq!(beyond_kind("exit 3: no such file", "exit 3"), "no such file");
        assert_eq!(beyond_kind("exit 3", "exit 3"), "");
        for other in ["exit 30: x", "timed out after 2 s", ""] {
            assert_eq!(beyond_kind(other, "exit 3"), other);
        }
        assert_eq!(beyond_kind("timed out after 2 s: x", "timed out"), "timed out after 2 s: x");
    }
}
