//! The URLs of the dashboard, and the layers that every request passes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};
use serde::Deserialize;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;

use super::app_state::AppState;
use super::base_path::BasePath;
use super::failures_page::FailuresPage;
use super::operate::{self, OrderDesk, Orders};
use super::page::PageBase;
use super::pages::{MessagePage, OverviewPage, WorkersPage, failed};
use super::{api, assets, base_path, batch_pages, download, fleet, history_api, login, stream, task_routes, timeline};
use crate::config::ShapeParts;
use crate::model::BatchName;
use crate::view::metrics;
use crate::view::web::{HostGuard, check};

/// Bytes of a request's body: a token.
const BODY: usize = 4096;

/// How long an answer may take to begin.
const ANSWER: Duration = Duration::from_secs(20);

/// The router of the dashboard, with all its layers. Orders need a desk and a state with operators; without both there is no address that changes anything.
pub fn router(app: AppState, guard: HostGuard, desk: Option<Arc<dyn OrderDesk>>, base: BasePath) -> Router {
    let base = Arc::new(base);
    let app = Arc::new(AppState { base: Arc::clone(&base), ..app });
    let orders = app.operators.clone().zip(desk);
    let acting = orders.map(|(access, desk)| operate::routes(Arc::clone(&app), access, Orders::new(desk)));
    let queue = Router::new()
        .route("/", get(overview))
        .route("/workers", get(workers))
        .route("/tasks", get(task_routes::tasks))
        .route("/task/{id}", get(task_routes::task))
        .route("/find", get(task_routes::find))
        .route("/task/{id}/output", get(stream::output))
        .route("/task/{id}/download", get(download::download))
        .route("/failures", get(failures))
        .route("/batches", get(batch_pages::batches))
        .route("/batch/{*name}", get(batch_pages::batch))
        .route("/api/v1/overview", get(api::overview))
        .route("/api/v1/workers", get(api::workers))
        .route("/api/v1/tasks", get(api::tasks))
        .route("/api/v1/task/{id}", get(api::task))
        .route("/api/v1/failures", get(api::failures))
        .route("/api/v1/batches", get(api::batches))
        .route("/api/v1/batch/{*name}", get(api::batch))
        .route("/api/v1/limits", get(api::limits))
        .route("/api/v1/wanted", get(api::wanted))
        .route("/api/v1/events", get(api::events))
        .route("/timeline", get(timeline::page))
        .route("/api/v1/timeline", get(timeline::data))
        .route("/live", get(stream::live))
        .route("/api/v1/history", get(history_api::history))
        .route("/metrics", get(scrape))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), login::admit));
    let router = Router::new()
        .route("/login", get(login::form).post(login::login))
        .route("/logout", post(login::logout))
        .route("/assets/{*path}", get(assets::asset))
        .merge(queue)
        .fallback(nothing)
        .with_state(app)
        .merge(acting.unwrap_or_default())
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&base), base_path::outward))
        .layer(CompressionLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, ANSWER))
        .layer(middleware::from_fn_with_state(Arc::new(guard), check))
        .layer(middleware::from_fn(api::errors_as_json));
    base_path::under(base, router)
}

async fn overview(State(app): State<Arc<AppState>>) -> Response {
    OverviewPage { page: app.page("Overview").await }.respond()
}

/// The query of `/workers`.
#[derive(Debug, Default, Deserialize)]
struct WorkersQuery {
    #[serde(default)]
    filter: String,
}

async fn workers(State(app): State<Arc<AppState>>, asked: Result<Query<WorkersQuery>, QueryRejection>) -> Response {
    let filter: String = asked.map(|Query(asked)| asked.filter).unwrap_or_default();
    let filter: String = filter.trim().chars().take(fleet::FILTER).collect();
    WorkersPage::new(app.page("Workers").await, &filter).respond()
}

/// The query of `/failures`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct FailuresQuery {
    #[serde(default)]
    batch: String,
}

async fn failures(State(app): State<Arc<AppState>>, Query(asked): Query<FailuresQuery>) -> Response {
    let page = app.page("Failures").await;
    if !asked.batch.is_empty() {
        return failures_of(&app, page, &asked.batch).await;
    }
    match app.failures().await {
        Ok(groups) => FailuresPage::new(page, &groups).respond(),
        Err(error) => failed(page, &error),
    }
}

async fn failures_of(app: &AppState, page: PageBase, batch: &str) -> Response {
    let batch = match batch.parse::<BatchName>() {
        Ok(batch) => batch,
        Err(error) => {
            return MessagePage::new(page, "No such list", &format!("This is no name of a batch; valid: {error}."))
                .respond(StatusCode::BAD_REQUEST);
        }
    };
    match app.failures_of(&batch).await {
        Ok(found) => FailuresPage::of_batch(page, &batch, &found.0, found.1).respond(),
        Err(error) => failed(page, &error),
    }
}

/// What a scrape waits for a newer snapshot: a Redis that hangs must not make it late.
const SCRAPE: Duration = Duration::from_millis(50);

async fn scrape(State(app): State<Arc<AppState>>, asked: axum::http::HeaderMap) -> Response {
    let snapshot = app.live.look_within(SCRAPE).await;
    let extras = app.live.extras();
    let runnable = extras.as_ref().map(|extras| Arc::clone(&extras.runnable));
    let wanted_of = |shape: &ShapeParts| {
        let wanted = app.wanted(shape, runnable.as_deref()?, &snapshot.overview).wanted;
        Some((shape.shape(&app.config).to_string(), wanted))
    };
    let wanted: Vec<(String, u64)> = app.shapes.iter().filter_map(wanted_of).collect();
    let shown = metrics::QueueFigures {
        overview: Some(&snapshot.overview).filter(|_| snapshot.is_current()),
        batches: extras.as_ref().map_or(&[], |extras| &extras.batches.batches),
        runnable: runnable.as_deref(),
        wanted: &wanted,
        age_seconds: snapshot.read_at.elapsed().as_secs_f64(),
        oldest_waiting_seconds: extras.as_ref().map(|extras| extras.oldest_waiting_seconds),
        viewers: app.live.viewers(),
        followed: app.tails.count(),
        server: &app.server,
        prefix: &app.prefix,
    };
    metrics::respond(&asked, metrics::queue(&shown))
}

async fn nothing(State(app): State<Arc<AppState>>, headers: axum::http::HeaderMap) -> Response {
    if !app.is_viewer(&headers) {
        return crate::view::web::refuse(StatusCode::NOT_FOUND, "no such page");
    }
    MessagePage::new(app.page("Not found").await, "No such page", "This page does not exist.")
        .respond(StatusCode::NOT_FOUND)
}
