//! The operator's own page, and the form that asks for his token.

use std::sync::Arc;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::order::OrderVerb;
use super::orders::{OrderEntry, Progress};
use crate::model::snapshot::{BatchList, WorkerState};
use crate::view::batches::BatchCells;
use crate::view::dashboard::page::{PageBase, batch_address, html};
use crate::view::safe_text::safe;
use crate::view::web::Operator;

/// Workers and batches that are listed.
const LISTED: usize = 200;

/// `/operate` before the token was shown.
#[derive(Template)]
#[template(path = "operate_login.html")]
pub(super) struct OperatorLoginPage {
    next: String,
    has_failed: bool,
}

impl OperatorLoginPage {
    pub(super) fn new(next: &str, has_failed: bool) -> Self {
        Self { next: next.to_owned(), has_failed }
    }

    pub(super) fn respond(&self, status: StatusCode) -> Response {
        html(status, self.render())
    }
}

/// `/operate`.
#[derive(Template)]
#[template(path = "operate.html")]
pub(super) struct ConsolePage {
    page: PageBase,
    name: String,
    form_secret: String,
    /// Why nothing starts.
    paused: Option<String>,
    /// Workers and batches: the id and the title of the table, what it says without rows, and the rows.
    tables: [(&'static str, &'static str, &'static str, Vec<Row>); 2],
    orders: Vec<OrderRow>,
}

/// Something that can be acted on.
struct Row {
    name: String,
    /// Its own page.
    href: String,
    state: &'static str,
    /// What can be done, and where.
    acts: Vec<(&'static str, String)>,
}

/// An order of the last while.
struct OrderRow {
    by: String,
    what: String,
    became: String,
}

/// The address that gives an order about one thing.
pub(super) fn address(verb: OrderVerb, pairs: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("/operate/{}?{query}", verb.as_str())
}

fn acts(verbs: &[OrderVerb], pairs: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    verbs.iter().map(|verb| (verb.title(), address(*verb, pairs))).collect()
}

impl ConsolePage {
    pub(super) fn new(page: PageBase, operator: &Operator, batches: &BatchList, orders: &[Arc<OrderEntry>]) -> Self {
        let overview = &page.snapshot.overview;
        let stopping = overview.stopping.then(|| "the stop command is there".to_owned());
        let paused = overview.paused.as_ref().map(|who| safe(who).into_owned()).or(stopping);
        let live = overview.workers.iter().filter(|worker| can_be_drained(worker.state)).take(LISTED);
        let workers = live.map(|worker| Row {
            name: safe(&worker.name).into_owned(),
            href: format!(
                "/tasks?{}",
                form_urlencoded::Serializer::new(String::new())
                    .extend_pairs([("state", "in_progress"), ("worker", worker.name.as_str())])
                    .finish()
            ),
            state: worker.state.as_str(),
            acts: acts(&[OrderVerb::Drain, OrderVerb::Resume], &[("worker", worker.name.as_str())]),
        });
        let rows = batches.batches.iter().take(LISTED).map(|batch| {
            let cells = BatchCells::of(batch);
            let verbs = [OrderVerb::Pause, OrderVerb::Resume, OrderVerb::Requeue, OrderVerb::Cancel, OrderVerb::Purge];
            Row {
                name: cells.name,
                href: batch_address(&batch.name),
                state: cells.state,
                acts: acts(&verbs, &[("batch", batch.name.as_str())]),
            }
        });
        let tables = [
            ("workers", "Workers", "No worker can be drained.", workers.collect()),
            ("batches", "Batches", "There are no batches.", rows.collect()),
        ];
        let orders = orders.iter().filter_map(|entry| OrderRow::of(entry)).collect();
        let (name, form_secret) = (operator.name.clone(), operator.form_secret.clone());
        Self { page, name, form_secret, paused, tables, orders }
    }

    pub(super) fn respond(&self) -> Response {
        html(StatusCode::OK, self.render())
    }
}

/// A Python worker has no way to be told, and one that is dead nothing to be told.
fn can_be_drained(state: WorkerState) -> bool {
    match state {
        WorkerState::Live
        | WorkerState::Suspect
        | WorkerState::Draining
        | WorkerState::Drained
        | WorkerState::Silent => true,
        WorkerState::Python | WorkerState::Dead => false,
    }
}

impl OrderRow {
    /// Of an order that was confirmed.
    fn of(entry: &OrderEntry) -> Option<Self> {
        let by = entry.by.clone();
        let (what, became) = match entry.progress() {
            Progress::Preparing | Progress::Asking(_) | Progress::Expired => return None,
            Progress::Running(question) => (question.what.clone(), "under way".to_owned()),
            Progress::Done(question, told) => (question.what.clone(), told),
            Progress::Failed(why) => (entry.order.verb.title().to_owned(), why),
        };
        Some(Self { by, what: safe(&what).into_owned(), became: safe(&became).into_owned() })
    }
}
