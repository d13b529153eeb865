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
pub enum WorkerHealth {
    /// It has yet to take its name: Redis is away, or an earlier process of it is being cleared up after.
    Starting,
    /// It is at work.
    Working(Box<WorkerFigures>),
    /// Its main loop did not answer in time.
    Stuck,
}

/// Asks the worker.
pub type HealthProbe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = WorkerHealth> + Send>> + Send + Sync>;

/// The router of the two pages. What answers is the loop that decides everything, so that a worker whose loop is stuck is not called alive.
pub fn pages(ask: HealthProbe) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(health)).with_state(ask)
}

async fn metrics(State(ask): State<HealthProbe>, asked: HeaderMap) -> Response {
    let page = match ask().await {
        WorkerHealth::Working(figures) => worker(&figures),
        WorkerHealth::Starting => starting(),
        WorkerHealth::Stuck => return stuck(),
    };
    respond(&asked, page)
}

async fn health(State(ask): State<HealthProbe>) -> Response {
    match ask().await {
        WorkerHealth::Working(_) => "ok\n".into_response(),
        WorkerHealth::Starting => "ok, starting\n".into_response(),
        WorkerHealth::Stuck => stuck(),
    }
}

fn stuck() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the worker's main loop does not answer\n").into_response()
}
