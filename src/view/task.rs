//! The text of `distcomp-status show`: everything known about one task.

use super::printed::printed;
use super::reason::styled_reason;
use super::safe_text::safe;
use super::style::{BAD, BOLD, DIM, GOOD, WARN, paint};
use super::text::{bytes, counted, moment, precise_duration};
use crate::model::needs::show_class_needs;
use crate::model::snapshot::{AttemptView, TaskState, TaskView};
use crate::model::{Bytes, FieldOrder, ResourceKind, TaskLine};

/// As in `lua/shared/evidence.lua`: older records give way.
const MOST_KEPT: usize = 32;

/// Before each line of a text but the first.
const INDENTED: &str = "\n          ";

/// The page of one task. `is_raw`: what it printed stands there with its escapes instead of what they do.
#[must_use]
pub fn task(task: &TaskView, order: FieldOrder, is_raw: bool) -> String {
    page(task, order, &AboutTask::default(), is_raw)
}

/// The same with what is known of its signature, and the ids that it had before its line was edited: the page of `distcomp-status show`.
#[must_use]
pub fn full_task(task: &TaskView, order: FieldOrder, about: &AboutTask<'_>) -> String {
    page(task, order, about, false)
}

/// What is known of a task beside its view.
#[derive(Clone, Copy, Debug, Default)]
pub struct AboutTask<'a> {
    /// What its signature says.
    pub signed: Option<&'a str>,
    /// The ids that it had before its line was edited.
    pub earlier_ids: &'a [String],
    /// `silent since 22:40 UTC`, of a worker that is not heard of any more.
    pub worker_is: Option<&'a str>,
}

fn page(task: &TaskView, order: FieldOrder, about: &AboutTask<'_>, is_raw: bool) -> String {
    let AboutTask { signed, earlier_ids, worker_is } = *about;
    let mut lines = Vec::new();
    let mut line_mem = None;
    let mut row = |name: &str, value: String| lines.push(format!("{} {value}", paint(BOLD, &format!("{name:<9}"))));
    row("task", task.id.clone());
    row("line", safe(&task.line).into_owned());
    row("state", state(task));
    if let Ok(parsed) = TaskLine::parse(&task.line, order) {
        let limit = match parsed.timeout() {
            None => "default limit".to_owned(),
            Some(0) => "no limit".to_owned(),
            Some(seconds) => format!("limit {seconds} s"),
        };
        let amounts = ResourceKind::ALL.map(|kind| {
            let amount = kind.exact(parsed.demand().amounts.get(kind));
            if kind.is_counted() { format!("{} {amount}", kind.noun()) } else { amount }
        });
        let more = show_class_needs(parsed.needs().as_str());
        let more = if more.is_empty() { more } else { format!(", {more}") };
        row("needs", format!("{}{more}, priority {}, {limit}", amounts.join(", "), parsed.prio()));
        line_mem = Some(parsed.demand().mem());
        let may_run = task.states.iter().any(|state| matches!(state, TaskState::Todo | TaskState::InProgress));
        if let Some(now) = task.memory_now(parsed.demand().mem()).filter(|_| may_run) {
            row("memory", now);
        }
    }
    if let Some(signed) = signed {
        row("signed", safe(signed).into_owned());
    }
    if !earlier_ids.is_empty() {
        row("edited", format!("was {}", safe(&earlier_ids.join(", before that "))));
    }
    if let Some(worker) = &task.worker {
        let silent = worker_is.map_or_else(String::new, |is| format!(", {}", paint(BAD, is)));
        row("on", format!("{}{silent}", safe(worker)));
    }
    if !task.failed_on.is_empty() {
        row("failed on", safe(&task.failed_on.join(", ")).into_owned());
    }
    if let Some(reason) = &task.reason {
        let lines = if is_raw { printed(reason, true) } else { styled_reason(reason) };
        row("reason", lines.join(INDENTED));
    }
    if task.lost > 0 {
        row("lost", format!("{} with its worker", counted(task.lost, "time")));
    }
    if task.suspect {
        row(
            "suspect",
            "it may have killed its worker: it runs apart until it has run longer than it had when the worker was lost"
                .to_owned(),
        );
    }
    if let Some(finished) = task.finished() {
        row("finished", format!("on {}", safe(finished.worker_or_empty())));
        row("output", printed(&finished.output(), is_raw).join(INDENTED));
    }
    if let Some(last) = task.last_attempt() {
        let size = last.stdout_bytes.map_or_else(String::new, |size| format!(" ({})", bytes(size)));
        match (&last.stdout_file, &last.stdout_file_error) {
            (Some(file), _) => row("whole", format!("{}{size}", safe(file))),
            (None, Some(error)) => row("whole", format!("not kept{size}: {}", safe(error))),
            (None, None) => {}
        }
    }
    if task.attempts.len() >= MOST_KEPT {
        lines.push(paint(DIM, &format!("attempts before the last {MOST_KEPT} are not kept")));
    }
    let varies = task.attempts.iter().any(|attempt| attempt.declared_memory_bytes.is_some());
    for attempt in &task.attempts {
        let own = attempt.declared_memory_bytes.map(Bytes).or(line_mem);
        lines.extend(attempt_lines(attempt, own.filter(|_| varies && attempt.attempt > 0), is_raw));
    }
    lines.join("\n") + "\n"
}

/// The states in words.
fn state(task: &TaskView) -> String {
    let has = |state| task.states.contains(&state);
    if let Some(being) = task.being() {
        paint(WARN, &format!("in progress, {being}"))
    } else if has(TaskState::InProgress) {
        paint(GOOD, "in progress")
    } else if has(TaskState::Todo) && has(TaskState::Failed) {
        paint(WARN, "todo, will be retried")
    } else if has(TaskState::Todo) {
        "todo".to_owned()
    } else if has(TaskState::Finished) {
        paint(GOOD, "finished")
    } else if has(TaskState::Failed) {
        paint(BAD, "failed, out of retries")
    } else if has(TaskState::Cancelled) {
        paint(WARN, "cancelled")
    } else {
        "unknown".to_owned()
    }
}

fn attempt_lines(attempt: &AttemptView, declared: Option<Bytes>, is_raw: bool) -> Vec<String> {
    let took =
        attempt.start.map_or_else(String::new, |start| format!(", took {}", precise_duration(attempt.end - start)));
    let peak = attempt.peak_memory_bytes.map_or_else(String::new, |peak| {
        let source = attempt.peak_memory_source.as_deref().unwrap_or("").replace('_', " ");
        format!(", peak {} ({})", bytes(peak), safe(&source))
    });
    let declared = declared.map_or_else(String::new, |mem| format!(", declared {mem}"));
    let name = if attempt.attempt == 0 { "operator".to_owned() } else { format!("attempt {}", attempt.attempt) };
    let mut lines = vec![format!(
        "{} {} on {}, ended {}{took}{peak}{declared}",
        paint(BOLD, &name),
        attempt.outcome,
        safe(&attempt.worker),
        moment(attempt.end)
    )];
    for (name, tail) in [("stdout", &attempt.stdout_tail), ("stderr", &attempt.stderr_tail)] {
        if !tail.is_empty() {
            lines.push(paint(DIM, &format!("  last of its {name}:")));
            lines.extend(printed(tail, is_raw).into_iter().map(|line| format!("    {line}")));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;

    #[test]
    fn a_page_shows_what_the_attempts_left() {
        let view = TaskView {
            batches: Vec::new(),
            tags: Vec::new(),
            id: "0123456789abcdef".to_owned(),
            line: "shell,gpus=0.5,constraint=ssd|nvme:8:2:5:300:./sim".to_owned(),
            states: vec![TaskState::Failed],
            worker: None,
            ordered: None,
            result: None,
            failed_on: vec!["n1".to_owned(), "n2".to_owned()],
            kind: Some("exit 3".to_owned()),
            reason: Some("exit 3: no\nfile".to_owned()),
            stdout_exact: None,
            lost: 0,
            suspect: false,
            declares_memory_bytes: None,
            learnt: None,
            attempts: vec![AttemptView {
                attempt: 1,
                worker: "n1".to_owned(),
                outcome: Outcome::Exit(3),
                start: Some(0.5),
                end: 2.0,
                settled: Some(2.5),
                stdout_exact: None,
                stdout_stripped: None,
                stdout_bytes: Some(1 << 21),
                stdout_file: Some("n1:/r/0123456789abcdef.out".to_owned()),
                stdout_file_error: None,
                peak_memory_bytes: Some(1 << 20),
                sequence: None,
                peak_memory_source: Some("largest_process".to_owned()),
                declared_memory_bytes: None,
                stdout_tail: String::new(),
                stderr_tail: "no\u{7}\nfile\n".to_owned(),
            }],
        };
        let page = anstream::adapter::strip_str(&task(&view, FieldOrder::MemCpuPrio, false)).to_string();
        for part in [
            "out of retries",
            "constraint=nvme|ssd, gpus=0.5, priority 5, limit 300 s",
            "n1, n2",
            "took 1.50 s",
            "1.0 MiB (largest process)",
            "n1:/r/0123456789abcdef.out (2.0 MiB)",
            "    file",
        ] {
            assert!(page.contains(part), "{part} is missing:\n{page}");
        }
        assert!(!page.contains('\u{7}'));
    }
}
