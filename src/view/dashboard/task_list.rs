//! The page that lists the tasks of one state, with filters.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::moment::{Moment, MomentStyle};
use super::page::{PageBase, html, respond};
use super::running_facts::{Heard, RunningFacts};
use super::source::TaskDefaults;
use super::task_rows::{Head, Row, Sorting, heads};
use crate::model::FieldOrder;
use crate::model::listing::{PageCursor, PageOrder, TaskFilter, TaskPage, TaskRow};
use crate::model::snapshot::TaskState;
use crate::view::text::count;

/// Rows of a page of running tasks.
const ROWS: usize = 100;

respond!(TaskListPage);

/// `/tasks`.
#[derive(Template)]
#[template(path = "tasks.html")]
pub(super) struct TaskListPage {
    page: PageBase,
    filter: TaskFilter,
    states: Vec<StateLink>,
    heads: Vec<HeadLink>,
    rows: Vec<Row>,
    told: String,
    /// In which order they are, and that they are of a moment.
    order: &'static str,
    as_of: String,
    /// It keeps itself up to date.
    is_live: bool,
    /// It goes on by itself until enough was found: so many tasks were looked at, of so many.
    search: Option<(u64, u64)>,
    first: Option<String>,
    next: Option<String>,
    without_kind: String,
    without_cause: String,
    sort: String,
}

/// What a list was asked for, beside the filter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListView {
    pub(super) cursor: PageCursor,
    pub(super) sorting: Sorting,
    /// The first of the running tasks that is shown.
    pub(super) from: usize,
}

/// A state to switch to.
struct StateLink {
    name: &'static str,
    key: &'static str,
    count: String,
    href: String,
    is_here: bool,
}

/// The head of a column.
struct HeadLink {
    head: &'static Head,
    /// Where it leads to sort by it.
    href: Option<String>,
    /// `ascending` or `descending`, where it is sorted by it.
    sort: Option<&'static str>,
}

/// The state in words.
pub(super) fn name_of(state: TaskState) -> &'static str {
    match state {
        TaskState::Todo => "Waiting",
        TaskState::InProgress => "Running",
        TaskState::Finished => "Finished",
        TaskState::Failed => "Failed",
        TaskState::Cancelled => "Cancelled",
    }
}

/// The address of a list.
pub(super) fn address(filter: &TaskFilter, cursor: Option<PageCursor>) -> String {
    address_of(filter, ListView { cursor: cursor.unwrap_or_default(), ..ListView::default() })
}

/// The same in an order. serde_urlencoded escapes whatever the texts hold.
fn address_of(filter: &TaskFilter, view: ListView) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("state", filter.state.as_str());
    let batch = filter.batch.as_ref().map(ToString::to_string);
    for (name, value) in [
        ("include", &filter.include),
        ("exclude", &filter.exclude),
        ("worker", &filter.worker),
        ("kind", &filter.kind),
        ("cause", &filter.cause),
        ("batch", &batch),
        ("tag", &filter.tag),
    ] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if view.sorting != Sorting::default() {
        query.append_pair("sort", &view.sorting.text());
    }
    if view.cursor != PageCursor::Start {
        query.append_pair("cursor", &view.cursor.to_string());
    }
    if view.from > 0 {
        query.append_pair("from", &view.from.to_string());
    }
    format!("/tasks?{}", query.finish())
}

impl TaskListPage {
    pub(super) fn new(
        page: PageBase,
        filter: &TaskFilter,
        view: ListView,
        found: &TaskPage,
        reading: (FieldOrder, TaskDefaults),
    ) -> Self {
        let counts = page.snapshot.overview.counts;
        let all = counts.of(filter.state);
        let is_running = filter.state == TaskState::InProgress;
        let (rows, next) = if is_running {
            running(&page, found, view, reading)
        } else {
            let rows = found.rows.iter().map(|row| Row::of(row, filter.state, None, reading.0)).collect();
            (rows, found.next.map(|cursor| ListView { cursor, ..view }))
        };
        let shown = rows.len() as u64;
        let is_first = view.cursor == PageCursor::Start && view.from == 0;
        let told = if is_running {
            told_of_running(filter, view, found, (shown, all))
        } else {
            told(filter, is_first, found, (shown, all))
        };
        let is_scanning = matches!(found.next, Some(PageCursor::Scan(..))) && filter.kind.is_some();
        let is_searching = filter.is_searching() || is_scanning;
        let looks_on = !is_running && is_searching && next.is_some() && found.rows.len() < ROWS;
        let is_shared = page.snapshot.overview.fair_share.is_some();
        Self {
            states: states(&page, filter),
            heads: heads(filter.state).iter().map(|head| HeadLink::of(head, filter, view)).collect(),
            rows,
            told,
            order: match (found.order, is_shared) {
                (PageOrder::None, _) if is_running => "",
                (PageOrder::None, _) => "in no order: no index has them",
                (PageOrder::Claims, false) => "in the order in which they will be claimed",
                (PageOrder::Claims, true) => {
                    "by priority and submission; the fair share decides among those of equal priority"
                }
                (PageOrder::NewestFirst, _) => "newest first",
            },
            as_of: Moment(page.snapshot.read_unix).html(MomentStyle::Clock),
            is_live: is_running,
            search: looks_on.then_some((found.looked_at, all)),
            first: (!is_first).then(|| address_of(filter, ListView { sorting: view.sorting, ..ListView::default() })),
            next: next.map(|next| address_of(filter, next)),
            without_kind: address(&TaskFilter { kind: None, cause: None, ..filter.clone() }, None),
            without_cause: address(&TaskFilter { cause: None, ..filter.clone() }, None),
            sort: if view.sorting == Sorting::default() { String::new() } else { view.sorting.text() },
            filter: filter.clone(),
            page,
        }
    }
}

fn states(page: &PageBase, filter: &TaskFilter) -> Vec<StateLink> {
    let counts = page.snapshot.overview.counts;
    let link = |state| StateLink {
        name: name_of(state),
        key: match state {
            TaskState::Todo => "todo",
            TaskState::InProgress => "running",
            TaskState::Finished => "finished",
            TaskState::Failed => "failed",
            TaskState::Cancelled => "cancelled",
        },
        count: count(counts.of(state)),
        href: address(&TaskFilter { state, kind: None, cause: None, ..filter.clone() }, None),
        is_here: state == filter.state,
    };
    TaskState::ALL.into_iter().map(link).collect()
}

impl HeadLink {
    fn of(head: &'static Head, filter: &TaskFilter, view: ListView) -> Self {
        let Some(key) = head.key else { return Self { head, href: None, sort: None } };
        let is_here = view.sorting.key == key;
        let is_reversed = is_here && !view.sorting.is_reversed;
        let sorting = Sorting { key, is_reversed };
        let direction = if view.sorting.is_ascending() { "ascending" } else { "descending" };
        Self {
            head,
            href: Some(address_of(filter, ListView { sorting, ..ListView::default() })),
            sort: is_here.then_some(direction),
        }
    }
}

/// A page of the running tasks in their order, and the next page.
fn running(
    page: &PageBase,
    found: &TaskPage,
    view: ListView,
    reading: (FieldOrder, TaskDefaults),
) -> (Vec<Row>, Option<ListView>) {
    let overview = &page.snapshot.overview;
    let heard = Heard::of(overview);
    let facts = |row: &TaskRow| {
        let worker = row.workers.first().map(String::as_str);
        RunningFacts::of((&row.id, &row.line, worker), row.claim.as_ref(), &heard, overview.now, reading)
    };
    let mut all: Vec<(TaskRow, RunningFacts)> = found.rows.iter().map(|row| (row.clone(), facts(row))).collect();
    view.sorting.sort(&mut all);
    let rows = all.iter().skip(view.from).take(ROWS);
    let rows: Vec<Row> = rows.map(|(row, facts)| Row::of(row, TaskState::InProgress, Some(facts), reading.0)).collect();
    let upto = view.from + rows.len();
    (rows, (upto < all.len()).then_some(ListView { from: upto, ..view }))
}

fn told_of_running(filter: &TaskFilter, view: ListView, found: &TaskPage, (shown, all): (u64, u64)) -> String {
    let matching = found.rows.len() as u64;
    let span = match (view.from as u64, shown) {
        (0, shown) if shown == matching => None,
        (from, shown) => Some(format!("{} to {} of ", count(from + 1), count(from + shown))),
    };
    let span = span.unwrap_or_default();
    let all = all.max(matching);
    match filter.is_narrow() {
        true => format!("{span}{} of {} match", count(matching), count(all)),
        false if found.looked_at < all && matching < all => {
            format!("{span}the first {} read of {}", count(matching), count(all))
        }
        false if span.is_empty() => format!("showing {} of {}", count(shown), count(all)),
        false => format!("showing {span}{}", count(all)),
    }
}

fn told(filter: &TaskFilter, is_first: bool, found: &TaskPage, (shown, all): (u64, u64)) -> String {
    match (filter.is_narrow(), found.next) {
        (false, _) => format!("showing {} of {}", count(shown), count(all.max(shown))),
        (true, None) if is_first => format!("{} of {} match", count(shown), count(all.max(shown))),
        (true, None) => format!("{} more match; there are no others", count(shown)),
        (true, Some(_)) if !filter.is_searching() => format!("{} on this page match", count(shown)),
        (true, Some(_)) => format!(
            "{} match among the {} tasks read for this page, of {}",
            count(shown),
            count(found.looked_at),
            count(all)
        ),
    }
}
