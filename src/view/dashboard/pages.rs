//! What templates are filled with. They escape for HTML; what drives terminals or reverses text is made visible here.

use std::sync::Arc;

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::assets;
use super::board::Frame;
use super::figures::{FailureRow, LINE};
use crate::model::listing::{TaskFilter, TaskPage, TaskRow};
use crate::model::snapshot::{AttemptView, Counts, FailureGroup, TaskState, TaskView};
use crate::model::{FieldOrder, TaskLine};
use crate::view::explain::explain_task;
use crate::view::safe_text::safe;
use crate::view::text::{bytes, count, moment, precise_duration, shorten};

/// Bytes of an output that a page shows: head and tail.
const OUTPUT: usize = 64 << 10;

/// What every page has.
pub(super) struct Page {
    title: &'static str,
    frame: Arc<Frame>,
    server: String,
    is_locked: bool,
    version: &'static str,
    assets: &'static str,
}

impl Page {
    pub(super) fn new(title: &'static str, frame: Arc<Frame>, server: &str, is_locked: bool) -> Self {
        Self {
            title,
            frame,
            server: server.to_owned(),
            is_locked,
            version: env!("CARGO_PKG_VERSION"),
            assets: &assets::VERSION,
        }
    }
}

fn html(status: StatusCode, rendered: Result<String, askama::Error>) -> Response {
    match rendered {
        Ok(text) => (status, Html(text)).into_response(),
        // A template fails only when writing to memory does.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

macro_rules! respond {
    ($($page:ident),*) => {
        $(impl $page {
            pub(super) fn respond(&self) -> Response {
                html(StatusCode::OK, self.render())
            }
        })*
    };
}

respond!(Overview, Workers, Tasks, Task, Failures);

/// `/`.
#[derive(Template)]
#[template(path = "overview.html")]
pub(super) struct Overview {
    pub(super) page: Page,
}

/// `/workers`.
#[derive(Template)]
#[template(path = "workers.html")]
pub(super) struct Workers {
    pub(super) page: Page,
}

/// `/tasks`.
#[derive(Template)]
#[template(path = "tasks.html")]
pub(super) struct Tasks {
    page: Page,
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
        let reason = match row.kind.as_deref() {
            Some(kind) => reason.strip_prefix(kind).unwrap_or(reason).trim_start_matches([':', ' ']),
            None => reason,
        };
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
    }
}

fn count_of(counts: &Counts, state: TaskState) -> u64 {
    match state {
        TaskState::Todo => counts.todo,
        TaskState::InProgress => counts.in_progress,
        TaskState::Finished => counts.finished,
        TaskState::Failed => counts.failed,
    }
}

/// The address of a list. serde_urlencoded escapes whatever the texts hold.
fn address(filter: &TaskFilter, cursor: Option<u64>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("state", filter.state.as_str());
    for (name, value) in
        [("include", &filter.include), ("exclude", &filter.exclude), ("worker", &filter.worker), ("kind", &filter.kind)]
    {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if let Some(cursor) = cursor {
        query.append_pair("cursor", &cursor.to_string());
    }
    format!("/tasks?{}", query.finish())
}

impl Tasks {
    pub(super) fn new(page: Page, filter: &TaskFilter, cursor: u64, found: &TaskPage) -> Self {
        let counts = page.frame.overview.counts;
        let states = TaskState::ALL
            .into_iter()
            .map(|state| StateLink {
                name: name_of(state),
                key: match state {
                    TaskState::Todo => "todo",
                    TaskState::InProgress => "running",
                    TaskState::Finished => "finished",
                    TaskState::Failed => "failed",
                },
                count: count(count_of(&counts, state)),
                href: address(&TaskFilter { state, kind: None, ..filter.clone() }, None),
                is_here: state == filter.state,
            })
            .collect();
        let (shown, all) = (found.rows.len() as u64, count_of(&counts, filter.state));
        let told = match (filter.is_narrow(), found.next) {
            (false, _) => format!("showing {} of {}", count(shown), count(all.max(shown))),
            (true, None) if cursor == 0 => format!("{} of {} match", count(shown), count(all.max(shown))),
            (true, None) => format!("{} more match, and that is all", count(shown)),
            (true, Some(_)) => format!(
                "{} match among the {} looked at for this page, of {}",
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

/// `/failures`.
#[derive(Template)]
#[template(path = "failures.html")]
pub(super) struct Failures {
    page: Page,
    groups: Vec<(FailureRow, String)>,
    others: Option<String>,
    /// Failures that were looked at for the workers, where that is not all.
    looked_at: Option<String>,
}

impl Failures {
    pub(super) fn new(page: Page, groups: &[FailureGroup]) -> Self {
        let known: u64 = groups.iter().map(|group| group.count).sum();
        let failed = page.frame.overview.counts.failed;
        let others = failed.saturating_sub(known);
        let looked_at = FailureGroup::LOOKED_AT as u64;
        let groups = groups
            .iter()
            .map(FailureRow::of)
            .map(|row| {
                let filter = TaskFilter { kind: Some(row.raw_kind.clone()), ..TaskFilter::all(TaskState::Failed) };
                (row, address(&filter, None))
            })
            .collect();
        Self {
            page,
            groups,
            others: (others > 0).then(|| count(others)),
            looked_at: (failed > looked_at).then(|| count(looked_at)),
        }
    }
}

/// `/task/ID`.
#[derive(Template)]
#[template(path = "task.html")]
pub(super) struct Task {
    page: Page,
    id: String,
    line: String,
    state: &'static str,
    tone: &'static str,
    facts: Vec<(&'static str, String)>,
    why: Vec<String>,
    reason: Option<String>,
    /// What it prints is shown live: `waits` or `runs`.
    live: Option<&'static str>,
    output: Option<Output>,
    attempts: Vec<Attempt>,
}

/// A finished task's output.
struct Output {
    worker: String,
    text: String,
    left_out: Option<String>,
}

/// One attempt.
struct Attempt {
    name: String,
    result: String,
    tone: &'static str,
    worker: String,
    started: String,
    took: String,
    peak: String,
    tails: Vec<(&'static str, String)>,
}

impl Task {
    pub(super) fn new(page: Page, task: &TaskView, order: FieldOrder) -> Self {
        let has = |state| task.states.contains(&state);
        let (state, tone) = if has(TaskState::InProgress) {
            ("running", "busy")
        } else if has(TaskState::Todo) && has(TaskState::Failed) {
            ("waiting, will be tried again", "warn")
        } else if has(TaskState::Todo) {
            ("waiting", "calm")
        } else if has(TaskState::Finished) {
            ("finished", "good")
        } else {
            ("failed, out of retries", "bad")
        };
        let mut facts = Vec::new();
        if let Ok(parsed) = TaskLine::parse(&task.line, order) {
            let limit = match parsed.timeout() {
                None => "default".to_owned(),
                Some(0) => "none".to_owned(),
                Some(seconds) => format!("{} s", count(seconds)),
            };
            facts.extend([
                ("Memory", parsed.mem().to_string()),
                ("Cores", parsed.cpu().to_string()),
                ("Priority", parsed.prio().to_string()),
                ("Time limit", limit),
            ]);
        }
        if let Some(worker) = &task.worker {
            facts.push(("Runs on", safe(worker).into_owned()));
        }
        if !task.failed_on.is_empty() {
            facts.push(("Failed on", safe(&task.failed_on.join(", ")).into_owned()));
        }
        if task.lost > 0 {
            facts.push(("Workers lost under it", count(task.lost)));
        }
        let live = if has(TaskState::InProgress) { Some("runs") } else { has(TaskState::Todo).then_some("waits") };
        let why = if live.is_some() { explain_task(&page.frame.overview, task, order) } else { Vec::new() };
        Self {
            page,
            id: task.id.clone(),
            line: safe(&task.line).into_owned(),
            state,
            tone,
            facts,
            why,
            live,
            reason: task.reason.as_deref().map(text_block),
            output: task.result.as_deref().map(Output::of),
            attempts: task.attempts.iter().rev().map(Attempt::of).collect(),
        }
    }
}

impl Output {
    fn of(result: &str) -> Self {
        let (worker, json) = result.split_once(": ").unwrap_or(("", result));
        let output = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
        let (text, left_out) = head_and_tail(&output);
        Self { worker: safe(worker).into_owned(), text, left_out }
    }
}

/// A text of several lines, each made safe.
fn text_block(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

/// All of a short text; of a long one the beginning and the end, and how much is missing.
fn head_and_tail(text: &str) -> (String, Option<String>) {
    if text.len() <= OUTPUT {
        return (text_block(text), None);
    }
    let head = text.floor_char_boundary(OUTPUT / 4);
    let tail = text.ceil_char_boundary(text.len() - (OUTPUT - OUTPUT / 4));
    let shown = format!("{}\n[…]\n{}", text_block(&text[..head]), text_block(&text[tail..]));
    (shown, Some(bytes((tail - head) as u64)))
}

impl Attempt {
    fn of(attempt: &AttemptView) -> Self {
        let tails = [("stdout", &attempt.stdout_tail), ("stderr", &attempt.stderr_tail)];
        let peak = attempt.peak_memory_bytes.map_or_else(String::new, |peak| {
            let source = attempt.peak_memory_source.as_deref().unwrap_or_default().replace('_', " ");
            format!("{} ({})", bytes(peak), safe(&source))
        });
        Self {
            name: if attempt.attempt == 0 { "operator".to_owned() } else { format!("#{}", attempt.attempt) },
            result: safe(&attempt.result).into_owned(),
            tone: match (attempt.exit_code, attempt.result.as_str()) {
                (Some(0), _) => "good",
                (_, "returned") => "warn",
                _ => "bad",
            },
            worker: safe(&attempt.worker).into_owned(),
            started: attempt.start.map_or_else(|| "never".to_owned(), moment),
            took: attempt.start.map_or_else(String::new, |start| precise_duration(attempt.end - start)),
            peak,
            tails: tails
                .into_iter()
                .filter(|(_, tail)| !tail.is_empty())
                .map(|(name, tail)| (name, text_block(tail)))
                .collect(),
        }
    }
}

/// The form that asks for the token.
#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct Login {
    pub(super) has_failed: bool,
}

impl Login {
    fn assets(&self) -> &'static str {
        &assets::VERSION
    }

    pub(super) fn respond(&self, status: StatusCode) -> Response {
        html(status, self.render())
    }
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct Message {
    page: Page,
    head: &'static str,
    text: String,
}

impl Message {
    pub(super) fn new(page: Page, head: &'static str, text: &str) -> Self {
        Self { page, head, text: safe(text).into_owned() }
    }

    pub(super) fn respond(&self, status: StatusCode) -> Response {
        let mut response = html(status, self.render());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
        }
        response
    }
}
