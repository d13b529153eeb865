//! Failures by kind, and retries apart from what failed for good.

use super::encode::{Labels, MetricsPage};
use crate::model::snapshot::Overview;
use crate::view::safe_text::safe;
use crate::view::text::shorten;

/// Kinds with figures of their own: kinds are labels, and labels must not grow for ever.
const KINDS: usize = 20;

/// Characters of a kind.
const KIND: usize = 60;

pub(super) fn failures(page: &mut MetricsPage, overview: &Overview) {
    let mut rows: Vec<(String, u64)> = Vec::new();
    let mut add = |kind: String, number: u64| match rows.iter_mut().find(|(known, _)| *known == kind) {
        // What strangers wrote may be shown alike.
        Some((_, sum)) => *sum = sum.saturating_add(number),
        None => rows.push((kind, number)),
    };
    let kinds = &overview.failure_kinds;
    let top = kinds.len().min(KINDS);
    for (kind, number) in &kinds[..top] {
        add(shorten(&safe(kind), KIND), *number);
    }
    add("other".to_owned(), kinds[top..].iter().map(|(_, number)| *number).fold(0, u64::saturating_add));
    let labels: Vec<[(&'static str, &str); 1]> = rows.iter().map(|(kind, _)| [("kind", kind.as_str())]).collect();
    let values: Vec<(Labels<'_>, f64)> =
        labels.iter().zip(&rows).map(|(labels, (_, number))| (labels.as_slice(), *number as f64)).collect();
    page.gauge(
        "distcomp_queue_failed_tasks",
        "Failed tasks by kind of failure, those that will be retried included: the 20 most frequent kinds, and all others",
        &values,
    );
    page.counter(
        "distcomp_queue_retries",
        "Failed attempts after which the task was tried again",
        &[(&[], overview.totals.retried)],
    );
    page.counter("distcomp_queue_failures", "Tasks that failed for good", &[(&[], overview.totals.failed_for_good)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_kinds_are_told_and_the_rest_is_one() {
        let failure_kinds = (0..30).map(|n| (format!("exit {n}"), 100 - n)).collect();
        let mut page = MetricsPage::new();
        failures(&mut page, &Overview { failure_kinds, ..Overview::default() });
        let page = page.finish();
        let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("distcomp_queue_failed_tasks{")).collect();
        assert_eq!(lines.len(), 21, "{page}");
        assert!(lines.contains(&"distcomp_queue_failed_tasks{kind=\"exit 19\"} 81.0"), "{page}");
        assert!(lines.contains(&"distcomp_queue_failed_tasks{kind=\"other\"} 755.0"), "{page}");
    }

    #[test]
    fn kinds_that_look_alike_are_one_line() {
        let failure_kinds = vec![("a\u{1b}".to_owned(), 2), ("a\\x1b".to_owned(), 1), ("other".to_owned(), 4)];
        let mut page = MetricsPage::new();
        failures(&mut page, &Overview { failure_kinds, ..Overview::default() });
        let page = page.finish();
        assert_eq!(page.lines().filter(|line| line.starts_with("distcomp_queue_failed_tasks{")).count(), 2, "{page}");
        assert!(page.contains("kind=\"other\"} 4.0"), "{page}");
    }
}
