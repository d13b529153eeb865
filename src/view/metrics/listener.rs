//! The two pages of a worker: `/metrics` and `/healthz`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::encode::CONTENT_TYPE;
use super::worker::worker;
use crate::model::meters::WorkerFigures;

/// Asks the worker for its figures; `None` when it does not answer.
pub type Health = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<WorkerFigures>> + Send>> + Send + Sync>;

/// The router of the two pages. What answers is the loop that decides everything, so that a worker whose loop is stuck is not called alive.
pub fn pages(ask: Health) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(health)).with_state(ask)
}

async fn metrics(State(ask): State<Health>) -> Response {
    match ask().await {
        Some(figures) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], worker(&figures)).into_response(),
        None => stuck(),
    }
}

async fn health(State(ask): State<Health>) -> Response {
    match ask().await {
        Some(_) => "ok\n".into_response(),
        None => stuck(),
    }
}

fn stuck() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the worker's main loop does not answer\n").into_response()
}
