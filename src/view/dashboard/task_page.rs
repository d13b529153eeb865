//! The page of one task: what is known of it, its output, its attempts.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::console_spans::{Span, spans};
use super::moment::{Moment, MomentStyle};
use super::page::{PageBase, batch_address, html, respond};
use super::running_facts::{Heard, RunningFacts};
use super::source::{TaskDefaults, TaskSeen};
use super::task_rows::worker_address;
use crate::model::snapshot::{AttemptView, TaskState, TaskView};
use crate::model::{FieldOrder, FinishedValue, Outcome, ResourceKind, TaskLine};
use crate::view::explain::explain_task;
use crate::view::reason::reason_parts;
use crate::view::safe_text::safe;
use crate::view::text::{bytes, count, duration, precise_duration};

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
    facts: Vec<Fact>,
    /// The batches and steps that it belongs to, and their pages.
    batches: Vec<(String, String)>,
    why: Vec<String>,
    reason: Option<Vec<Span>>,
    /// Output is shown with its escapes.
    is_raw: bool,
    /// What it prints is shown live: `waits` or `runs`.
    live: Option<&'static str>,
    output: Option<Output>,
    /// The end of what a finished one wrote to its standard error.
    stderr: Vec<Span>,
    attempts: Vec<Attempt>,
}

/// Something known of a task.
struct Fact {
    name: &'static str,
    text: String,
    /// A moment, ready to be shown.
    moment: Option<String>,
    /// Where the text leads.
    href: Option<String>,
}

/// A finished task's output.
struct Output {
    worker: String,
    parts: Vec<Span>,
    left_out: Option<String>,
}

/// One attempt.
struct Attempt {
    name: String,
    result: String,
    tone: &'static str,
    worker: String,
    started: Option<String>,
    /// What stands there without a start.
    unstarted: &'static str,
    ended: String,
    took: String,
    peak: String,
    tails: Vec<(&'static str, Vec<Span>)>,
}

/// The state in words, and its colour.
fn state_of(task: &TaskView) -> (&'static str, &'static str) {
    let has = |state| task.states.contains(&state);
    if let Some(being) = task.being() {
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
    }
}

fn fact(name: &'static str, text: impl Into<String>) -> Fact {
    Fact { name, text: text.into(), moment: None, href: None }
}

/// How a running task stands now.
fn running(page: &PageBase, seen: &TaskSeen, reading: (FieldOrder, TaskDefaults)) -> Vec<Fact> {
    let overview = &page.snapshot.overview;
    let task = &seen.task;
    let heard = Heard::of(overview);
    let worker = task.worker.as_deref();
    let facts = RunningFacts::of((&task.id, &task.line, worker), seen.claim.as_ref(), &heard, overview.now, reading);
    let mut told = Vec::new();
    if facts.is_ahead {
        told.push(fact("Started", "not yet: it was claimed ahead"));
    }
    if let Some(started) = facts.started.filter(|_| !facts.is_ahead) {
        let moment = Some(Moment(started).html(MomentStyle::Full));
        told.push(Fact { moment, ..fact("Started", "") });
    }
    if let Some(gone) = facts.gone {
        let name = if gone.name == "worker dead since" { "Worker dead since" } else { "Worker silent since" };
        let moment = gone.since.map(|since| Moment(since).html(MomentStyle::Full));
        told.push(Fact { moment, ..fact(name, "its first heartbeat is missing") });
    }
    if let Some(age) = facts.age.filter(|_| !facts.is_ahead) {
        told.push(fact("Running for", duration(age)));
        told.push(fact("Time left", facts.left_text()));
    }
    if let Some(held) = facts.memory {
        let declared = task.declares_memory_bytes.or(facts.declared).map(bytes).unwrap_or_default();
        told.push(fact("Memory now", format!("{} of {declared} declared", bytes(held))));
    }
    if let Some(attempt) = facts.attempt {
        // Only failures are counted against a task: an attempt that was lost or returned makes the last one a later one.
        let failures = u32::try_from(task.failed_on.len()).unwrap_or(u32::MAX);
        let more = reading.1.most_attempts.saturating_sub(failures).saturating_sub(1);
        told.push(fact("Attempt", format!("{attempt} of {}", count(u64::from(attempt) + u64::from(more)))));
    }
    told
}

/// What its line asks for.
fn asked_for(task: &TaskView, (order, defaults): (FieldOrder, TaskDefaults)) -> Vec<Fact> {
    let Ok(parsed) = TaskLine::parse(&task.line, order) else { return Vec::new() };
    let limit = match (parsed.timeout(), defaults.timeout_seconds) {
        (None, 0) => "none (default)".to_owned(),
        (None, seconds) => format!("{} s (default)", count(seconds)),
        (Some(0), _) => "none".to_owned(),
        (Some(seconds), _) => format!("{} s", count(seconds)),
    };
    let amount = |kind: ResourceKind| fact(kind.title(), kind.exact(parsed.demand().amounts.get(kind)));
    let mut facts: Vec<Fact> = ResourceKind::ALL.map(amount).into();
    facts.extend([fact("Priority", parsed.prio().to_string()), fact("Time limit", limit)]);
    facts
}

impl TaskDetailPage {
    pub(super) fn new(page: PageBase, seen: &TaskSeen, is_raw: bool, reading: (FieldOrder, TaskDefaults)) -> Self {
        let task = &seen.task;
        let has = |state| task.states.contains(&state);
        let (state, tone) = state_of(task);
        let mut facts = Vec::new();
        if let Some(worker) = &task.worker {
            facts.push(Fact { href: Some(worker_address(worker)), ..fact("Runs on", safe(worker)) });
        }
        if has(TaskState::InProgress) {
            facts.extend(running(&page, seen, reading));
        }
        facts.extend(asked_for(task, reading));
        if !task.failed_on.is_empty() {
            facts.push(fact("Failed on", safe(&task.failed_on.join(", "))));
        }
        if task.lost > 0 {
            facts.push(fact("Workers lost while running it", count(task.lost)));
        }
        if !task.tags.is_empty() {
            facts.push(fact("Tags", safe(&task.tags.join(", "))));
        }
        if let Some(file) = task.last_attempt().and_then(|last| last.stdout_file.as_deref()) {
            facts.push(fact("Whole output", safe(file)));
        }
        let live = if has(TaskState::InProgress) { Some("runs") } else { has(TaskState::Todo).then_some("waits") };
        let why = if live.is_some() { explain_task(&page.snapshot.overview, task, reading.0) } else { Vec::new() };
        let finished = task.finished();
        let stderr = finished.as_ref().and_then(|_| task.last_attempt()).map(|last| last.stderr_tail.as_str());
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
            is_raw,
            reason: task.reason.as_deref().map(|reason| reason_spans(reason, is_raw)),
            stderr: stderr.filter(|text| !text.is_empty()).map(|text| spans(text, is_raw)).unwrap_or_default(),
            output: finished.map(|finished| Output::of(finished, is_raw)),
            attempts: task.attempts.iter().rev().map(|attempt| Attempt::of(attempt, is_raw)).collect(),
        }
    }
}

/// A reason, of which the end of standard error is read as its task meant it; how the attempt ended stands before it, whatever that holds.
fn reason_spans(reason: &str, is_raw: bool) -> Vec<Span> {
    let (head, tail) = reason_parts(reason);
    if is_raw || head.is_empty() {
        return spans(reason, is_raw);
    }
    let head = Span { class: String::new(), text: safe(head).into_owned() };
    std::iter::once(head).chain(spans(tail, false)).collect()
}

impl Output {
    fn of(finished: FinishedValue<'_>, is_raw: bool) -> Self {
        let (parts, left_out) = head_and_tail(&finished.output(), is_raw);
        Self { worker: safe(finished.worker_or_empty()).into_owned(), parts, left_out }
    }
}

/// All of a short text; of a long one the beginning and the end, and how much is missing.
fn head_and_tail(text: &str, is_raw: bool) -> (Vec<Span>, Option<String>) {
    if text.len() <= OUTPUT {
        return (spans(text, is_raw), None);
    }
    let head = text.floor_char_boundary(OUTPUT / 4);
    let tail = text.ceil_char_boundary(text.len() - (OUTPUT - OUTPUT / 4));
    let mut shown = spans(&text[..head], is_raw);
    shown.push(Span { class: String::new(), text: "\n[…]\n".to_owned() });
    shown.extend(spans(&text[tail..], is_raw));
    (shown, Some(bytes((tail - head) as u64)))
}

impl Attempt {
    fn of(attempt: &AttemptView, is_raw: bool) -> Self {
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
            unstarted: if attempt.outcome == Outcome::Lost { "not known" } else { "never" },
            started: attempt.start.map(|start| Moment(start).html(MomentStyle::Full)),
            ended: Moment(attempt.settled.unwrap_or(attempt.end)).html(MomentStyle::Full),
            took: attempt.start.map_or_else(String::new, |start| precise_duration(attempt.end - start)),
            peak,
            tails: tails
                .into_iter()
                .filter(|(_, tail)| !tail.is_empty())
                .map(|(name, tail)| (name, spans(tail, is_raw)))
                .collect(),
        }
    }
}
