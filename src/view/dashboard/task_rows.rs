//! The columns and cells of lists of tasks.

use std::cmp::Reverse;

use super::figures::LINE;
use super::moment::{Moment, MomentStyle};
use super::page::batch_address;
use super::running_facts::{Gone, RunningFacts};
use crate::model::listing::{TaskRow, WaitingPlace};
use crate::model::snapshot::TaskState;
use crate::model::{FieldOrder, ResourceKind, TaskLine};
use crate::view::reason::{lines_beyond_kind, reason_lines};
use crate::view::safe_text::safe;
use crate::view::text::{bytes, duration, precise_duration, shorten};

/// By what the list of running tasks is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SortKey {
    #[default]
    Age,
    Left,
    Memory,
    Attempt,
    Worker,
}

impl SortKey {
    pub(super) const ALL: [Self; 5] = [Self::Age, Self::Left, Self::Memory, Self::Attempt, Self::Worker];

    /// Its name in an address.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Left => "left",
            Self::Memory => "memory",
            Self::Attempt => "attempt",
            Self::Worker => "worker",
        }
    }
}

/// An order of running tasks: a key, and whether it is the other way round from that which is most useful.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sorting {
    pub(super) key: SortKey,
    pub(super) is_reversed: bool,
}

impl Sorting {
    /// Reads `KEY` or `-KEY`; empty is the default.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, is_reversed) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        if name.is_empty() {
            return Some(Self::default());
        }
        let key = SortKey::ALL.into_iter().find(|key| key.as_str() == name)?;
        Some(Self { key, is_reversed })
    }

    pub(super) fn text(self) -> String {
        format!("{}{}", if self.is_reversed { "-" } else { "" }, self.key.as_str())
    }

    /// Whether the values of its column go up.
    pub(super) fn is_ascending(self) -> bool {
        matches!(self.key, SortKey::Left | SortKey::Worker) != self.is_reversed
    }

    /// Sorts: the oldest, the one with the least time left, the most memory for what it declares, or the most attempts first. What is not known is last.
    pub(super) fn sort(self, rows: &mut [(TaskRow, RunningFacts)]) {
        let share = |facts: &RunningFacts| {
            let (memory, declared) = (facts.memory?, facts.declared?);
            Some(memory.saturating_mul(1000) / declared.max(1))
        };
        let worker = |row: &TaskRow| row.workers.first().cloned().unwrap_or_default();
        match self.key {
            SortKey::Age => rows.sort_by_key(|(row, facts)| (Reverse(facts.age), row.id.clone())),
            SortKey::Left => rows.sort_by_key(|(row, facts)| (facts.left().is_none(), facts.left(), row.id.clone())),
            SortKey::Memory => {
                rows.sort_by_key(|(row, facts)| (Reverse(share(facts)), Reverse(facts.memory), row.id.clone()));
            }
            SortKey::Attempt => {
                rows.sort_by_key(|(row, facts)| (Reverse(facts.attempt), Reverse(facts.age), row.id.clone()));
            }
            SortKey::Worker => rows.sort_by_key(|(row, facts)| (worker(row), Reverse(facts.age), row.id.clone())),
        }
        if self.is_reversed {
            rows.reverse();
        }
    }
}

/// A column.
pub(super) struct Head {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    /// By what it can be sorted.
    pub(super) key: Option<SortKey>,
}

const fn head(name: &'static str, class: &'static str) -> Head {
    Head { name, class, key: None }
}

const fn sortable(name: &'static str, class: &'static str, key: SortKey) -> Head {
    Head { name, class, key: Some(key) }
}

/// The columns behind those of the id and the line.
pub(super) fn heads(state: TaskState) -> &'static [Head] {
    const TODO: [Head; 3] = [head("Priority", "n"), head("Asks for", ""), head("Waits for", "")];
    const RUNNING: [Head; 5] = [
        sortable("Worker", "", SortKey::Worker),
        sortable("Runs for", "n", SortKey::Age),
        sortable("Time left", "n", SortKey::Left),
        sortable("Memory of declared", "n", SortKey::Memory),
        sortable("Attempt", "n", SortKey::Attempt),
    ];
    const FINISHED: [Head; 5] =
        [head("Ended", ""), head("Took", "n"), head("Exit", ""), head("Peak memory", "n"), head("Worker", "")];
    const FAILED: [Head; 6] = [
        head("Kind", ""),
        head("Reason", ""),
        head("Ended", ""),
        head("Took", "n"),
        head("Attempt", "n"),
        head("Failed on", ""),
    ];
    const CANCELLED: [Head; 2] = [head("Ended", ""), head("Had failed on", "")];
    match state {
        TaskState::Todo => &TODO,
        TaskState::InProgress => &RUNNING,
        TaskState::Finished => &FINISHED,
        TaskState::Failed => &FAILED,
        TaskState::Cancelled => &CANCELLED,
    }
}

/// What stands in a place of the table.
pub(super) struct Cell {
    pub(super) class: &'static str,
    pub(super) text: String,
    /// A moment, ready to be shown, and what stands before it.
    pub(super) moment: Option<String>,
    pub(super) lead: &'static str,
    /// A word beside the text.
    pub(super) badge: Option<&'static str>,
    /// Where the text leads.
    pub(super) href: Option<String>,
}

impl Cell {
    fn text(class: &'static str, text: String) -> Self {
        Self { class, text, moment: None, lead: "", badge: None, href: None }
    }

    fn moment(at: Option<f64>) -> Self {
        let moment = at.map(|at| Moment(at).html(MomentStyle::Ago));
        Self { moment, ..Self::text("", String::new()) }
    }
}

/// A task in a list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) line: String,
    pub(super) cells: Vec<Cell>,
}

impl Row {
    pub(super) fn of(row: &TaskRow, state: TaskState, facts: Option<&RunningFacts>, order: FieldOrder) -> Self {
        let end = row.end.as_ref();
        let took = end.and_then(|end| end.took).map(precise_duration).unwrap_or_default();
        let attempt = end.map(|end| end.attempt).filter(|attempt| *attempt > 0);
        let attempt = attempt.map(|attempt| attempt.to_string()).unwrap_or_default();
        let cells = match state {
            TaskState::Todo => waiting(row, order),
            TaskState::InProgress => running(row, facts.unwrap_or(&RunningFacts::default())),
            TaskState::Finished => vec![
                Cell::moment(end.map(|end| end.at)),
                Cell::text("n", took),
                Cell::text("", end.map(|end| end.result.clone()).unwrap_or_default()),
                Cell::text("n", end.and_then(|end| end.peak_bytes).map(bytes).unwrap_or_default()),
                workers(row),
            ],
            TaskState::Failed => vec![
                Cell {
                    badge: row.will_retry.then_some("will retry"),
                    ..Cell::text("kind", safe(row.kind.as_deref().unwrap_or_default()).into_owned())
                },
                Cell::text("reason", reason(row)),
                Cell::moment(end.map(|end| end.at)),
                Cell::text("n", took),
                Cell::text("n", attempt),
                workers(row),
            ],
            TaskState::Cancelled => vec![Cell::moment(end.map(|end| end.at)), workers(row)],
        };
        Self { id: row.id.clone(), line: shorten(&safe(&row.line), LINE), cells }
    }
}

/// The workers; a single one leads to what it runs.
fn workers(row: &TaskRow) -> Cell {
    let mut workers: Vec<&str> = row.workers.iter().map(String::as_str).collect();
    workers.dedup();
    let href = match workers.as_slice() {
        [worker] if worker.len() <= 64 => Some(worker_address(worker)),
        _ => None,
    };
    Cell { href, ..Cell::text("", shorten(&safe(&workers.join(", ")), 120)) }
}

/// The address of what a worker runs.
pub(super) fn worker_address(worker: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("state", TaskState::InProgress.as_str()).append_pair("worker", worker);
    format!("/tasks?{}", query.finish())
}

/// The last line of why it failed.
fn reason(row: &TaskRow) -> String {
    let reason = row.reason.as_deref().unwrap_or_default();
    let lines = row.kind.as_deref().map_or_else(|| reason_lines(reason), |kind| lines_beyond_kind(reason, kind));
    shorten(lines.iter().rev().find(|line| !line.trim().is_empty()).map_or("", String::as_str), 120)
}

fn waiting(row: &TaskRow, order: FieldOrder) -> Vec<Cell> {
    let parsed = TaskLine::parse(&row.line, order).ok();
    let prio = parsed.as_ref().map(|parsed| parsed.prio().to_string()).unwrap_or_default();
    let asks = parsed.map(|parsed| {
        let amounts = parsed.demand().amounts;
        ResourceKind::ALL.map(|kind| crate::view::text::resource(kind, amounts.get(kind))).join(", ")
    });
    let waits = match &row.place {
        Some(WaitingPlace::Ready) => "a worker with room".to_owned(),
        Some(WaitingPlace::Backoff(seconds)) => format!("its retry in {}", duration(*seconds)),
        Some(WaitingPlace::Batch(batch)) => format!("batch {}", safe(batch)),
        Some(WaitingPlace::Begin(at)) => {
            let moment = Some(Moment(*at as f64).html(MomentStyle::Full));
            let cell = Cell { moment, ..Cell::text("", String::new()) };
            return vec![Cell::text("n", prio), Cell::text("", asks.unwrap_or_default()), cell];
        }
        Some(WaitingPlace::Held(batch)) => format!("batch {}, which is held", safe(batch)),
        Some(WaitingPlace::Unindexed) => "a worker to find it".to_owned(),
        None => String::new(),
    };
    let href = match &row.place {
        Some(WaitingPlace::Batch(batch) | WaitingPlace::Held(batch)) => {
            batch.parse().ok().map(|name| batch_address(&name))
        }
        Some(WaitingPlace::Ready | WaitingPlace::Backoff(_) | WaitingPlace::Begin(_) | WaitingPlace::Unindexed)
        | None => None,
    };
    let waits = Cell { href, ..Cell::text("", waits) };
    vec![Cell::text("n", prio), Cell::text("", asks.unwrap_or_default()), waits]
}

fn running(row: &TaskRow, facts: &RunningFacts) -> Vec<Cell> {
    let age = match facts.gone {
        Some(Gone { name, since: Some(since) }) => {
            Cell { moment: Some(Moment(since).html(MomentStyle::Clock)), lead: name, ..Cell::text("n", String::new()) }
        }
        Some(Gone { name, since: None }) => Cell::text("n", name.trim_end_matches(" since").to_owned()),
        None => Cell::text("n", facts.age_text()),
    };
    vec![
        workers(row),
        age,
        Cell::text("n", facts.left_text()),
        Cell::text("n", facts.memory_text()),
        Cell::text("n", facts.attempt.map(|attempt| attempt.to_string()).unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_tasks_are_sorted_and_unknown_values_come_last() {
        let row = |id: &str, age: Option<u64>, limit: u64, memory: Option<u64>| {
            let facts =
                RunningFacts { age, limit: Some(limit), memory, declared: Some(100), ..RunningFacts::default() };
            (TaskRow { id: id.to_owned(), ..TaskRow::default() }, facts)
        };
        let mut rows =
            vec![row("a", Some(5), 100, Some(90)), row("b", None, 0, None), row("c", Some(50), 60, Some(10))];
        let mut sorted = |text: &str| {
            Sorting::parse(text).expect("an order").sort(&mut rows);
            rows.iter().map(|(row, _)| row.id.clone()).collect::<String>()
        };
        assert_eq!(sorted(""), "cab");
        assert_eq!(sorted("left"), "cab");
        assert_eq!(sorted("memory"), "acb");
        assert_eq!(sorted("-age"), "bac");
        assert_eq!(Sorting::parse("size"), None);
        for text in ["age", "-left", "memory"] {
            assert_eq!(Sorting::parse(text).map(Sorting::text).as_deref(), Some(text));
        }
    }

    #[test]
    fn every_state_has_a_cell_for_each_column() {
        let row = TaskRow { id: "a".to_owned(), line: "shell:1:1:7:x".to_owned(), ..TaskRow::default() };
        for state in TaskState::ALL {
            let cells = Row::of(&row, state, None, FieldOrder::MemCpuPrio).cells;
            assert_eq!(cells.len(), heads(state).len(), "{state:?}");
            assert!(cells.iter().zip(heads(state)).all(|(cell, head)| (cell.class == "n") == (head.class == "n")));
        }
        assert_eq!(Row::of(&row, TaskState::Todo, None, FieldOrder::MemCpuPrio).cells[0].text, "7");
    }
}
