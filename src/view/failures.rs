//! The table of failures, grouped by kind.

use super::ctl_command::requeue_command;
use super::reason::lines_beyond_kind;
use super::safe_text::safe;
use super::style::{BAD, BOLD, DIM, paint};
use super::text::{count, moment, shorten, tasks};
use crate::model::TaskId;
use crate::model::failure_cause::FailureDetail;
use crate::model::snapshot::FailureGroup;

/// Workers that are named before the rest is a number.
const NAMED: usize = 6;

/// What is shown beside the groups.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// When they happened, and what they have in common, in the order of the groups; empty where that is not known.
    pub details: &'a [FailureDetail],
    /// The batch whose failures these are.
    pub batch: Option<&'a str>,
    /// Whether they can be tried again by their kind.
    pub may_requeue: bool,
}

/// Every group with its count, workers, one sample and its reason.
#[must_use]
pub fn failures(groups: &[FailureGroup], width: usize) -> String {
    failures_in_detail(groups, &Told::default(), width)
}

/// The same with when they happened, what they have in common, and the command that tries them again.
#[must_use]
pub fn failures_in_detail(groups: &[FailureGroup], told: &Told<'_>, width: usize) -> String {
    if groups.is_empty() {
        return "no failures\n".to_owned();
    }
    let mut drawn = String::new();
    for (at, group) in groups.iter().enumerate() {
        let detail = told.details.get(at);
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
        let mut row = |text: &str| {
            drawn.push_str(&format!("         {}\n", paint(DIM, &shorten(&safe(text), width.saturating_sub(9)))));
        };
        match detail.filter(|detail| detail.causes.len() > 1) {
            Some(detail) => causes(detail, group.count).iter().for_each(|cause| row(cause)),
            None => reason_lines(&group.reason, &group.kind).iter().for_each(|line| row(line)),
        }
        if let Some(times) = detail.and_then(times) {
            row(&times);
        }
        if told.may_requeue {
            row(&requeue_command(&group.kind, told.batch));
        }
    }
    drawn
}

/// What failures of a group say, with their numbers.
fn causes(detail: &FailureDetail, number: u64) -> Vec<String> {
    let of =
        if detail.looked_at < number { format!(" of the newest {}", count(detail.looked_at)) } else { String::new() };
    detail.causes.iter().map(|cause| format!("{}{of}: {}", count(cause.count), cause.text)).collect()
}

/// `first 2026-11-27 22:40:11, last 2026-11-27 22:50:00; 12 in the last 10 minutes, 40 in the last hour`.
fn times(detail: &FailureDetail) -> Option<String> {
    let (first, last) = (moment(detail.first_failed?), moment(detail.last_failed?));
    let mut text = if first == last { format!("at {last}") } else { format!("first {first}, last {last}") };
    if !detail.recent.is_empty() {
        let ten: u64 = detail.recent.iter().rev().take(2).sum();
        let hour: u64 = detail.recent.iter().sum();
        text.push_str(&format!("; {} in the last 10 minutes, {} in the last hour", count(ten), count(hour)));
    }
    Some(text)
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
fn reason_lines(reason: &str, kind: &str) -> Vec<String> {
    const LINES: usize = 3;
    let mut lines = lines_beyond_kind(reason, kind);
    lines.retain(|line| !line.trim().is_empty());
    lines.split_off(lines.len().saturating_sub(LINES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_says_what_its_failures_share_and_how_to_try_again() {
        use crate::model::failure_cause::FailureCause;
        let group = FailureGroup {
            kind: "exit 3".to_owned(),
            count: 90,
            workers: Vec::new(),
            sample: "shell:1:1:1:./a".to_owned(),
            reason: "exit 3: not shown".to_owned(),
        };
        let cause = FailureCause { text: "no PATH".to_owned(), count: 7, sample: "shell:1:1:1:./a".to_owned() };
        let detail = FailureDetail {
            first_failed: Some(1.0),
            last_failed: Some(100.0),
            recent: vec![5, 1, 2],
            looked_at: 10,
            causes: vec![cause.clone(), FailureCause { text: "N of N".to_owned(), count: 3, ..cause }],
        };
        let told = Told { details: &[detail], batch: None, may_requeue: true };
        let drawn = anstream::adapter::strip_str(&failures_in_detail(&[group], &told, 120)).to_string();
        for part in [
            "7 of the newest 10: no PATH",
            "3 in the last 10 minutes, 8 in the last hour",
            "distcomp-ctl requeue --kind 'exit 3'",
        ] {
            assert!(drawn.contains(part), "{part} is missing: {drawn}");
        }
        assert!(!drawn.contains("not shown"), "{drawn}");
    }

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
