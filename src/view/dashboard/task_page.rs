//! The page of one task: what is known of it, its output, its attempts.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::page::{PageBase, batch_address, html, respond};
use crate::model::snapshot::{AttemptView, TaskState, TaskView};
use crate::model::{FieldOrder, FinishedValue, Outcome, ResourceKind, TaskLine};
use crate::view::explain::explain_task;
use crate::view::safe_text::safe;
use crate::view::text::{bytes, count, moment, precise_duration};

/// Bytes of an output that a page shows: head and tail.
const OUTPUT: usize = 64 << 10;

respond!(TaskDetailPage);

/// `/task/ID`.
#[derive(Template)]
#[template(path = "task.html")]
pub(super) struct TaskDetailPage {
    page: PageBase,
    id: String,
    line: String,
    state: &'static str,
    tone: &'static str,
    facts: Vec<(&'static str, String)>,
    /// The batches and steps that it belongs to, and their pages.
    batches: Vec<(String, String)>,
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

impl TaskDetailPage {
    pub(super) fn new(page: PageBase, task: &TaskView, order: FieldOrder) -> Self {
        let has = |state| task.states.contains(&state);
        let (state, tone) = if let Some(being) = task.being() {
            (being, "warn")
        } else if has(TaskState::InProgress) {
            ("running", "busy")
        } else if has(TaskState::Todo) && has(TaskState::Failed) {
            ("waiting, will be retried", "warn")
        } else if has(TaskState::Todo) {
            ("waiting", "calm")
        } else if has(TaskState::Finished) {
            ("finished", "good")
        } else if has(TaskState::Cancelled) {
            ("cancelled", "warn")
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
            let amount = |kind: ResourceKind| (kind.title(), kind.exact(parsed.demand().amounts.get(kind)));
            facts.extend(ResourceKind::ALL.map(amount));
            facts.extend([("Priority", parsed.prio().to_string()), ("Time limit", limit)]);
        }
        if let Some(worker) = &task.worker {
            facts.push(("Runs on", safe(worker).into_owned()));
        }
        if !task.failed_on.is_empty() {
            facts.push(("Failed on", safe(&task.failed_on.join(", ")).into_owned()));
        }
        if task.lost > 0 {
            facts.push(("Workers lost while running it", count(task.lost)));
        }
        if !task.tags.is_empty() {
            facts.push(("Tags", safe(&task.tags.join(", ")).into_owned()));
        }
        if let Some(file) = task.last_attempt().and_then(|last| last.stdout_file.as_deref()) {
            facts.push(("Whole output", safe(file).into_owned()));
        }
        let live = if has(TaskState::InProgress) { Some("runs") } else { has(TaskState::Todo).then_some("waits") };
        let why = if live.is_some() { explain_task(&page.snapshot.overview, task, order) } else { Vec::new() };
        Self {
            page,
            id: task.id.clone(),
            line: safe(&task.line).into_owned(),
            state,
            tone,
            facts,
            batches: task.batches.iter().map(|name| (name.to_string(), batch_address(name))).collect(),
            why,
            live,
            reason: task.reason.as_deref().map(text_block),
            output: task.finished().map(Output::of),
            attempts: task.attempts.iter().rev().map(Attempt::of).collect(),
        }
    }
}

impl Output {
    fn of(finished: FinishedValue<'_>) -> Self {
        let (text, left_out) = head_and_tail(&finished.output());
        Self { worker: safe(finished.worker_or_empty()).into_owned(), text, left_out }
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
            result: attempt.outcome.to_string(),
            tone: if attempt.outcome == Outcome::Exit(0) {
                "good"
            } else if matches!(attempt.outcome, Outcome::Returned | Outcome::Cancelled) {
                "warn"
            } else {
                "bad"
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
