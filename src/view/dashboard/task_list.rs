//! The page that lists the tasks of one state, with filters.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::figures::LINE;
use super::page::{PageBase, html, respond};
use crate::model::failure_reason;
use crate::model::listing::{TaskFilter, TaskPage, TaskRow};
use crate::model::snapshot::TaskState;
use crate::view::safe_text::safe;
use crate::view::text::{count, shorten};

respond!(TaskListPage);

/// `/tasks`.
#[derive(Template)]
#[template(path = "tasks.html")]
pub(super) struct TaskListPage {
    page: PageBase,
    filter: TaskFilter,
    states: Vec<StateLink>,
    rows: Vec<Row>,
    told: String,
    first: Option<String>,
    next: Option<String>,
    without_kind: String,
}

/// A state to switch to.
struct StateLink {
    name: &'static str,
    key: &'static str,
    count: String,
    href: String,
    is_here: bool,
}

/// A task in a list.
struct Row {
    id: String,
    line: String,
    workers: String,
    kind: String,
    reason: String,
    will_retry: bool,
}

impl Row {
    fn of(row: &TaskRow) -> Self {
        let mut workers: Vec<&str> = row.workers.iter().map(String::as_str).collect();
        workers.dedup();
        let reason = row.reason.as_deref().unwrap_or_default();
        let reason = row.kind.as_deref().map_or(reason, |kind| failure_reason::beyond_kind(reason, kind));
        Self {
            id: row.id.clone(),
            line: shorten(&safe(&row.line), LINE),
            workers: shorten(&safe(&workers.join(", ")), 120),
            kind: safe(row.kind.as_deref().unwrap_or_default()).into_owned(),
            reason: shorten(&safe(reason.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default()), 120),
            will_retry: row.will_retry,
        }
    }
}

/// The state in words.
fn name_of(state: TaskState) -> &'static str {
    match state {
        TaskState::Todo => "Waiting",
        TaskState::InProgress => "Running",
        TaskState::Finished => "Finished",
        TaskState::Failed => "Failed",
        TaskState::Cancelled => "Cancelled",
    }
}

/// The address of a list. serde_urlencoded escapes whatever the texts hold.
pub(super) fn address(filter: &TaskFilter, cursor: Option<u64>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("state", filter.state.as_str());
    let batch = filter.batch.as_ref().map(ToString::to_string);
    for (name, value) in [
        ("include", &filter.include),
        ("exclude", &filter.exclude),
        ("worker", &filter.worker),
        ("kind", &filter.kind),
        ("batch", &batch),
        ("tag", &filter.tag),
    ] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if let Some(cursor) = cursor {
        query.append_pair("cursor", &cursor.to_string());
    }
    format!("/tasks?{}", query.finish())
}

impl TaskListPage {
    pub(super) fn new(page: PageBase, filter: &TaskFilter, cursor: u64, found: &TaskPage) -> Self {
        let counts = page.snapshot.overview.counts;
        let states = TaskState::ALL
            .into_iter()
            .map(|state| StateLink {
                name: name_of(state),
                key: match state {
                    TaskState::Todo => "todo",
                    TaskState::InProgress => "running",
                    TaskState::Finished => "finished",
                    TaskState::Failed => "failed",
                    TaskState::Cancelled => "cancelled",
                },
                count: count(counts.of(state)),
                href: address(&TaskFilter { state, kind: None, ..filter.clone() }, None),
                is_here: state == filter.state,
            })
            .collect();
        let (shown, all) = (found.rows.len() as u64, counts.of(filter.state));
        let told = match (filter.is_narrow(), found.next) {
            (false, _) => format!("showing {} of {}", count(shown), count(all.max(shown))),
            (true, None) if cursor == 0 => format!("{} of {} match", count(shown), count(all.max(shown))),
            (true, None) => format!("{} more match; there are no others", count(shown)),
            (true, Some(_)) => format!(
                "{} match among the {} tasks read for this page, of {}",
                count(shown),
                count(found.looked_at),
                count(all)
            ),
        };
        Self {
            states,
            rows: found.rows.iter().map(Row::of).collect(),
            told,
            first: (cursor != 0).then(|| address(filter, None)),
            next: found.next.map(|next| address(filter, Some(next))),
            without_kind: address(&TaskFilter { kind: None, ..filter.clone() }, None),
            filter: filter.clone(),
            page,
        }
    }
}
