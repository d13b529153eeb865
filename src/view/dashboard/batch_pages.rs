//! The pages of batches: all of them, and one with its steps.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::app_state::AppState;
use super::figures::FailureRow;
use super::page::{PageBase, batch_address, html, respond};
use super::pages::{MessagePage, failed, linked};
use super::source::SourceError;
use super::task_list::address;
use crate::model::BatchName;
use crate::model::listing::TaskFilter;
use crate::model::snapshot::{BatchDetail, BatchList, BatchState, BatchView, FailureGroup, TaskState};
use crate::view::batches::{BatchCells, about, waits};
use crate::view::ctl_command::last_word;
use crate::view::text::count;

respond!(BatchesPage, BatchPage);

/// A batch or a step in a table.
#[derive(Serialize)]
pub(super) struct BatchRow {
    name: String,
    /// Its page.
    href: String,
    state: &'static str,
    tone: &'static str,
    tasks: String,
    done: String,
    done_percent: f64,
    running: String,
    waiting: String,
    blocked: String,
    failed: String,
    cancelled: String,
    rate: String,
    to_go: String,
    note: String,
}

impl BatchRow {
    pub(super) fn of(batch: &BatchView) -> Self {
        let BatchCells { name, state, tasks, done, running, waiting, blocked, failed, cancelled, rate, to_go, note } =
            BatchCells::of(batch);
        let (href, tone) = (batch_address(&batch.name), tone(batch.state));
        let done_percent = (batch.progress() * 1000.0).floor() / 10.0;
        Self {
            name,
            href,
            state,
            tone,
            tasks,
            done,
            done_percent,
            running,
            waiting,
            blocked,
            failed,
            cancelled,
            rate,
            to_go,
            note,
        }
    }
}

impl BatchRow {
    /// The row of a batch above its steps. What the page lists below, it need not say.
    pub(super) fn at_head(detail: &BatchDetail) -> Self {
        let batch = &detail.batch;
        let mut row = Self::of(batch);
        let has_more = batch.submissions > 0 || batch.aside > 0 || batch.starts_at.is_some();
        if batch.held.is_none() && !has_more && !waits(batch).0.is_empty() {
            row.note.clear();
        }
        row
    }
}

/// How much attention a state asks for.
fn tone(state: BatchState) -> &'static str {
    match state {
        BatchState::Running => "busy",
        BatchState::Finished => "good",
        BatchState::Failed | BatchState::Stopped => "bad",
        BatchState::Paused | BatchState::Counting => "warn",
        BatchState::Empty | BatchState::Adding | BatchState::Waiting | BatchState::Blocked | BatchState::Aside => {
            "calm"
        }
    }
}

/// How many of all are shown, where that is not all.
pub(super) fn told(list: &BatchList) -> String {
    let shown = list.batches.len() as u64;
    if list.known <= shown {
        return count(shown);
    }
    format!(
        "{} of {}, those that have not ended first; distcomp-status batches has all",
        count(shown),
        count(list.known)
    )
}

/// `/batches`.
#[derive(Template)]
#[template(path = "batches.html")]
struct BatchesPage {
    page: PageBase,
    rows: Vec<BatchRow>,
    told: String,
}

/// `GET /batches`.
pub(super) async fn batches(State(app): State<Arc<AppState>>) -> Response {
    let page = app.page("Batches").await;
    match app.batches().await {
        Ok(list) => {
            BatchesPage { page, rows: list.batches.iter().map(BatchRow::of).collect(), told: told(&list) }.respond()
        }
        Err(error) => failed(page, &error),
    }
}

/// Where the tasks of a batch in one state are listed.
struct TasksLink {
    name: &'static str,
    count: String,
    href: String,
}

/// `/batch/NAME`.
#[derive(Template)]
#[template(path = "batch.html")]
struct BatchPage {
    page: PageBase,
    name: String,
    /// Its name at the end of a command.
    last_word: String,
    /// The batch that this is a step of, and its page.
    parent: Option<(String, String)>,
    /// What is known of it beside its row.
    about: String,
    row: BatchRow,
    waits: Vec<String>,
    links: Vec<TasksLink>,
    steps: Vec<BatchRow>,
    has_more: bool,
    failures: Vec<(FailureRow, String)>,
    /// Where its failures stand, if not all of them were looked at.
    more_failures: Option<String>,
}

impl BatchPage {
    fn new(page: PageBase, detail: &BatchDetail, (groups, are_all): &(Vec<FailureGroup>, bool)) -> Self {
        let batch = &detail.batch;
        let list = |state| TaskFilter { batch: Some(batch.name.clone()), ..TaskFilter::all(state) };
        let link = |name, number, state| TasksLink { name, count: number, href: address(&list(state), None) };
        let open = batch.waiting + batch.blocked;
        let (named, more) = waits(batch);
        let up = batch.name.as_str().rsplit_once('/').and_then(|(up, _)| up.parse::<BatchName>().ok());
        Self {
            page,
            name: batch.name.to_string(),
            last_word: last_word(&batch.name),
            parent: up.map(|up| (up.to_string(), batch_address(&up))),
            about: about(batch),
            row: BatchRow::at_head(detail),
            waits: named.into_iter().chain(more).collect(),
            links: vec![
                link("Waiting", count(open), TaskState::Todo),
                link("Running", count(batch.running), TaskState::InProgress),
                link("Finished", count(batch.finished), TaskState::Finished),
                link("Failed", count(batch.failed), TaskState::Failed),
                link("Cancelled", count(batch.cancelled), TaskState::Cancelled),
            ],
            steps: detail.steps.iter().map(BatchRow::of).collect(),
            has_more: detail.has_more,
            failures: linked(groups, Some(&batch.name)),
            more_failures: (!are_all).then(|| address(&list(TaskState::Failed), None)),
        }
    }
}

async fn find(app: &AppState, name: &str) -> Result<Option<Arc<BatchDetail>>, SourceError> {
    match name.parse::<BatchName>() {
        Ok(name) => app.batch(&name).await,
        Err(_) => Ok(None),
    }
}

/// `GET /batch/NAME`.
pub(super) async fn batch(State(app): State<Arc<AppState>>, Path(name): Path<String>) -> Response {
    let page = app.page("Batch").await;
    let detail = match find(&app, &name).await {
        Ok(Some(detail)) => detail,
        Ok(None) => {
            return MessagePage::new(page, "No such batch", "Nothing is known of a batch with this name.")
                .respond(StatusCode::NOT_FOUND);
        }
        Err(error) => return failed(page, &error),
    };
    let failures = match detail.batch.failed {
        0 => Ok(Arc::new((Vec::new(), true))),
        1.. => app.failures_of(&detail.batch.name).await,
    };
    match failures {
        Ok(failures) => BatchPage::new(page, &detail, &failures).respond(),
        Err(error) => failed(page, &error),
    }
}
