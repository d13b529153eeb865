//! The URLs of tasks: lists of them, one of them, and the search.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::app_state::AppState;
use super::find_page::{FOUND, FindPage, Found};
use super::pages::{MessagePage, failed};
use super::source::is_id;
use super::task_list::{ListView, TaskListPage};
use super::task_page::TaskDetailPage;
use super::task_rows::Sorting;
use crate::model::listing::{PATIENCE, PageCursor, TaskFilter};
use crate::model::snapshot::TaskState;
use crate::policy::line_pattern::LinePattern;

/// Characters of a filter.
const FILTER: usize = 1000;

/// How long a part of a search may take that goes on by itself.
const FURTHER: Duration = Duration::from_millis(300);

/// The query of `/tasks`; a field left empty in the form is absent.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TasksQuery {
    #[serde(default)]
    state: String,
    #[serde(default)]
    include: String,
    #[serde(default)]
    exclude: String,
    #[serde(default)]
    worker: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    batch: String,
    #[serde(default)]
    tag: String,
    #[serde(default)]
    cursor: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    from: usize,
    /// The script of a page goes on with it: nobody waits for this part alone.
    #[serde(default)]
    further: bool,
}

impl TasksQuery {
    fn view(&self) -> Option<ListView> {
        Some(ListView { cursor: self.cursor.parse().ok()?, sorting: Sorting::parse(&self.sort)?, from: self.from })
    }

    /// Why a text that is searched for is none.
    fn bad_pattern(&self) -> Option<String> {
        let bad = |text: &String| Some(format!("{text}: {}.", LinePattern::parse(text).err()?));
        [&self.include, &self.exclude].into_iter().find_map(bad)
    }

    fn filter(&self) -> Option<TaskFilter> {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        if [&self.include, &self.exclude, &self.worker, &self.kind, &self.cause, &self.tag]
            .iter()
            .any(|text| text.len() > FILTER)
        {
            return None;
        }
        let state = match self.state.as_str() {
            "" => TaskState::InProgress,
            name => TaskState::ALL.into_iter().find(|state| state.as_str() == name)?,
        };
        let batch = match self.batch.trim() {
            "" => None,
            name => Some(name.parse().ok()?),
        };
        Some(TaskFilter {
            state,
            batch,
            tag: some(&self.tag),
            include: some(&self.include),
            exclude: some(&self.exclude),
            worker: some(&self.worker),
            kind: some(&self.kind).filter(|_| state == TaskState::Failed),
            cause: some(&self.cause).filter(|_| state == TaskState::Failed && !self.kind.is_empty()),
        })
    }
}

pub(super) async fn tasks(
    State(app): State<Arc<AppState>>,
    asked: Result<Query<TasksQuery>, QueryRejection>,
) -> Response {
    let page = app.page("Tasks").await;
    let asked = asked
        .map(|Query(asked)| asked)
        .unwrap_or_else(|_| TasksQuery { state: "?".to_owned(), ..TasksQuery::default() });
    let (Some(filter), Some(view)) = (asked.filter(), asked.view()) else {
        return MessagePage::new(page, "No such list", "The URL contains an unknown state, order or place, a text that is too long, or a batch that is no name: at most 4 parts like s1/prep, each at most 64 of A-Z a-z 0-9 . _ -.")
            .respond(StatusCode::BAD_REQUEST);
    };
    if let Some(why) = asked.bad_pattern() {
        return MessagePage::new(page, "No regular expression", &why).respond(StatusCode::BAD_REQUEST);
    }
    let within = if asked.further { FURTHER } else { PATIENCE };
    match app.task_page(&filter, view.cursor, within).await {
        Ok(found) => TaskListPage::new(page, &filter, view, &found, (app.order, app.source.defaults())).respond(),
        Err(error) => failed(page, &error),
    }
}

/// The query of `/task/ID`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TaskQuery {
    /// Output is shown with its escapes.
    #[serde(default)]
    raw: String,
}

impl TaskQuery {
    pub(super) fn is_raw(&self) -> bool {
        self.raw == "1"
    }
}

pub(super) async fn task(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Query(asked): Query<TaskQuery>,
) -> Response {
    let page = app.page("Task").await;
    let found = if is_id(&id) { app.task(&id).await } else { Ok(None) };
    match found {
        Ok(Some(found)) => {
            TaskDetailPage::new(page, &found, asked.is_raw(), (app.order, app.source.defaults())).respond()
        }
        Ok(None) => {
            MessagePage::new(page, "No such task", "No task in the queue has this id. It may have been purged.")
                .respond(StatusCode::NOT_FOUND)
        }
        Err(error) => failed(page, &error),
    }
}

/// The query of `/find`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct FindQuery {
    #[serde(default)]
    q: String,
}

/// `GET /find`: an id or the beginning of one opens the task; any other text is looked for in all states.
pub(super) async fn find(State(app): State<Arc<AppState>>, Query(FindQuery { q }): Query<FindQuery>) -> Response {
    let page = app.page("Find").await;
    let text = q.trim();
    if text.is_empty() {
        return Redirect::to("/tasks").into_response();
    }
    if text.len() > FILTER {
        return MessagePage::new(page, "Too long", "A text to search for has at most 1,000 characters.")
            .respond(StatusCode::BAD_REQUEST);
    }
    if let Err(why) = LinePattern::parse(text) {
        return MessagePage::new(page, "No regular expression", &format!("{text}: {why}."))
            .respond(StatusCode::BAD_REQUEST);
    }
    let mut tasks = Vec::new();
    if is_beginning(text) {
        tasks = match app.source.lines_of(&text.to_ascii_lowercase()).await {
            Ok(tasks) => tasks,
            Err(error) => return failed(page, &error),
        };
        if let [(id, _)] = tasks.as_slice() {
            return Redirect::to(&format!("/task/{id}")).into_response();
        }
    }
    let mut found = Vec::new();
    for state in FOUND {
        let filter = TaskFilter { include: Some(text.to_owned()), ..TaskFilter::all(state) };
        match app.task_page(&filter, PageCursor::Start, PATIENCE).await {
            Ok(page) => found.push(Found::of(&filter, &page)),
            Err(error) => return failed(page, &error),
        }
    }
    FindPage::new(page, text, &tasks, found).respond()
}

/// Whether a text may be an id or the beginning of one.
fn is_beginning(text: &str) -> bool {
    (4..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
