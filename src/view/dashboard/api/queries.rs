//! What the queries of the API ask for. A parameter that is empty is absent; one that is not known is refused, since a misspelt filter would
//! otherwise select everything.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;

use super::ApiError;
use crate::model::listing::{PageCursor, TaskFilter};
use crate::model::snapshot::TaskState;
use crate::model::{BatchName, NoBatchName};
use crate::policy::line_pattern::LinePattern;

/// Bytes of a filter.
const FILTER: usize = 1000;

/// Events that one answer holds at most.
const EVENTS: usize = 1000;

/// A query, or why it is none.
pub(super) fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    let strip = |text: String| text.rsplit_once("query string: ").map_or(text.clone(), |(_, why)| why.to_owned());
    query.map(|Query(asked)| asked).map_err(|error| ApiError::usage(format!("the query: {}", strip(error.body_text()))))
}

fn batch_of(name: &str) -> Result<Option<BatchName>, ApiError> {
    match name.trim() {
        "" => Ok(None),
        name => name.parse().map(Some).map_err(|error: NoBatchName| ApiError::usage(format!("batch: valid: {error}"))),
    }
}

/// Of `tasks`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::view::dashboard) struct TasksQuery {
    state: String,
    include: String,
    exclude: String,
    worker: String,
    kind: String,
    cause: String,
    batch: String,
    tag: String,
    cursor: String,
}

impl TasksQuery {
    /// The filter, and where to go on.
    pub(super) fn filter(self) -> Result<(TaskFilter, PageCursor), ApiError> {
        for (name, text) in [
            ("include", &self.include),
            ("exclude", &self.exclude),
            ("worker", &self.worker),
            ("kind", &self.kind),
            ("cause", &self.cause),
            ("tag", &self.tag),
        ] {
            if text.len() > FILTER {
                return Err(ApiError::usage(format!("{name} has {} bytes; at most {FILTER}", text.len())));
            }
        }
        let states = TaskState::ALL.map(TaskState::as_str).join(", ");
        let state = TaskState::ALL.into_iter().find(|state| state.as_str() == self.state);
        let state = state.ok_or_else(|| ApiError::usage(format!("state is {:?}; valid: {states}", self.state)))?;
        if !self.kind.is_empty() && state != TaskState::Failed {
            return Err(ApiError::usage("kind is of failures: use it with state=failed"));
        }
        if !self.cause.is_empty() && self.kind.is_empty() {
            return Err(ApiError::usage("cause is of failures of one kind: use it with kind"));
        }
        let cursor =
            self.cursor.parse().map_err(|_| ApiError::usage("cursor: valid: the next of an earlier answer"))?;
        for (name, text) in [("include", &self.include), ("exclude", &self.exclude)] {
            LinePattern::parse(text).map_err(|error| ApiError::usage(format!("{name} is {text:?}: {error}")))?;
        }
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let filter = TaskFilter {
            state,
            batch: batch_of(&self.batch)?,
            tag: some(self.tag),
            include: some(self.include),
            exclude: some(self.exclude),
            worker: some(self.worker),
            kind: some(self.kind),
            cause: some(self.cause),
        };
        Ok((filter, cursor))
    }
}

/// Of `failures`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::view::dashboard) struct FailuresQuery {
    batch: String,
}

impl FailuresQuery {
    pub(super) fn batch(&self) -> Result<Option<BatchName>, ApiError> {
        batch_of(&self.batch)
    }
}

/// Of `batches` and `batch`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::view::dashboard) struct BatchesQuery {
    texts: String,
}

impl BatchesQuery {
    /// Whether each batch comes with the cells of the pages' table.
    pub(super) fn wants_texts(&self) -> Result<bool, ApiError> {
        match self.texts.as_str() {
            "" | "0" => Ok(false),
            "1" => Ok(true),
            other => Err(ApiError::usage(format!("texts is {other:?}; valid: 1"))),
        }
    }
}

/// Of `events`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::view::dashboard) struct EventsQuery {
    after: String,
    limit: String,
}

impl EventsQuery {
    /// The entry after which to go on, and how many of the last events are wanted where there is none.
    pub(super) fn range(self) -> Result<(Option<String>, usize), ApiError> {
        const LIMIT: usize = 50;
        let limit = match self.limit.as_str() {
            "" => LIMIT,
            text => text
                .parse()
                .ok()
                .filter(|limit| (1..=EVENTS).contains(limit))
                .ok_or_else(|| ApiError::usage(format!("limit is {text:?}; valid: 1 to {EVENTS}")))?,
        };
        let is_number = |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_entry = |text: &str| text.split_once('-').is_some_and(|(ms, n)| is_number(ms) && is_number(n));
        match self.after {
            none if none.is_empty() => Ok((None, limit)),
            entry if is_entry(&entry) => Ok((Some(entry), limit)),
            _ => Err(ApiError::usage("after: valid: the next of an earlier answer, or the entry of an event")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(state: &str, kind: &str, cursor: &str) -> Result<(TaskFilter, PageCursor), ApiError> {
        let text = |text: &str| text.to_owned();
        TasksQuery { state: text(state), kind: text(kind), cursor: text(cursor), ..TasksQuery::default() }.filter()
    }

    #[test]
    fn wrong_filters_are_refused_and_not_ignored() {
        assert_eq!(tasks("failed", "exit 3", "s7.0").expect("valid").1, PageCursor::Scan(7, 0));
        for (state, kind, cursor) in [("", "", ""), ("running", "", ""), ("todo", "exit 3", ""), ("todo", "", "x")] {
            assert!(tasks(state, kind, cursor).is_err(), "{state} {kind} {cursor}");
        }
        let long = TasksQuery { state: "todo".to_owned(), include: "x".repeat(FILTER + 1), ..TasksQuery::default() };
        assert!(long.filter().is_err());
        let broken = TasksQuery { state: "todo".to_owned(), include: "re:(".to_owned(), ..TasksQuery::default() };
        assert!(broken.filter().is_err());
    }

    #[test]
    fn events_go_on_after_an_entry() {
        let range =
            |after: &str, limit: &str| EventsQuery { after: after.to_owned(), limit: limit.to_owned() }.range().ok();
        assert_eq!(range("", ""), Some((None, 50)));
        assert_eq!(range("12-0", "3"), Some((Some("12-0".to_owned()), 3)));
        for (after, limit) in [("-", ""), ("12", ""), ("12-x", ""), ("+", ""), ("", "0"), ("", "1001"), ("", "-1")] {
            assert_eq!(range(after, limit), None, "{after} {limit}");
        }
    }
}
