//! The data of the templates. The templates escape for HTML; here, characters that drive terminals or reverse text are made visible.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::Response;

use super::figures::FailureRow;
use super::page::{PageBase, html, respond};
use super::task_list::address;
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
}

impl FailuresPage {
    pub(super) fn new(page: PageBase, groups: &[FailureGroup]) -> Self {
        let known: u64 = groups.iter().map(|group| group.count).sum();
        let counts = page.snapshot.overview.counts;
        let failed = counts.of(TaskState::Failed);
        let cancelled = counts.of(TaskState::Cancelled);
        let others = failed.saturating_sub(known);
        let looked_at = FailureGroup::LOOKED_AT as u64;
        let groups = groups
            .iter()
            .map(FailureRow::of)
            .map(|row| {
                let filter = TaskFilter { kind: Some(row.raw_kind.clone()), ..TaskFilter::all(TaskState::Failed) };
                (row, address(&filter, None))
            })
            .collect();
        Self {
            page,
            groups,
            others: (others > 0).then(|| count(others)),
            cancelled: (cancelled > 0).then(|| count(cancelled)),
            looked_at: (failed > looked_at).then(|| count(looked_at)),
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
