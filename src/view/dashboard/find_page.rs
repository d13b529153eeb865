//! What a search finds: tasks whose ids begin so, and tasks of every state whose lines have the text.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::figures::LINE;
use super::page::{PageBase, html, respond};
use super::task_list::{address, name_of};
use crate::model::listing::{TaskFilter, TaskPage};
use crate::model::snapshot::TaskState;
use crate::view::safe_text::safe;
use crate::view::text::{count, shorten};

/// The states in the order in which they are shown.
pub(super) const FOUND: [TaskState; 5] =
    [TaskState::InProgress, TaskState::Failed, TaskState::Todo, TaskState::Finished, TaskState::Cancelled];

/// Tasks of a state that are shown.
const SHOWN: usize = 5;

respond!(FindPage);

/// `/find`.
#[derive(Template)]
#[template(path = "find.html")]
pub(super) struct FindPage {
    page: PageBase,
    text: String,
    by_id: Vec<(String, String)>,
    found: Vec<Found>,
    is_nothing: bool,
    /// Tasks of a state that are shown.
    enough: usize,
}

/// What was found in a state.
pub(super) struct Found {
    state: TaskState,
    name: &'static str,
    told: String,
    rows: Vec<(String, String)>,
    href: String,
    is_whole: bool,
    /// Where the search goes on by itself, and how many tasks it has looked at.
    next: Option<String>,
    looked_at: u64,
    /// Tasks in this state.
    all: u64,
}

impl Found {
    pub(super) fn of(filter: &TaskFilter, page: &TaskPage) -> Self {
        let number = page.rows.len() as u64;
        let told = match (number, page.next) {
            (_, None) => count(number),
            (0, Some(_)) => format!("none among the first {}", count(page.looked_at)),
            (_, Some(_)) => format!("{} among the first {}", count(number), count(page.looked_at)),
        };
        let goes_on = page.rows.len() < SHOWN;
        Self {
            state: filter.state,
            next: page.next.filter(|_| goes_on).map(|next| address(filter, Some(next))),
            looked_at: page.looked_at,
            all: 0,
            name: name_of(filter.state),
            told,
            rows: page.rows.iter().take(SHOWN).map(|row| (row.id.clone(), shown(&row.line))).collect(),
            href: address(filter, None),
            is_whole: page.next.is_none() && page.rows.len() <= SHOWN,
        }
    }
}

fn shown(line: &str) -> String {
    shorten(&safe(line), LINE)
}

impl FindPage {
    pub(super) fn new(page: PageBase, text: &str, by_id: &[(String, String)], found: Vec<Found>) -> Self {
        let counts = page.snapshot.overview.counts;
        let found: Vec<Found> = found.into_iter().map(|one| Found { all: counts.of(one.state), ..one }).collect();
        let is_nothing = by_id.is_empty() && found.iter().all(|found| found.rows.is_empty() && found.is_whole);
        Self {
            page,
            text: safe(text).into_owned(),
            by_id: by_id.iter().map(|(id, line)| (id.clone(), shown(line))).collect(),
            found,
            is_nothing,
            enough: SHOWN,
        }
    }
}
