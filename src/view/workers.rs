//! The table of workers.

use std::collections::BTreeMap;

use super::glyphs;
use super::safe_text::safe;
use super::style::{BAD, WARN, paint};
use super::table::{Column, number, table, text};
use super::text::{count, duration, shorten, small_bar, tasks, trimmed};
use crate::model::ResourceKind;
use crate::model::snapshot::{WorkerState, WorkerView};

/// Columns of a kind of failure that are shown.
const KIND: usize = 20;

/// Cells of a small bar.
const BAR: usize = 4;

/// What stands in a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerColumn {
    Name,
    State,
    Heartbeat,
    Tasks,
    InUse(ResourceKind),
    Resources,
    Done,
    Failed,
    TimedOut,
    Returned,
    Host,
    Version,
    WaitsFor,
}

/// One column: what it is, its heading, what stands in it, and from which layout on it is there.
pub(super) struct Field {
    pub(super) of: WorkerColumn,
    pub(super) column: Column,
    pub(super) cell: Box<dyn Fn(&WorkerView) -> String>,
    from: Layout,
}

impl Field {
    fn new(of: WorkerColumn, from: Layout, column: Column, cell: impl Fn(&WorkerView) -> String + 'static) -> Self {
        Self { of, column, cell: Box::new(cell), from }
    }
}

/// How much is shown: each has all that those before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layout {
    Bare,
    Figures,
    Waits,
    Full,
}

/// `has_resources`: with the column of named resources.
pub(super) fn all_fields(has_resources: bool) -> Vec<Field> {
    use Layout::{Bare, Figures, Full, Waits};
    use WorkerColumn as Of;
    let mut fields = vec![
        Field::new(Of::Name, Bare, text("worker"), |worker| safe(&worker.name).into_owned()),
        Field::new(Of::State, Bare, text("state"), |worker| worker.state.as_str().to_owned()),
        Field::new(Of::Heartbeat, Bare, number("beat"), beat),
        Field::new(Of::Tasks, Bare, number("tasks"), running),
    ];
    fields.extend(
        ResourceKind::OF_WORKERS
            .map(|kind| Field::new(Of::InUse(kind), Bare, text(kind.heading()), move |worker| usage(worker, kind))),
    );
    if has_resources {
        fields.push(Field::new(Of::Resources, Bare, text("resources"), |worker| resources(worker).unwrap_or_default()));
    }
    fields.extend([
        Field::new(Of::Done, Bare, number("done"), done),
        Field::new(Of::Failed, Bare, number("fail"), |worker| count(worker.failed)),
        Field::new(Of::TimedOut, Figures, number("late"), |worker| count(worker.timed_out)),
        Field::new(Of::Returned, Figures, number("back"), |worker| count(worker.returned)),
        Field::new(Of::Host, Full, text("host"), host),
        Field::new(Of::Version, Full, text("version"), version),
        Field::new(Of::WaitsFor, Waits, text("waits for"), waits),
    ]);
    fields
}

/// Every worker on a line. Where there is room: how many attempts were late (timed out, counted as failed too) and given back, why it takes
/// nothing, host and version.
#[must_use]
pub fn workers(workers: &[WorkerView], width: usize) -> String {
    if workers.is_empty() {
        return "no workers\n".to_owned();
    }
    widest(workers, width, &all_fields(false))
}

/// [`workers`], with what is in use of their named resources: in a column where that fits, otherwise in lines to stand below, one for each worker that has
/// any.
#[must_use]
pub fn workers_in_use(workers: &[WorkerView], width: usize) -> (String, Vec<Option<String>>) {
    let below: Vec<Option<String>> = workers
        .iter()
        .map(|worker| Some(shorten(&format!("{}: {}", safe(&worker.name), resources(worker)?), width)))
        .collect();
    if below.iter().any(Option::is_some) {
        let drawn = widest(workers, width, &all_fields(true));
        if !drawn.contains(glyphs::cut()) {
            return (drawn, Vec::new());
        }
    }
    (self::workers(workers, width), below)
}

/// The table in the widest layout that fits.
fn widest(workers: &[WorkerView], width: usize, all: &[Field]) -> String {
    let mut drawn = String::new();
    for layout in [Layout::Full, Layout::Waits, Layout::Figures, Layout::Bare] {
        let fields = || all.iter().filter(|field| field.from <= layout);
        let columns: Vec<Column> = fields().map(|field| field.column).collect();
        let rows: Vec<Vec<String>> =
            workers.iter().map(|worker| fields().map(|field| (field.cell)(worker)).collect()).collect();
        drawn = table(&columns, rows, width);
        // What was cut shows by its mark; names that are too long anyway are cut in the last layout.
        if !drawn.contains(glyphs::cut()) {
            break;
        }
    }
    painted(workers, &drawn)
}

/// The rows of those that do not live in the colour of their state. The first line is the heading.
fn painted(workers: &[WorkerView], drawn: &str) -> String {
    let mut lines = drawn.lines();
    let mut all = format!("{}\n", lines.next().unwrap_or_default());
    for (worker, line) in workers.iter().zip(lines) {
        let style = match worker.state {
            WorkerState::Dead => Some(BAD),
            WorkerState::Silent | WorkerState::Suspect => Some(WARN),
            WorkerState::Live | WorkerState::Draining | WorkerState::Drained | WorkerState::Python => None,
        };
        all.push_str(&style.map_or_else(|| line.to_owned(), |style| paint(style, line)));
        all.push('\n');
    }
    all
}

/// Which layers of containment are on: a line for each set of them, with the workers that have it where there are several.
#[must_use]
pub fn containment(workers: &[WorkerView]) -> String {
    let mut of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for worker in workers {
        if let Some(process) = worker.process.as_ref().filter(|process| !process.containment.is_empty()) {
            of.entry(&process.containment).or_default().push(&worker.name);
        }
    }
    let is_one = of.len() == 1;
    let whose = |names: &[&str]| if is_one { String::new() } else { format!(" ({})", safe(&names.join(", "))) };
    of.iter().map(|(layers, names)| format!("containment: {}{}\n", safe(layers), whose(names))).collect()
}

/// Named resources, labels and time to live of the workers that have any: a line each.
#[must_use]
pub fn extras(workers: &[WorkerView], now: u64) -> String {
    let line = |worker: &WorkerView| {
        let labels = worker.extras.labels.iter().filter(|label| !label.starts_with("host=")).cloned();
        let ends = worker.extras.ends_at.map(|end| format!("ends in {}", duration(end.saturating_sub(now))));
        let parts: Vec<String> = resources(worker).into_iter().chain(labels).chain(ends).collect();
        (!parts.is_empty()).then(|| format!("{}: {}\n", safe(&worker.name), safe(&parts.join(", "))))
    };
    workers.iter().filter_map(line).collect()
}

/// Why workers are suspects: a line for each.
#[must_use]
pub fn suspects(workers: &[WorkerView], now: u64) -> String {
    let line = |worker: &WorkerView| {
        let evidence = worker.extras.suspect.as_ref().filter(|evidence| evidence.paused)?;
        let name = safe(&worker.name);
        let last = evidence.tasks.last().map_or_else(String::new, |task| {
            let kind =
                if task.kind.is_empty() { String::new() } else { format!(", {}", shorten(&safe(&task.kind), KIND)) };
            format!(", the last {}{kind}", safe(&task.id))
        });
        let age = duration(now.saturating_sub(evidence.since.max(0.0) as u64));
        Some(format!(
            "{name}: suspect: {} failed there and finished elsewhere in the last {age}{last}\n  distcomp-ctl resume --worker {name} lifts it\n",
            tasks(evidence.lines)
        ))
    };
    workers.iter().filter_map(line).collect()
}

/// What is in use of the named resources of a worker; `None` where it has none.
fn resources(worker: &WorkerView) -> Option<String> {
    let in_use = worker.is_alive().then(|| worker.extras.resources_in_use())?;
    Some(safe(&in_use).into_owned()).filter(|text| !text.is_empty())
}

fn beat(worker: &WorkerView) -> String {
    worker.heartbeat_age_seconds.map_or_else(|| "-".to_owned(), duration)
}

fn done(worker: &WorkerView) -> String {
    let about = if worker.is_estimate { "~" } else { "" };
    format!("{about}{}", count(worker.finished))
}

fn running(worker: &WorkerView) -> String {
    worker.present_load().map_or_else(|| "-".to_owned(), |load| format!("{}/{}", load.running, load.slots))
}

fn usage(worker: &WorkerView, kind: ResourceKind) -> String {
    if !worker.is_alive() {
        return "-".to_owned();
    }
    let [used, total] = [worker.usage.used, worker.usage.total].map(|amounts| kind.shown(amounts.get(kind)));
    let whole = if kind.is_counted() { trimmed(total) } else { format!("{total:.1}") };
    format!("{} {used:.1}/{whole}", small_bar(used / total, BAR))
}

fn host(worker: &WorkerView) -> String {
    worker.process.as_ref().map_or_else(|| "-".to_owned(), |process| safe(&process.host).into_owned())
}

fn version(worker: &WorkerView) -> String {
    worker.process.as_ref().map_or_else(|| "-".to_owned(), |process| safe(&process.version).into_owned())
}

fn waits(worker: &WorkerView) -> String {
    let lost = super::deaths::lost(worker);
    lost.unwrap_or_else(|| worker.present_load().and_then(super::waits::waits).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Usage;
    use crate::model::snapshot::{ResourceUse, WorkerExtras, WorkerProcess, WorkerState};

    #[test]
    fn resources_are_a_column_or_lines_below() {
        let of = |used, total| ResourceUse { used, total };
        let worker = |name: &str, resources: &[(&str, ResourceUse)]| WorkerView {
            extras: WorkerExtras {
                resources: resources.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect(),
                ..WorkerExtras::default()
            },
            ..python(name)
        };
        let all = [worker("a", &[("gpus", of(1.5, 4.0)), ("lic", of(0.0, 3.0))]), worker("b", &[])];
        let (table, below) = workers_in_use(&all, 120);
        let row = table.lines().nth(1).unwrap_or_default();
        assert!(row.contains("gpus 1.5/4, lic 0/3") && below.is_empty(), "{table}");
        let (table, below) = workers_in_use(&all, 80);
        assert!(!table.contains("gpus") && !table.contains(glyphs::cut()), "{table}");
        assert_eq!(below, [Some("a: gpus 1.5/4, lic 0/3".to_owned()), None]);
        assert_eq!(workers_in_use(&all, 12).1[0].as_deref(), Some("a: gpus 1.5…"));
        assert_eq!(workers_in_use(&all[1..], 120), (workers(&all[1..], 120), vec![None]), "no column for nobody");
    }

    fn python(name: &str) -> WorkerView {
        WorkerView {
            name: name.to_owned(),
            state: WorkerState::Live,
            heartbeat_age_seconds: Some(1),
            usage: Usage::of_status("1:2:1:2"),
            is_python: true,
            finished: 0,
            is_estimate: false,
            failed: 0,
            returned: 0,
            timed_out: 0,
            load: None,
            extras: WorkerExtras::default(),
            process: None,
        }
    }

    #[test]
    fn containment_is_named_once_or_per_worker() {
        let worker = |name: &str, containment: &str| WorkerView {
            process: Some(WorkerProcess { containment: containment.to_owned(), ..WorkerProcess::default() }),
            ..python(name)
        };
        let alike = [worker("a", "cgroup, keepers"), worker("b", "cgroup, keepers"), python("p")];
        assert_eq!(containment(&alike), "containment: cgroup, keepers\n");
        let mixed = [worker("a", "cgroup, keepers"), worker("b", "keepers\x1b[2J"), worker("c", "cgroup, keepers")];
        let text = containment(&mixed);
        assert!(text.starts_with("containment: cgroup, keepers (a, c)\ncontainment: keepers"), "{text}");
        assert!(text.ends_with(" (b)\n") && !text.contains('\x1b'), "{text:?}");
        assert_eq!(containment(&[]), "");
    }
}
