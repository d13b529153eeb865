//! The table of failures, grouped by kind.

use super::safe_text::safe;
use super::style::{BAD, BOLD, DIM, paint};
use super::text::{count, shorten, tasks};
use crate::model::snapshot::FailureGroup;
use crate::model::{TaskId, failure_reason};

/// Workers that are named before the rest is a number.
const NAMED: usize = 6;

/// Every group with its count, workers, one sample and its reason.
#[must_use]
pub fn failures(groups: &[FailureGroup], width: usize) -> String {
    if groups.is_empty() {
        return "no failures\n".to_owned();
    }
    let mut drawn = String::new();
    for group in groups {
        let kind = safe(&group.kind);
        drawn.push_str(&paint(BAD, &format!("{:>7}", count(group.count))));
        drawn.push_str(&format!("  {}", paint(BOLD, &shorten(&kind, width.saturating_sub(9)))));
        if !group.workers.is_empty() {
            let room = width.saturating_sub(13 + kind.chars().count()).max(10);
            drawn.push_str(&format!("  {}", paint(DIM, &shorten(&format!("on {}", named(&group.workers)), room))));
        }
        drawn.push('\n');
        let id = TaskId::of(&group.sample);
        let room = width.saturating_sub(9 + 18).max(20);
        drawn.push_str(&format!("         {}  {}\n", paint(DIM, &id.to_string()), shorten(&safe(&group.sample), room)));
        for line in reason_lines(&group.reason, &group.kind) {
            drawn.push_str(&format!("         {}\n", paint(DIM, &shorten(&safe(line), width.saturating_sub(9)))));
        }
    }
    drawn
}

/// Says that cancelled tasks are not among the failures, where there are some; `select` are the flags that select them, each with a blank before it.
#[must_use]
pub fn beside_cancelled(cancelled: u64, select: &str) -> String {
    let were = if cancelled == 1 { "was" } else { "were" };
    match cancelled {
        0 => String::new(),
        many => format!(
            "{} {were} cancelled, which is no failure: distcomp-status tasks --state cancelled{}\n",
            tasks(many),
            safe(select)
        ),
    }
}

/// `node1, node2 and 5 more`.
pub(super) fn named(workers: &[String]) -> String {
    let named: Vec<String> = workers.iter().take(NAMED).map(|name| safe(name).into_owned()).collect();
    let rest = workers.len().saturating_sub(NAMED) as u64;
    if rest == 0 { named.join(", ") } else { format!("{} and {} more", named.join(", "), count(rest)) }
}

/// The last lines of a reason, unless it says no more than the kind.
fn reason_lines<'a>(reason: &'a str, kind: &str) -> Vec<&'a str> {
    const LINES: usize = 3;
    let lines: Vec<&str> =
        failure_reason::beyond_kind(reason, kind).lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shows_count_workers_sample_and_the_end_of_its_reason() {
        let group = FailureGroup {
            kind: "exit 3".to_owned(),
            count: 1234,
            workers: (1..9).map(|n| format!("node{n}")).collect(),
            sample: "shell:1:1:1:./a \u{1b}[31m".to_owned(),
            reason: "exit 3: one\ntwo\nthree\nfour".to_owned(),
        };
        let drawn = anstream::adapter::strip_str(&failures(&[group], 80)).to_string();
        assert!(drawn.starts_with("  1,234  exit 3  on node1, node2"), "{drawn}");
        assert!(drawn.contains("and 2 more") && drawn.contains("four") && !drawn.contains("one\n"), "{drawn}");
        assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
        assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
    }
}
