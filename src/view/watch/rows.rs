//! The rows of the lists: their text, what the filter searches, what they are sorted by, and what a row opens.

use std::cmp::Ordering;

use super::command::{command, short_id};
use super::listed::ListedTask;
use super::orders::Chosen;
use super::screen::{Screen, Wanted, WatchData};
use crate::model::snapshot::{BatchView, RunningTask, WorkerView};
use crate::model::{ResourceKind, TaskId};
use crate::view::batches::BatchCells;
use crate::view::reason::lines_beyond_kind;
use crate::view::safe_text::safe;
use crate::view::text::{bytes, count, duration, precise_duration, trimmed};
use crate::view::workers::{self, WorkerColumn};

/// A row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// What it is of: the same row in two readings has the same.
    pub(super) key: String,
    /// What the filter looks at.
    pub(super) searched: String,
    /// What Enter opens.
    pub(super) opens: Option<Wanted>,
    /// What the keys of changes are about.
    pub(super) changes: Option<Chosen>,
    /// What stands in its columns.
    pub(super) cells: Vec<String>,
    /// What it is sorted by, for each column.
    pub(super) ranks: Vec<Rank>,
    /// What is to stand below the list.
    pub(super) below: Option<Below>,
}

/// A text that stands below the list where its column finds no room.
#[derive(Clone, Debug)]
pub(super) struct Below {
    /// The column, by its place.
    pub(super) column: usize,
    pub(super) text: String,
    /// Lines that are kept for it.
    pub(super) most_lines: usize,
}

/// Lines below the list for the note of a batch.
const NOTE_LINES: usize = 3;

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
    let ranks = fields.iter().zip(&cells).map(|(field, cell)| worker_rank(worker, field.of, cell)).collect();
    let name = safe(&worker.name);
    let resources = fields.iter().position(|field| field.of == WorkerColumn::Resources);
    let below = resources.filter(|at| !cells[*at].is_empty()).map(|at| Below {
        column: at,
        text: format!("{name}: {}", cells[at]),
        most_lines: 1,
    });
    Row {
        key: worker.name.clone(),
        searched: format!("{} {}", worker.name, worker.state.as_str()),
        opens: Some(Wanted::Worker(worker.name.clone())),
        changes: None,
        cells,
        ranks,
        below,
    }
}

fn worker_rank(worker: &WorkerView, of: WorkerColumn, cell: &str) -> Rank {
    Rank::Number(match of {
        WorkerColumn::InUse(kind) => worker.usage.used.get(kind) as f64,
        WorkerColumn::Heartbeat => worker.heartbeat_age_seconds.unwrap_or(0) as f64,
        WorkerColumn::Tasks => worker.load.as_ref().map_or(0.0, |load| f64::from(load.running)),
        WorkerColumn::Done => worker.finished as f64,
        WorkerColumn::Failed => worker.failed as f64,
        WorkerColumn::TimedOut => worker.timed_out as f64,
        WorkerColumn::Returned => worker.returned as f64,
        WorkerColumn::Name
        | WorkerColumn::State
        | WorkerColumn::Resources
        | WorkerColumn::Host
        | WorkerColumn::Version
        | WorkerColumn::WaitsFor => return Rank::Text(cell.to_owned()),
    })
}

/// What ran at the workers' last heartbeats, the oldest first.
fn running(data: &WatchData) -> Vec<Row> {
    let mut rows: Vec<(u64, Row)> = Vec::new();
    for worker in &data.overview.workers {
        for task in worker.load.iter().flat_map(|load| &load.tasks) {
            let age = task.seconds + worker.heartbeat_age_seconds.unwrap_or(0);
            rows.push((age, of_running(worker, task, data.lines.get(&task.id), age)));
        }
    }
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.key.cmp(&b.1.key)));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn of_running(worker: &WorkerView, task: &RunningTask, whole: Option<&String>, age: u64) -> Row {
    let line = whole.unwrap_or(&task.line);
    let left = (task.limit > 0).then(|| task.limit.saturating_sub(age));
    let cells = vec![
        short_id(&task.id),
        safe(&worker.name).into_owned(),
        task.attempt.to_string(),
        duration(age),
        left.map_or_else(|| "no limit".to_owned(), |left| if left == 0 { "over".to_owned() } else { duration(left) }),
        if task.mem_bytes == 0 { "-".to_owned() } else { bytes(task.mem_bytes) },
        safe(command(line)).into_owned(),
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
    // The line is looked up at once; of a long one perhaps only the beginning is there.
    let is_whole = whole.is_some() || TaskId::of(line).to_string() == task.id;
    let named = if is_whole { line } else { &task.id };
    Row {
        key: task.id.clone(),
        searched: format!("{} {} {line}", task.id, worker.name),
        opens: Some(Wanted::Task(named.clone())),
        changes: Some(Chosen::Task(named.clone())),
        cells,
        ranks,
        below: None,
    }
}

fn failures(data: &WatchData) -> Vec<Row> {
    data.failures
        .iter()
        .map(|group| {
            let reason = lines_beyond_kind(&group.reason, &group.kind);
            let last = reason.into_iter().rev().find(|line| !line.trim().is_empty());
            let cells = vec![
                count(group.count),
                safe(&group.kind).into_owned(),
                last.unwrap_or_default(),
                safe(command(&group.sample)).into_owned(),
            ];
            let mut ranks: Vec<Rank> = cells.iter().cloned().map(Rank::Text).collect();
            ranks[0] = Rank::Number(group.count as f64);
            Row {
                key: group.kind.clone(),
                searched: format!("{} {} {}", group.kind, group.reason, group.sample),
                opens: (!group.sample.is_empty()).then(|| Wanted::Task(group.sample.clone())),
                changes: Some(Chosen::Kind(group.kind.clone(), group.count)),
                cells,
                ranks,
                below: None,
            }
        })
        .collect()
}

fn batch(view: &BatchView) -> Row {
    let cells = BatchCells::of(view);
    let numbers = [view.tasks, view.running, view.waiting, view.blocked, view.failed, view.cancelled]
        .map(|n| Rank::Number(n as f64));
    let [tasks, running, waiting, blocked, failed, cancelled] = numbers;
    let ranks = vec![
        Rank::Text(cells.name.clone()),
        Rank::Text(cells.state.to_owned()),
        tasks,
        Rank::Number(view.progress()),
        running,
        waiting,
        blocked,
        failed,
        cancelled,
        Rank::Number(view.rate_per_second),
        Rank::Number(view.eta_seconds.map_or(f64::INFINITY, |eta| eta as f64)),
        Rank::Text(cells.note.clone()),
    ];
    let below = (!cells.note.is_empty()).then(|| Below {
        column: ranks.len() - 1,
        text: format!("{} {}", cells.name, cells.note),
        most_lines: NOTE_LINES,
    });
    Row {
        key: view.name.to_string(),
        searched: format!("{} {} {}", cells.name, cells.state, cells.note),
        opens: Some(Wanted::Batch(view.name.clone())),
        changes: Some(Chosen::Batch(view.name.clone())),
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
            cells.cancelled,
            cells.rate,
            cells.to_go,
            cells.note,
        ],
    }
}

fn waiting(task: &ListedTask) -> Row {
    let number = |number: Option<f64>| Rank::Number(number.unwrap_or(-1.0));
    let demand = task.demand.map_or([None; ResourceKind::ALL.len()], |demand| demand.map(Some));
    let command = safe(command(&task.line)).into_owned();
    let failed = if task.failures == 0 { String::new() } else { count(task.failures as u64) };
    let mut cells = vec![short_id(&task.id), task.prio.map_or_else(String::new, |prio| prio.to_string())];
    cells.extend(demand.map(|amount| amount.map_or_else(String::new, trimmed)));
    cells.extend([failed, command.clone()]);
    let mut ranks = vec![Rank::Text(task.id.clone()), number(task.prio.map(f64::from))];
    ranks.extend(demand.map(number));
    ranks.extend([Rank::Number(task.failures as f64), Rank::Text(command)]);
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
        changes: Some(Chosen::Task(task.line.clone())),
        cells,
        ranks,
        below: None,
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
