//! What templates are filled with. They escape for HTML; what drives terminals or reverses text is made visible here.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::Response;

use super::figures::FailureRow;
use super::page::{Page, html, respond};
use super::task_list::address;
use crate::model::listing::TaskFilter;
use crate::model::snapshot::{FailureGroup, TaskState};
use crate::view::safe_text::safe;
use crate::view::text::count;

respond!(Overview, Workers, Failures);

/// `/`.
#[derive(Template)]
#[template(path = "overview.html")]
pub(super) struct Overview {
    pub(super) page: Page,
}

/// `/workers`.
#[derive(Template)]
#[template(path = "workers.html")]
pub(super) struct Workers {
    pub(super) page: Page,
}

/// `/failures`.
#[derive(Template)]
#[template(path = "failures.html")]
pub(super) struct Failures {
    page: Page,
    groups: Vec<(FailureRow, String)>,
    others: Option<String>,
    /// Failures that were looked at for the workers, where that is not all.
    looked_at: Option<String>,
}

impl Failures {
    pub(super) fn new(page: Page, groups: &[FailureGroup]) -> Self {
        let known: u64 = groups.iter().map(|group| group.count).sum();
        let failed = page.frame.overview.counts.failed;
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
            looked_at: (failed > looked_at).then(|| count(looked_at)),
        }
    }
}

/// The form that asks for the token.
#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct Login {
    pub(super) has_failed: bool,
}

impl Login {
    pub(super) fn respond(&self, status: StatusCode) -> Response {
        html(status, self.render())
    }
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct Message {
    page: Page,
    head: &'static str,
    text: String,
}

impl Message {
    pub(super) fn new(page: Page, head: &'static str, text: &str) -> Self {
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
