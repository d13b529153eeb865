//! The rows of the lists: their text, the text that the filter searches, and what a row opens.

use super::screen::{Screen, Wanted, WatchData};
use crate::model::snapshot::{BatchView, WorkerView};
use crate::model::{TaskId, failure_reason};
use crate::view::batches::{self, BatchCells};
use crate::view::safe_text::safe;
use crate::view::table::{Column, number, table, text};
use crate::view::text::{bytes, count, duration};
use crate::view::workers;

/// A row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// What the filter looks at.
    pub(super) searched: String,
    /// What Enter opens.
    pub(super) opens: Option<Wanted>,
    cells: Vec<String>,
    worker: Option<WorkerView>,
    batch: Option<BatchCells>,
}

/// All rows of a screen, unfiltered.
pub(super) fn of(screen: Screen, data: &WatchData) -> Vec<Row> {
    match screen {
        Screen::Overview => Vec::new(),
        Screen::Workers => data
            .overview
            .workers
            .iter()
            .map(|worker| Row { searched: worker.name.clone(), worker: Some(worker.clone()), ..Row::default() })
            .collect(),
        Screen::Running => running(data),
        Screen::Failures => failures(data),
        Screen::Batches => data.batches.iter().flat_map(|list| &list.batches).map(batch).collect(),
    }
}

/// A head line, then a line for each row; and what is to stand below for a row, where it does not fit into its line.
pub(super) fn draw(screen: Screen, rows: &[Row], width: usize) -> (String, Vec<Option<String>>) {
    const RUNNING: [Column; 7] =
        [text("id"), text("worker"), number("try"), number("age"), number("left"), number("memory"), text("line")];
    const FAILURES: [Column; 4] = [number("tasks"), text("kind"), text("reason"), text("sample")];
    let cells = || rows.iter().map(|row| row.cells.clone()).collect();
    match screen {
        Screen::Overview => (String::new(), Vec::new()),
        Screen::Workers => {
            let all: Vec<WorkerView> = rows.iter().filter_map(|row| row.worker.clone()).collect();
            workers::workers_in_use(&all, width)
        }
        Screen::Running => (table(&RUNNING, cells(), width), Vec::new()),
        Screen::Failures => (table(&FAILURES, cells(), width), Vec::new()),
        Screen::Batches => {
            let all: Vec<BatchCells> = rows.iter().filter_map(|row| row.batch.clone()).collect();
            batches::list("batch", &all, width)
        }
    }
}

/// Lines that are kept for what [`draw`] may have to stand below, on a screen of this height.
pub(super) fn reserved(rows: &[Row], height: usize) -> usize {
    const OF_NOTE: usize = 3;
    let has_resources = |row: &Row| row.worker.as_ref().is_some_and(|worker| !worker.extras.resources.is_empty());
    let has_note = |row: &Row| row.batch.as_ref().is_some_and(|batch| !batch.note.is_empty());
    match rows {
        rows if rows.iter().any(has_note) => OF_NOTE.min(height / 4),
        rows => usize::from(rows.iter().any(has_resources)),
    }
}

fn batch(view: &BatchView) -> Row {
    let cells = BatchCells::of(view);
    let searched = format!("{} {} {}", cells.name, cells.state, cells.note);
    Row { searched, opens: Some(Wanted::Batch(view.name.clone())), batch: Some(cells), ..Row::default() }
}

/// What ran at the workers' last heartbeats, the oldest first.
fn running(data: &WatchData) -> Vec<Row> {
    let mut rows: Vec<(u64, Row)> = Vec::new();
    for worker in &data.overview.workers {
        for task in worker.load.iter().flat_map(|load| &load.tasks) {
            let age = task.seconds + worker.heartbeat_age_seconds.unwrap_or(0);
            let left = match task.limit {
                0 => "no limit".to_owned(),
                limit if age >= limit => "over".to_owned(),
                limit => duration(limit - age),
            };
            let memory = if task.mem_bytes == 0 { "-".to_owned() } else { bytes(task.mem_bytes) };
            let cells = vec![
                // Enough of it to be told from others; commands take the beginning of an id.
                safe(&task.id.chars().take(8).collect::<String>()).into_owned(),
                safe(&worker.name).into_owned(),
                task.attempt.to_string(),
                duration(age),
                left,
                memory,
                safe(&task.line).into_owned(),
            ];
            let searched = format!("{} {} {}", task.id, worker.name, task.line);
            // The line is looked up at once; of a long one only the beginning is there.
            let is_whole = TaskId::of(&task.line).to_string() == task.id;
            let opens = Some(Wanted::Task(if is_whole { task.line.clone() } else { task.id.clone() }));
            rows.push((age, Row { searched, opens, cells, ..Row::default() }));
        }
    }
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.searched.cmp(&b.1.searched)));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn failures(data: &WatchData) -> Vec<Row> {
    data.failures
        .iter()
        .map(|group| {
            let reason = failure_reason::beyond_kind(&group.reason, &group.kind);
            let last = reason.lines().rev().find(|line| !line.trim().is_empty());
            let reason: String = safe(last.unwrap_or_default()).chars().take(60).collect();
            let cells =
                vec![count(group.count), safe(&group.kind).into_owned(), reason, safe(&group.sample).into_owned()];
            let searched = format!("{} {} {}", group.kind, group.reason, group.sample);
            let opens = (!group.sample.is_empty()).then(|| Wanted::Task(group.sample.clone()));
            Row { searched, opens, cells, ..Row::default() }
        })
        .collect()
}

/// What stands above the page of a task or a batch.
#[must_use]
pub(super) fn title(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Task(text) if TaskId::is_prefix_like(text) => format!("Task {text}"),
        Wanted::Task(line) => format!("Task {}", TaskId::of(line)),
        Wanted::Batch(name) => format!("Batch {name}"),
    }
}
