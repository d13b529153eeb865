//! The two pages of a worker: `/metrics` and `/healthz`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::exposition::respond;
use super::worker::{starting, worker};
use crate::model::meters::WorkerFigures;

/// What a worker answers when it is asked how it is.
#[derive(Clone, Debug)]
pub enum Pulse {
    /// It has yet to take its name: Redis is away, or an earlier process of it is being cleared up after.
    Starting,
    /// It is at work.
    Beats(Box<WorkerFigures>),
    /// Nothing.
    Stuck,
}

/// Asks the worker.
pub type Ask = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Pulse> + Send>> + Send + Sync>;

/// The router of the two pages. What answers is the loop that decides everything, so that a worker whose loop is stuck is not called alive.
pub fn pages(ask: Ask) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(health)).with_state(ask)
}

async fn metrics(State(ask): State<Ask>, asked: HeaderMap) -> Response {
    let page = match ask().await {
        Pulse::Beats(figures) => worker(&figures),
        Pulse::Starting => starting(),
        Pulse::Stuck => return stuck(),
    };
    respond(&asked, page)
}

async fn health(State(ask): State<Ask>) -> Response {
    match ask().await {
        Pulse::Beats(_) => "ok\n".into_response(),
        Pulse::Starting => "ok, starting\n".into_response(),
        Pulse::Stuck => stuck(),
    }
}

fn stuck() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the worker's main loop does not answer\n").into_response()
}
