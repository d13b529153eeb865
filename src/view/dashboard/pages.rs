//! The data of the templates. The templates escape for HTML; here, characters that drive terminals or reverse text are made visible.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::Response;

use super::figures::{FailureRow, WorkerRow};
use super::fleet::{Fleet, Totals};
use super::page::{PageBase, html, respond};
use super::source::SourceError;
use super::task_list::address;
use crate::model::BatchName;
use crate::model::listing::TaskFilter;
use crate::model::snapshot::{FailureGroup, TaskState};
use crate::view::safe_text::safe;

respond!(OverviewPage, WorkersPage);

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
    pub(super) filter: String,
    pub(super) told: String,
    pub(super) rows: Vec<WorkerRow>,
    pub(super) totals: Totals,
}

impl WorkersPage {
    pub(super) fn new(page: PageBase, filter: &str) -> Self {
        let fleet = Fleet::new(&page.snapshot.overview, &page.snapshot.figures, filter);
        let (told, rows, totals) = (fleet.told(), fleet.rows().cloned().collect(), fleet.totals());
        Self { filter: safe(filter).into_owned(), told, rows, totals, page }
    }
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

/// The form that asks for the token.
#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage {
    pub(super) has_failed: bool,
    /// Where to go then.
    pub(super) next: String,
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
