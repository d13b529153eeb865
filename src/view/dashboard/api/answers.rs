//! The answers of the API, each from what the pages know and keep.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::ApiError;
use super::queries::{BatchesQuery, EventsQuery, FailuresQuery, TasksQuery, asked};
use crate::config::ShapeParts;
use crate::model::listing::TaskRow;
use crate::model::snapshot::{BatchView, TaskState};
use crate::model::{BatchName, NoBatchName};
use crate::view::dashboard::app_state::AppState;
use crate::view::dashboard::batch_pages::{BatchRow, told};
use crate::view::dashboard::live_state::Snapshot;
use crate::view::dashboard::source::is_id;
use crate::view::json::{self, with_ids};
use crate::view::safe_json;

/// How long a page of tasks may look for those that match.
const PATIENCE: Duration = Duration::from_millis(300);

/// An answer that is there, or why there is none.
type Answer = Result<Json, ApiError>;

/// The query of a request, if it is one.
type Asked<T> = Result<Query<T>, QueryRejection>;

/// A value as the body of an answer, in the characters of `--json`.
pub(in crate::view::dashboard) struct Json(Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = safe_json::write(&mut text, &self.0);
        text.push(b'\n');
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
    }
}

/// The latest snapshot; old figures are no answer to a program, which would take them for present ones.
async fn present(app: &AppState) -> Result<Arc<Snapshot>, ApiError> {
    let snapshot = app.live.look().await;
    match snapshot.outage() {
        Some(outage) => Err(ApiError::unavailable(outage)),
        None => Ok(snapshot),
    }
}

/// `GET /api/v1/overview`.
pub(in crate::view::dashboard) async fn overview(State(app): State<Arc<AppState>>) -> Answer {
    let snapshot = present(&app).await?;
    json::overview(&snapshot.overview).map(Json).map_err(|error| ApiError::unavailable(error.to_string()))
}

/// `GET /api/v1/workers`.
pub(in crate::view::dashboard) async fn workers(State(app): State<Arc<AppState>>) -> Answer {
    let snapshot = present(&app).await?;
    Ok(Json(json!({ "workers": with_ids(json!(snapshot.overview.workers)) })))
}

/// `GET /api/v1/tasks`.
pub(in crate::view::dashboard) async fn tasks(State(app): State<Arc<AppState>>, query: Asked<TasksQuery>) -> Answer {
    let (filter, cursor) = asked(query)?.filter()?;
    let found = app.task_page(&filter, cursor, PATIENCE).await?;
    let rows: Vec<Value> = found.rows.iter().map(|row| row_of(row, filter.state)).collect();
    let next = found.next.map(|next| next.to_string());
    Ok(Json(json!({ "tasks": rows, "next": next, "looked_at": found.looked_at })))
}

fn row_of(row: &TaskRow, state: TaskState) -> Value {
    let mut object: Map<String, Value> = json::task(&row.line, state, row.workers.iter().map(String::as_str));
    if state == TaskState::Failed {
        object.insert("will_retry".to_owned(), json!(row.will_retry));
        object.insert("kind".to_owned(), json!(row.kind));
        object.insert("reason".to_owned(), json!(row.reason));
    }
    Value::Object(object)
}

/// `GET /api/v1/task/ID`.
pub(in crate::view::dashboard) async fn task(State(app): State<Arc<AppState>>, Path(id): Path<String>) -> Answer {
    if !is_id(&id) {
        return Err(ApiError::usage("the id of a task has 16 hex digits in lower case"));
    }
    let none = || ApiError::not_found(format!("no task {id} in the queue"));
    let task = app.task(&id).await?.ok_or_else(none)?;
    let mut object = json!(task.task);
    let earlier = app.source.earlier_ids(&task.task.line).await?;
    if !earlier.is_empty() {
        object["edited_from"] = json!(earlier);
    }
    Ok(Json(object))
}

/// `GET /api/v1/failures`.
pub(in crate::view::dashboard) async fn failures(
    State(app): State<Arc<AppState>>,
    query: Asked<FailuresQuery>,
) -> Answer {
    let (groups, is_complete) = match asked(query)?.batch()? {
        Some(batch) => {
            let found = app.failures_of(&batch).await?;
            (json!(found.0), found.1)
        }
        None => {
            let groups = app.failures().await?;
            (groups.iter().map(|(group, detail)| json::failure_group(group, Some(detail))).collect(), true)
        }
    };
    Ok(Json(json!({ "failures": with_ids(groups), "is_complete": is_complete })))
}

/// A batch, and where the page asks for it the cells of its row.
fn batch_of(batch: &BatchView, wants_texts: bool) -> Value {
    let mut object = json!(batch);
    if wants_texts {
        object["texts"] = json!(BatchRow::of(batch));
    }
    object
}

/// `GET /api/v1/batches`.
pub(in crate::view::dashboard) async fn batches(
    State(app): State<Arc<AppState>>,
    query: Asked<BatchesQuery>,
) -> Answer {
    let wants_texts = asked(query)?.wants_texts()?;
    let list = app.batches().await?;
    let rows: Vec<Value> = list.batches.iter().map(|batch| batch_of(batch, wants_texts)).collect();
    let mut answer = json!({ "batches": rows, "known": list.known });
    if wants_texts {
        answer["told"] = json!(told(&list));
    }
    Ok(Json(answer))
}

/// `GET /api/v1/batch/NAME`.
pub(in crate::view::dashboard) async fn batch(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    query: Asked<BatchesQuery>,
) -> Answer {
    let wants_texts = asked(query)?.wants_texts()?;
    let name: BatchName = name.parse().map_err(|error: NoBatchName| ApiError::usage(format!("valid: {error}")))?;
    let detail = app.batch(&name).await?.ok_or_else(|| ApiError::not_found(format!("no batch {name}")))?;
    let mut answer = json::batch(&detail);
    answer["is_complete"] = json!(!detail.has_more);
    if wants_texts {
        answer["texts"] = json!(BatchRow::at_head(&detail));
        answer["steps"] = detail.steps.iter().map(|step| batch_of(step, true)).collect();
    }
    Ok(Json(answer))
}

/// `GET /api/v1/limits`.
pub(in crate::view::dashboard) async fn limits(State(app): State<Arc<AppState>>) -> Answer {
    Ok(Json(json!({ "limits": *app.limits().await? })))
}

/// `GET /api/v1/wanted`.
pub(in crate::view::dashboard) async fn wanted(
    State(app): State<Arc<AppState>>,
    query: Asked<Vec<(String, String)>>,
) -> Answer {
    let shape = ShapeParts::of_pairs(&asked(query)?).map_err(|faults| ApiError::usage(faults.join("; ")))?;
    let snapshot = present(&app).await?;
    let wanted = app.wanted(&shape, &*app.runnable().await?, &snapshot.overview);
    Ok(Json(json!({ "wanted": wanted.wanted, "additional": wanted.additional, "runnable": wanted.runnable })))
}

/// `GET /api/v1/events`.
pub(in crate::view::dashboard) async fn events(State(app): State<Arc<AppState>>, query: Asked<EventsQuery>) -> Answer {
    let (after, limit) = asked(query)?.range()?;
    let found = app.events((after, limit)).await?;
    Ok(Json(json!({ "events": found.events, "next": found.next })))
}
