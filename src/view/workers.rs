//! The table of workers.

use super::safe_text::safe;
use super::table::{number, table, text};
use super::text::{count, duration};
use crate::model::snapshot::{WorkerState, WorkerView};

/// From this width on there is room for the rarer figures.
const WIDE: usize = 110;

/// Every worker on a line; a wide one has host, version and what was given back.
#[must_use]
pub fn workers(workers: &[WorkerView], width: usize) -> String {
    if workers.is_empty() {
        return "no workers\n".to_owned();
    }
    let is_wide = width >= WIDE;
    let mut columns =
        vec![text("worker"), text("state"), number("beat"), number("tasks"), number("cores"), number("mem GB")];
    columns.extend([number("finished"), number("failed")]);
    if is_wide {
        columns.extend([number("timed out"), number("returned"), text("host"), text("version")]);
    }
    columns.push(text("waits for"));
    let rows = workers.iter().map(|worker| row(worker, is_wide)).collect();
    table(&columns, rows, width)
}

fn row(worker: &WorkerView, is_wide: bool) -> Vec<String> {
    let load = worker.load.as_ref();
    let mut cells = vec![
        safe(&worker.name).into_owned(),
        worker.state.as_str().to_owned(),
        worker.heartbeat_age_seconds.map_or_else(|| "-".to_owned(), duration),
        load.map_or_else(|| "-".to_owned(), |load| format!("{}/{}", load.running, load.slots)),
        format!("{:.1}/{}", worker.cores_used, trimmed(worker.cores_total)),
        format!("{:.1}/{:.1}", worker.mem_used_gb, worker.mem_total_gb),
        count(worker.finished),
        count(worker.failed),
    ];
    if is_wide {
        let process = worker.process.as_ref();
        cells.push(count(worker.timed_out));
        cells.push(count(worker.returned));
        cells.push(process.map_or_else(|| "-".to_owned(), |process| safe(&process.host).into_owned()));
        cells.push(process.map_or_else(|| "-".to_owned(), |process| safe(&process.version).into_owned()));
    }
    cells.push(load.and_then(|load| load.waiting.as_deref()).map_or_else(String::new, |why| safe(why).into_owned()));
    cells
}

fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whether a worker can take tasks now.
#[must_use]
pub fn takes_tasks(worker: &WorkerView) -> bool {
    match worker.state {
        WorkerState::Live => true,
        WorkerState::Python => worker.heartbeat_age_seconds.is_some_and(|age| age < PYTHON_ALIVE_SECONDS),
        WorkerState::Draining | WorkerState::Silent | WorkerState::Dead => false,
    }
}

/// A Python worker that reported within this time is taken to be alive.
const PYTHON_ALIVE_SECONDS: u64 = 60;
