//! The page of failures: their groups, when they happened, what they have in common, and how to try them again.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::figures::FailureRow;
use super::moment::{Moment, MomentStyle};
use super::page::{PageBase, batch_address, html, respond};
use super::pages::linked;
use super::task_list::address;
use crate::model::BatchName;
use crate::model::failure_cause::FailureDetail;
use crate::model::listing::TaskFilter;
use crate::model::snapshot::{FailureGroup, TaskState};
use crate::view::ctl_command::{of_batch, requeue_command};
use crate::view::safe_text::safe;
use crate::view::text::count;

respond!(FailuresPage);

/// `/failures`.
#[derive(Template)]
#[template(path = "failures.html")]
pub(super) struct FailuresPage {
    page: PageBase,
    groups: Vec<Group>,
    others: Option<String>,
    /// Tasks that stand beside them and are none.
    cancelled: Option<String>,
    /// Failures that were looked at for the workers, where that is not all.
    looked_at: Option<String>,
    /// The batch whose failures these are, and its page.
    batch: Option<(String, String)>,
    /// The flag that selects it.
    of_batch: String,
    /// Whether only some of the failures of the batch were looked at.
    is_cut: bool,
}

/// A group of failures.
struct Group {
    row: FailureRow,
    href: String,
    /// When the first and the last of them happened, ready to be shown.
    first: Option<String>,
    last: Option<String>,
    /// Bars from the left, each with its height in percent, and what they say.
    trend: Vec<(usize, f64)>,
    trend_told: String,
    causes: Vec<Cause>,
    /// How many of them were looked at for their causes, where that is not all.
    looked_at: Option<String>,
    requeue: String,
}

/// What some of them have in common.
struct Cause {
    count: String,
    text: String,
    /// The list of its tasks.
    href: String,
}

impl Group {
    fn of(row: FailureRow, href: String, group: &FailureGroup, detail: &FailureDetail, batch: Option<&str>) -> Self {
        let most = detail.recent.iter().copied().max().unwrap_or(0);
        let height = |count: u64| if most == 0 { 0.0 } else { count as f64 * 100.0 / most as f64 };
        let moment = |at: Option<f64>| at.map(|at| Moment(at).html(MomentStyle::Ago));
        let in_hour: u64 = detail.recent.iter().sum();
        let in_ten: u64 = detail.recent.iter().rev().take(2).sum();
        Self {
            row,
            href,
            first: moment(detail.first_failed),
            last: moment(detail.last_failed),
            trend: detail.recent.iter().map(|count| height(*count)).enumerate().collect(),
            trend_told: format!("{} in the last 10 minutes, {} in the last hour", count(in_ten), count(in_hour)),
            causes: detail
                .causes
                .iter()
                .map(|cause| Cause {
                    count: count(cause.count),
                    text: safe(&cause.text).into_owned(),
                    href: address(
                        &TaskFilter {
                            kind: Some(group.kind.clone()),
                            cause: Some(cause.text.clone()),
                            ..TaskFilter::all(TaskState::Failed)
                        },
                        None,
                    ),
                })
                .collect(),
            looked_at: (detail.looked_at < group.count).then(|| count(detail.looked_at)),
            requeue: safe(&requeue_command(&group.kind, batch)).into_owned(),
        }
    }
}

impl FailuresPage {
    pub(super) fn new(page: PageBase, groups: &[(FailureGroup, FailureDetail)]) -> Self {
        let known: u64 = groups.iter().map(|(group, _)| group.count).sum();
        let counts = page.snapshot.overview.counts;
        let failed = counts.of(TaskState::Failed);
        let cancelled = counts.of(TaskState::Cancelled);
        let others = failed.saturating_sub(known);
        let looked_at = FailureGroup::LOOKED_AT as u64;
        let plain: Vec<FailureGroup> = groups.iter().map(|(group, _)| group.clone()).collect();
        let shown = linked(&plain, None).into_iter().zip(groups);
        Self {
            page,
            groups: shown.map(|((row, href), (group, detail))| Group::of(row, href, group, detail, None)).collect(),
            others: (others > 0).then(|| count(others)),
            cancelled: (cancelled > 0).then(|| count(cancelled)),
            looked_at: (failed > looked_at).then(|| count(looked_at)),
            batch: None,
            of_batch: String::new(),
            is_cut: false,
        }
    }

    /// Those of one batch or step.
    pub(super) fn of_batch(page: PageBase, batch: &BatchName, groups: &[FailureGroup], are_all: bool) -> Self {
        let (name, none) = (batch.to_string(), FailureDetail::default());
        let shown = linked(groups, Some(batch)).into_iter().zip(groups);
        Self {
            page,
            groups: shown.map(|((row, href), group)| Group::of(row, href, group, &none, Some(&name))).collect(),
            others: None,
            cancelled: None,
            looked_at: None,
            batch: Some((name.clone(), batch_address(batch))),
            of_batch: of_batch(batch),
            is_cut: !are_all,
        }
    }
}
