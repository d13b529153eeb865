//! `GET /task/{id}/download`: what a task that has ended printed, as a file.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::app_state::AppState;
use super::source::is_id;
use crate::model::snapshot::TaskView;
use crate::view::web::refuse;

/// The query: `stdout`, or `stderr` for the end of it that is kept.
#[derive(Debug, Default, Deserialize)]
pub(super) struct DownloadQuery {
    #[serde(default)]
    stream: String,
}

/// `GET /task/{id}/download`.
pub(super) async fn download(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    asked: Result<Query<DownloadQuery>, QueryRejection>,
) -> Response {
    let stream = asked.map(|Query(asked)| asked.stream).unwrap_or_default();
    if !is_id(&id) || !matches!(stream.as_str(), "" | "stdout" | "stderr") {
        return refuse(StatusCode::NOT_FOUND, "no such output");
    }
    match app.task(&id).await {
        Ok(Some(found)) => match printed(&found.task, stream == "stderr") {
            Some((part, text)) => {
                // The id is of digits and letters. A browser stores it, and opens nothing.
                let place = format!("attachment; filename=\"{id}{part}.txt\"");
                let kind = "text/plain; charset=utf-8";
                ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, place.as_str())], text).into_response()
            }
            None => refuse(StatusCode::NOT_FOUND, "no output of this task is kept; while it runs, its page shows it"),
        },
        Ok(None) => refuse(StatusCode::NOT_FOUND, "no such task"),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// What is kept of the output, and how the file says that it is a part.
fn printed(task: &TaskView, is_stderr: bool) -> Option<(&'static str, String)> {
    let last = task.last_attempt();
    if is_stderr {
        return last.map(|attempt| (".stderr-end", attempt.stderr_tail.clone()));
    }
    if let Some(text) = task.exact_output() {
        return Some(("", text));
    }
    if let Some(text) = task.output() {
        return Some((if last.is_some_and(|last| last.stdout_bytes.is_some()) { ".part" } else { "" }, text));
    }
    last.map(|attempt| (".stdout-end", attempt.stdout_tail.clone()))
}
