//! The table of workers.

use super::safe_text::safe;
use super::table::{Column, number, table, text};
use super::text::{count, duration, small_bar};
use crate::model::snapshot::WorkerView;

/// Cells of a small bar.
const BAR: usize = 4;

/// One column: its heading, what stands in it, and from which layout on it is there.
struct Field {
    column: Column,
    cell: fn(&WorkerView) -> String,
    from: Layout,
}

/// How much is shown: each has all that those before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layout {
    Bare,
    Figures,
    Waits,
    Full,
}

const FIELDS: [Field; 13] = [
    Field { column: text("worker"), cell: |worker| safe(&worker.name).into_owned(), from: Layout::Bare },
    Field { column: text("state"), cell: |worker| worker.state.as_str().to_owned(), from: Layout::Bare },
    Field { column: number("beat"), cell: beat, from: Layout::Bare },
    Field { column: number("tasks"), cell: running, from: Layout::Bare },
    Field { column: text("cores"), cell: cores, from: Layout::Bare },
    Field { column: text("mem GB"), cell: memory, from: Layout::Bare },
    Field { column: number("done"), cell: |worker| count(worker.finished), from: Layout::Bare },
    Field { column: number("fail"), cell: |worker| count(worker.failed), from: Layout::Bare },
    Field { column: number("late"), cell: |worker| count(worker.timed_out), from: Layout::Figures },
    Field { column: number("back"), cell: |worker| count(worker.returned), from: Layout::Figures },
    Field { column: text("host"), cell: host, from: Layout::Full },
    Field { column: text("version"), cell: version, from: Layout::Full },
    Field { column: text("waits for"), cell: waits, from: Layout::Waits },
];

/// Every worker on a line. Where there is room: how many attempts were late (timed out, counted as failed too) and given back, why it takes
/// nothing, host and version.
#[must_use]
pub fn workers(workers: &[WorkerView], width: usize) -> String {
    if workers.is_empty() {
        return "no workers\n".to_owned();
    }
    let mut drawn = String::new();
    for layout in [Layout::Full, Layout::Waits, Layout::Figures, Layout::Bare] {
        let fields = || FIELDS.iter().filter(|field| field.from <= layout);
        let columns: Vec<Column> = fields().map(|field| field.column).collect();
        let rows: Vec<Vec<String>> =
            workers.iter().map(|worker| fields().map(|field| (field.cell)(worker)).collect()).collect();
        drawn = table(&columns, rows, width);
        // What was cut shows by its mark; names that are too long anyway are cut in the last layout.
        if !drawn.contains('…') {
            break;
        }
    }
    drawn
}

fn beat(worker: &WorkerView) -> String {
    worker.heartbeat_age_seconds.map_or_else(|| "-".to_owned(), duration)
}

fn running(worker: &WorkerView) -> String {
    worker.load.as_ref().map_or_else(|| "-".to_owned(), |load| format!("{}/{}", load.running, load.slots))
}

fn cores(worker: &WorkerView) -> String {
    let bar = small_bar(worker.cores_used / worker.cores_total, BAR);
    format!("{bar} {:.1}/{}", worker.cores_used, trimmed(worker.cores_total))
}

fn memory(worker: &WorkerView) -> String {
    let bar = small_bar(worker.mem_used_gb / worker.mem_total_gb, BAR);
    format!("{bar} {:.1}/{:.1}", worker.mem_used_gb, worker.mem_total_gb)
}

fn host(worker: &WorkerView) -> String {
    worker.process.as_ref().map_or_else(|| "-".to_owned(), |process| safe(&process.host).into_owned())
}

fn version(worker: &WorkerView) -> String {
    worker.process.as_ref().map_or_else(|| "-".to_owned(), |process| safe(&process.version).into_owned())
}

fn waits(worker: &WorkerView) -> String {
    let why = worker.load.as_ref().and_then(|load| load.waiting.as_deref());
    why.map_or_else(String::new, |why| safe(why).into_owned())
}

/// Without zeros behind the point.
#[must_use]
pub fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
