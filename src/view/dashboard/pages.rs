//! The data of the templates. The templates escape for HTML; here, characters that drive terminals or reverse text are made visible.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::Response;

use super::figures::FailureRow;
use super::page::{PageBase, batch_address, html, respond};
use super::source::SourceError;
use super::task_list::address;
use crate::model::BatchName;
use crate::model::listing::TaskFilter;
use crate::model::snapshot::{FailureGroup, TaskState};
use crate::view::safe_text::safe;
use crate::view::text::count;

respond!(OverviewPage, WorkersPage, FailuresPage);

/// `/`.
#[derive(Template)]
#[template(path = "overview.html")]
pub(super) struct OverviewPage {
    pub(super) page: PageBase,
}

/// `/workers`.
#[derive(Template)]
#[template(path = "workers.html")]
pub(super) struct WorkersPage {
    pub(super) page: PageBase,
}

/// `/failures`.
#[derive(Template)]
#[template(path = "failures.html")]
pub(super) struct FailuresPage {
    page: PageBase,
    groups: Vec<(FailureRow, String)>,
    others: Option<String>,
    /// Tasks that stand beside them and are none.
    cancelled: Option<String>,
    /// Failures that were looked at for the workers, where that is not all.
    looked_at: Option<String>,
    /// The batch whose failures these are, and its page.
    batch: Option<(String, String)>,
    /// Whether only some of the failures of the batch were looked at.
    is_cut: bool,
}

/// Groups of failures, each with the address of its tasks.
pub(super) fn linked(groups: &[FailureGroup], batch: Option<&BatchName>) -> Vec<(FailureRow, String)> {
    let link = |row: FailureRow| {
        let kind = Some(row.raw_kind.clone());
        let filter = TaskFilter { kind, batch: batch.cloned(), ..TaskFilter::all(TaskState::Failed) };
        (row, address(&filter, None))
    };
    groups.iter().map(FailureRow::of).map(link).collect()
}

impl FailuresPage {
    pub(super) fn new(page: PageBase, groups: &[FailureGroup]) -> Self {
        let known: u64 = groups.iter().map(|group| group.count).sum();
        let counts = page.snapshot.overview.counts;
        let failed = counts.of(TaskState::Failed);
        let cancelled = counts.of(TaskState::Cancelled);
        let others = failed.saturating_sub(known);
        let looked_at = FailureGroup::LOOKED_AT as u64;
        Self {
            page,
            groups: linked(groups, None),
            others: (others > 0).then(|| count(others)),
            cancelled: (cancelled > 0).then(|| count(cancelled)),
            looked_at: (failed > looked_at).then(|| count(looked_at)),
            batch: None,
            is_cut: false,
        }
    }

    /// Those of one batch or step.
    pub(super) fn of_batch(page: PageBase, batch: &BatchName, groups: &[FailureGroup], are_all: bool) -> Self {
        Self {
            page,
            groups: linked(groups, Some(batch)),
            others: None,
            cancelled: None,
            looked_at: None,
            batch: Some((batch.to_string(), batch_address(batch))),
            is_cut: !are_all,
        }
    }
}

/// The form that asks for the token.
#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage {
    pub(super) has_failed: bool,
}

impl LoginPage {
    pub(super) fn respond(&self, status: StatusCode) -> Response {
        html(status, self.render())
    }
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct MessagePage {
    page: PageBase,
    head: &'static str,
    text: String,
}

impl MessagePage {
    pub(super) fn new(page: PageBase, head: &'static str, text: &str) -> Self {
        Self { page, head, text: safe(text).into_owned() }
    }

    pub(super) fn respond(&self, status: StatusCode) -> Response {
        let mut response = html(status, self.render());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
        }
        response
    }
}

/// The page that says why there is no other one now.
pub(super) fn failed(page: PageBase, error: &SourceError) -> Response {
    MessagePage::new(page, "Not now", &error.to_string()).respond(StatusCode::SERVICE_UNAVAILABLE)
}
