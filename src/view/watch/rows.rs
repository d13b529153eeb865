//! The rows of the lists: their text, what the filter searches, what they are sorted by, and what a row opens.

use std::cmp::Ordering;

use super::list::{Column, Role, column};
use super::listed::ListedTask;
use super::screen::{Screen, Wanted, WatchData};
use crate::model::snapshot::{BatchView, RunningTask, WorkerView};
use crate::model::{ResourceKind, TaskId, TaskKind, failure_reason};
use crate::view::batches::BatchCells;
use crate::view::safe_text::safe;
use crate::view::text::{bytes, count, duration, precise_duration, trimmed};
use crate::view::workers;

/// A row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// What it is of: the same row in two readings has the same.
    pub(super) key: String,
    /// What the filter looks at.
    pub(super) searched: String,
    /// What Enter opens.
    pub(super) opens: Option<Wanted>,
    /// What stands in its columns.
    pub(super) cells: Vec<String>,
    /// What it is sorted by, for each column.
    pub(super) ranks: Vec<Rank>,
    /// What is to stand below, where the column with this heading finds no room.
    pub(super) below: Option<(&'static str, String)>,
}

/// What rows are sorted by.
#[derive(Clone, Debug)]
pub(super) enum Rank {
    Number(f64),
    Text(String),
}

impl Rank {
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

/// The columns of a screen. Those that are wide and can be done without have the largest numbers.
pub(super) fn columns(screen: Screen) -> Vec<Column> {
    match screen {
        Screen::Overview => Vec::new(),
        Screen::Workers => workers::all_fields(true)
            .iter()
            .map(|field| {
                let (role, spare) = match field.column.head {
                    "worker" => (Role::Name, 0),
                    "state" => (Role::Words, 0),
                    "tasks" | "fail" => (Role::Number, 0),
                    "cores" | "mem GB" => (Role::Words, 1),
                    "done" => (Role::Number, 2),
                    "beat" => (Role::Number, 3),
                    "waits for" => (Role::Words, 5),
                    "resources" => (Role::Words, 6),
                    "host" => (Role::Words, 9),
                    "version" => (Role::Words, 10),
                    _ if field.column.is_number => (Role::Number, 7),
                    _ => (Role::Words, 8),
                };
                column(field.column.head, role, spare)
            })
            .collect(),
        Screen::Running => vec![
            column("id", Role::Words, 3),
            column("worker", Role::Name, 1),
            column("try", Role::Number, 5),
            column("age", Role::Number, 0),
            column("left", Role::Number, 2),
            column("memory", Role::Number, 4),
            column("command", Role::Long, 0),
        ],
        Screen::Failures => vec![
            column("tasks", Role::Number, 0),
            column("kind", Role::Words, 0),
            column("reason", Role::Long, 0),
            column("sample", Role::Long, 1),
        ],
        Screen::Batches => vec![
            column("batch", Role::Name, 0),
            column("state", Role::Words, 0),
            column("tasks", Role::Number, 2),
            column("done", Role::Number, 0),
            column("running", Role::Number, 4),
            column("waiting", Role::Number, 3),
            column("blocked", Role::Number, 1),
            column("failed", Role::Number, 0),
            column("rate", Role::Number, 6),
            column("to go", Role::Number, 5),
            column("note", Role::Words, 7),
        ],
        Screen::Waiting => vec![
            column("id", Role::Words, 3),
            column("prio", Role::Number, 1),
            column("mem GB", Role::Number, 2),
            column("cores", Role::Number, 4),
            column("failed", Role::Number, 5),
            column("command", Role::Long, 0),
        ],
        Screen::Finished => vec![
            column("ended", Role::Number, 0),
            column("took", Role::Number, 1),
            column("worker", Role::Name, 2),
            column("memory", Role::Number, 4),
            column("id", Role::Words, 3),
            column("command", Role::Long, 0),
        ],
    }
}

/// All rows of a screen, unfiltered.
pub(super) fn of(screen: Screen, data: &WatchData) -> Vec<Row> {
    match screen {
        Screen::Overview => Vec::new(),
        Screen::Workers => {
            let fields = workers::all_fields(true);
            data.overview.workers.iter().map(|worker| of_worker(worker, &fields)).collect()
        }
        Screen::Running => running(data),
        Screen::Failures => failures(data),
        Screen::Batches => data.batches.iter().flat_map(|list| &list.batches).map(batch).collect(),
        Screen::Waiting => data.waiting.iter().flat_map(|list| &list.rows).map(waiting).collect(),
        Screen::Finished => {
            let now = data.overview.now;
            data.finished.iter().flat_map(|list| &list.rows).map(|task| finished(task, now)).collect()
        }
    }
}

fn of_worker(worker: &WorkerView, fields: &[workers::Field]) -> Row {
    let cells: Vec<String> = fields.iter().map(|field| (field.cell)(worker)).collect();
    let ranks = fields.iter().zip(&cells).map(|(field, cell)| worker_rank(worker, field.column.head, cell)).collect();
    let name = safe(&worker.name);
    let resources = fields.iter().position(|field| field.column.head == "resources").and_then(|at| cells.get(at));
    let below = resources.filter(|text| !text.is_empty()).map(|text| ("resources", format!("{name}: {text}")));
    Row {
        key: worker.name.clone(),
        searched: format!("{} {}", worker.name, worker.state.as_str()),
        opens: Some(Wanted::Worker(worker.name.clone())),
        cells,
        ranks,
        below,
    }
}

fn worker_rank(worker: &WorkerView, head: &str, cell: &str) -> Rank {
    if let Some(kind) = ResourceKind::OF_WORKERS.into_iter().find(|kind| kind.heading() == head) {
        return Rank::Number(worker.usage.used.get(kind) as f64);
    }
    Rank::Number(match head {
        "beat" => worker.heartbeat_age_seconds.unwrap_or(0) as f64,
        "tasks" => worker.load.as_ref().map_or(0.0, |load| f64::from(load.running)),
        "done" => worker.finished as f64,
        "fail" => worker.failed as f64,
        "late" => worker.timed_out as f64,
        "back" => worker.returned as f64,
        _ => return Rank::Text(cell.to_owned()),
    })
}

/// What ran at the workers' last heartbeats, the oldest first.
fn running(data: &WatchData) -> Vec<Row> {
    let mut rows: Vec<(u64, Row)> = Vec::new();
    for worker in &data.overview.workers {
        for task in worker.load.iter().flat_map(|load| &load.tasks) {
            let age = task.seconds + worker.heartbeat_age_seconds.unwrap_or(0);
            rows.push((age, of_running(worker, task, age)));
        }
    }
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.key.cmp(&b.1.key)));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn of_running(worker: &WorkerView, task: &RunningTask, age: u64) -> Row {
    let left = (task.limit > 0).then(|| task.limit.saturating_sub(age));
    let cells = vec![
        short_id(&task.id),
        safe(&worker.name).into_owned(),
        task.attempt.to_string(),
        duration(age),
        left.map_or_else(|| "no limit".to_owned(), |left| if left == 0 { "over".to_owned() } else { duration(left) }),
        if task.mem_bytes == 0 { "-".to_owned() } else { bytes(task.mem_bytes) },
        safe(command(&task.line)).into_owned(),
    ];
    let ranks = vec![
        Rank::Text(task.id.clone()),
        Rank::Text(worker.name.clone()),
        Rank::Number(f64::from(task.attempt)),
        Rank::Number(age as f64),
        Rank::Number(left.map_or(f64::INFINITY, |left| left as f64)),
        Rank::Number(task.mem_bytes as f64),
        Rank::Text(cells[6].clone()),
    ];
    // The line is looked up at once; of a long one only the beginning is there.
    let is_whole = TaskId::of(&task.line).to_string() == task.id;
    Row {
        key: task.id.clone(),
        searched: format!("{} {} {}", task.id, worker.name, task.line),
        opens: Some(Wanted::Task(if is_whole { task.line.clone() } else { task.id.clone() })),
        cells,
        ranks,
        below: None,
    }
}

fn failures(data: &WatchData) -> Vec<Row> {
    data.failures
        .iter()
        .map(|group| {
            let reason = failure_reason::beyond_kind(&group.reason, &group.kind);
            let last = reason.lines().rev().find(|line| !line.trim().is_empty());
            let cells = vec![
                count(group.count),
                safe(&group.kind).into_owned(),
                safe(last.unwrap_or_default()).into_owned(),
                safe(command(&group.sample)).into_owned(),
            ];
            let mut ranks: Vec<Rank> = cells.iter().cloned().map(Rank::Text).collect();
            ranks[0] = Rank::Number(group.count as f64);
            Row {
                key: group.kind.clone(),
                searched: format!("{} {} {}", group.kind, group.reason, group.sample),
                opens: (!group.sample.is_empty()).then(|| Wanted::Task(group.sample.clone())),
                cells,
                ranks,
                below: None,
            }
        })
        .collect()
}

fn batch(view: &BatchView) -> Row {
    let cells = BatchCells::of(view);
    let numbers = [view.tasks, view.running, view.waiting, view.blocked, view.failed].map(|n| Rank::Number(n as f64));
    let [tasks, running, waiting, blocked, failed] = numbers;
    let ranks = vec![
        Rank::Text(cells.name.clone()),
        Rank::Text(cells.state.to_owned()),
        tasks,
        Rank::Number(view.progress()),
        running,
        waiting,
        blocked,
        failed,
        Rank::Number(view.rate_per_second),
        Rank::Number(view.eta_seconds.map_or(f64::INFINITY, |eta| eta as f64)),
        Rank::Text(cells.note.clone()),
    ];
    let below = (!cells.note.is_empty()).then(|| ("note", format!("{} {}", cells.name, cells.note)));
    Row {
        key: view.name.to_string(),
        searched: format!("{} {} {}", cells.name, cells.state, cells.note),
        opens: Some(Wanted::Batch(view.name.clone())),
        ranks,
        below,
        cells: vec![
            cells.name,
            cells.state.to_owned(),
            cells.tasks,
            cells.done,
            cells.running,
            cells.waiting,
            cells.blocked,
            cells.failed,
            cells.rate,
            cells.to_go,
            cells.note,
        ],
    }
}

fn waiting(task: &ListedTask) -> Row {
    let number = |number: Option<f64>| Rank::Number(number.unwrap_or(-1.0));
    let [mem, cores] = task.demand.map_or([None; 2], |demand| demand.map(Some));
    let shown = |amount: Option<f64>| amount.map_or_else(String::new, trimmed);
    let cells = vec![
        short_id(&task.id),
        task.prio.map_or_else(String::new, |prio| prio.to_string()),
        shown(mem),
        shown(cores),
        if task.failures == 0 { String::new() } else { count(task.failures as u64) },
        safe(command(&task.line)).into_owned(),
    ];
    let ranks = vec![
        Rank::Text(task.id.clone()),
        number(task.prio.map(f64::from)),
        number(mem),
        number(cores),
        Rank::Number(task.failures as f64),
        Rank::Text(cells[5].clone()),
    ];
    of_task(task, cells, ranks)
}

fn finished(task: &ListedTask, now: u64) -> Row {
    let ago = task.ended.map(|ended| (now as f64 - ended).max(0.0));
    let cells = vec![
        ago.map_or_else(String::new, |ago| format!("{} ago", duration(ago as u64))),
        task.took.map_or_else(String::new, precise_duration),
        safe(task.worker.as_deref().unwrap_or_default()).into_owned(),
        task.peak.map_or_else(String::new, bytes),
        short_id(&task.id),
        safe(command(&task.line)).into_owned(),
    ];
    let ranks = vec![
        Rank::Number(task.ended.unwrap_or(0.0)),
        Rank::Number(task.took.unwrap_or(-1.0)),
        Rank::Text(cells[2].clone()),
        Rank::Number(task.peak.unwrap_or(0) as f64),
        Rank::Text(task.id.clone()),
        Rank::Text(cells[5].clone()),
    ];
    of_task(task, cells, ranks)
}

fn of_task(task: &ListedTask, cells: Vec<String>, ranks: Vec<Rank>) -> Row {
    Row {
        key: task.id.clone(),
        searched: format!("{} {} {}", task.id, task.worker.as_deref().unwrap_or_default(), task.line),
        opens: Some(Wanted::Task(task.line.clone())),
        cells,
        ranks,
        below: None,
    }
}

/// Enough of an id to be told from others; commands take the beginning of an id.
pub(super) fn short_id(id: &str) -> String {
    safe(&id.chars().take(8).collect::<String>()).into_owned()
}

/// The command of a task line, whose other fields are before it; the line itself where it has no such fields.
pub(super) fn command(line: &str) -> &str {
    let mut fields = line.splitn(5, ':');
    let kind = fields.next().and_then(|field| field.split(',').next());
    let Some(command) = kind.and_then(TaskKind::parse).and_then(|_| fields.nth(3)) else { return line };
    match command.split_once(':') {
        Some((digits, rest))
            if !digits.is_empty() && !rest.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            rest
        }
        _ => command,
    }
}

/// What stands above the page of what is open.
#[must_use]
pub(super) fn title(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Task(text) if TaskId::is_prefix_like(text) => format!("Task {text}"),
        Wanted::Task(line) => format!("Task {}", TaskId::of(line)),
        Wanted::Batch(name) => format!("Batch {name}"),
        Wanted::Worker(name) => format!("Worker {}", safe(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_without_their_fields() {
        for (line, wanted) in [
            ("shell:8:2:5:./cachesim trace.bin", "./cachesim trace.bin"),
            ("shell,gpus=1:8:2:5:300:cp host:a b", "cp host:a b"),
            ("shell:1:1:1:cp host:a b", "cp host:a b"),
            ("python:1:1:1:8080:", "8080:"),
            ("what:1:1:1:x", "what:1:1:1:x"),
            ("no line", "no line"),
            ("shell:1:1", "shell:1:1"),
        ] {
            assert_eq!(command(line), wanted);
        }
    }
}
