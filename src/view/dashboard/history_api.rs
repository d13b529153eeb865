//! `GET /api/v1/history`: what the charts show.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::app_state::AppState;
use super::fleet::Fleet;
use super::history::Range;
use crate::sys::wall_clock;
use crate::view::web::refuse;

/// The query: a range, or `workers` with the filter of their page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HistoryQuery {
    #[serde(default)]
    range: String,
    #[serde(default)]
    filter: String,
}

/// `GET /api/v1/history`.
pub(super) async fn history(
    State(app): State<Arc<AppState>>,
    asked: Result<Query<HistoryQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(asked)) = asked else { return refuse(StatusCode::BAD_REQUEST, "this is no range of /api/v1/history") };
    if asked.range == "workers" {
        let snapshot = app.live.look().await;
        let fleet = Fleet::new(&snapshot.overview, &snapshot.figures, &asked.filter);
        let names = fleet.rows().map(|row| row.name.as_str());
        return Json(app.live.nodes(|nodes| nodes.columns(names))).into_response();
    }
    let now = wall_clock::now().unwrap_or_default().as_secs_f64();
    Json(app.live.history(|history| history.columns(Range::of(&asked.range), now))).into_response()
}
