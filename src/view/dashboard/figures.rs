//! The texts of a snapshot, ready to be shown: the same for the first page and for the stream that updates it.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::history::Point;
use super::ranks::in_order;
use crate::model::snapshot::{
    Counts, FailureGroup, LimitView, Overview, ProgressParts, TaskState, WorkerState, WorkerView,
};
use crate::model::{ResourceKind, TaskId};
use crate::view::deaths::{alarms, lost, nobody_lives};
use crate::view::explain::explain_queue;
use crate::view::failures::named;
use crate::view::overview::{health, notices, warnings};
use crate::view::reason::lines_beyond_kind;
use crate::view::safe_text::safe;
use crate::view::text::{count, counted, duration, rate, shorten};
use crate::view::waits::waits;

/// Characters of a line that lists show.
pub(super) const LINE: usize = 300;

/// Limits on the page.
const LIMITS: usize = 50;

/// The texts of one snapshot, by the names that pages and the stream use.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    /// By the name of the place where they stand.
    pub(super) text: BTreeMap<&'static str, String>,
    /// Percent of what is finished.
    pub(super) percent: f64,
    /// Percent of the bar that each part takes: finished, running, failed, waiting.
    pub(super) parts: [f64; 4],
    /// What must be seen first: that no worker lives, which have died.
    pub(super) alarms: Vec<String>,
    /// Whether there are workers, and none is alive.
    pub(super) nobody_lives: bool,
    /// Workers that are dead, by now or for a day.
    pub(super) dead: usize,
    /// What is wrong, and what an operator asked for.
    pub(super) notices: Vec<String>,
    /// Why what waits does not run; empty while tasks finish.
    pub(super) why: Vec<String>,
    pub(super) limits: Vec<LimitRow>,
    pub(super) workers: Vec<WorkerRow>,
    pub(super) failures: Vec<FailureRow>,
}

/// A limit in a table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LimitRow {
    pub(super) name: String,
    pub(super) most: String,
    pub(super) per_node: String,
    pub(super) in_use: String,
    pub(super) waiting: String,
}

impl LimitRow {
    fn of(limit: &LimitView) -> Self {
        let most = |most: Option<u32>| most.map_or_else(|| "-".to_owned(), |most| count(u64::from(most)));
        Self {
            name: safe(&limit.limit).into_owned(),
            most: most(limit.max),
            per_node: most(limit.per_node),
            in_use: count(limit.in_use),
            waiting: count(limit.waiting),
        }
    }
}

/// A worker in a table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WorkerRow {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) beat: String,
    pub(super) running: String,
    pub(super) running_percent: f64,
    #[serde(flatten, serialize_with = "by_name")]
    pub(super) gauges: Vec<Gauge>,
    pub(super) finished: String,
    pub(super) failed: String,
    pub(super) timed_out: String,
    pub(super) returned: String,
    pub(super) host: String,
    pub(super) waits: String,
}

/// A group of failures in a table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FailureRow {
    pub(super) count: String,
    pub(super) kind: String,
    /// As it is, for a link.
    #[serde(skip)]
    pub(super) raw_kind: String,
    pub(super) id: String,
    pub(super) line: String,
    pub(super) workers: String,
    pub(super) reason: String,
}

impl Figures {
    pub(super) fn of(overview: &Overview, point: &Point) -> Self {
        let counts = &overview.counts;
        let parts = &overview.progress();
        let ahead = match overview.eta_seconds {
            Some(eta) => format!("{} to go", duration(eta)),
            None if counts.todo + counts.in_progress == 0 => "nothing to do".to_owned(),
            None if overview.ended_per_second() > 0.0 => "no worker is running them now".to_owned(),
            None => "nothing finished in the last minute".to_owned(),
        };
        let live = overview.workers.iter().filter(|worker| worker.state == WorkerState::Live).count();
        let slots = match point.slots {
            0 if counts.in_progress > 0 && nobody_lives(overview).is_some() => {
                "held by workers that are silent".to_owned()
            }
            0 => "no slots".to_owned(),
            slots => counted(slots, "slot"),
        };
        let text = BTreeMap::from([
            ("todo", count(counts.todo)),
            ("running", count(counts.in_progress)),
            ("finished", count(counts.finished)),
            ("failed", count(counts.of(TaskState::Failed))),
            ("cancelled", count(counts.of(TaskState::Cancelled))),
            ("slots", slots),
            ("rate", rate(overview.rate_per_second)),
            ("failed_rate", if point.failed_rate > 0.0 { rate(point.failed_rate) } else { "none now".to_owned() }),
            ("ahead", ahead),
            ("apart", apart(counts)),
            ("percent", format!("{:.1} %", parts.percent())),
            ("done", done(parts)),
            ("workers", count(overview.workers.len() as u64)),
            ("live", format!("{} live", count(live as u64))),
            ("timed_out", count(overview.totals.timed_out)),
            ("returned", count(overview.totals.returned)),
            ("lost", count(overview.totals.lost)),
            ("fenced", count(overview.totals.fenced)),
            ("redis", health(&overview.redis)),
        ]);
        let mut told = notices(overview);
        told.extend(warnings(&overview.redis));
        Self {
            text,
            percent: parts.percent(),
            parts: widths(parts),
            alarms: alarms(overview),
            nobody_lives: nobody_lives(overview).is_some(),
            dead: overview.workers.iter().filter(|worker| worker.state == WorkerState::Dead).count(),
            notices: told,
            why: if counts.todo > 0 && overview.eta_seconds.is_none() { explain_queue(overview) } else { Vec::new() },
            limits: overview.limits.iter().take(LIMITS).map(LimitRow::of).collect(),
            workers: in_order(overview).into_iter().map(WorkerRow::of).collect(),
            failures: overview.failures.iter().map(FailureRow::of).collect(),
        }
    }

    /// The parts of the bar with their colours.
    pub(super) fn toned(&self) -> Vec<(&'static str, f64)> {
        ["good", "busy", "bad", "calm"].into_iter().zip(self.parts).collect()
    }

    /// The text of a place; templates name only places that are there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.text.get(name).map_or("", String::as_str)
    }
}

/// `52 of 100 finished, 2 running, 40 failed, 6 waiting`, and apart how many were cancelled.
fn done(parts: &ProgressParts) -> String {
    let named = [(parts.running, "running"), (parts.failed, "failed"), (parts.waiting, "waiting")];
    let there = named.into_iter().filter(|(number, _)| *number > 0);
    let rest: String = there.map(|(number, name)| format!(", {} {name}", count(number))).collect();
    let apart = if parts.cancelled > 0 { format!("; {} cancelled", count(parts.cancelled)) } else { String::new() };
    format!("{} of {} finished{rest}{apart}", count(parts.finished), count(parts.all()))
}

fn widths(parts: &ProgressParts) -> [f64; 4] {
    let all = parts.all().max(1) as f64;
    [parts.finished, parts.running, parts.failed, parts.waiting]
        .map(|part| (part as f64 / all * 10_000.0).round() / 100.0)
}

/// How many of those that wait may not run: `6,800 blocked, 20 held`.
fn apart(counts: &Counts) -> String {
    let parts = [(counts.blocked, "blocked"), (counts.held, "held")];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    parts.map(|(number, word)| format!("{} {word}", count(number))).collect::<Vec<_>>().join(", ")
}

/// How much of one kind of resource a node uses.
#[derive(Clone, Debug)]
pub(super) struct Gauge {
    kind: ResourceKind,
    pub(super) text: String,
    pub(super) percent: f64,
}

impl Gauge {
    fn of(worker: &WorkerView, kind: ResourceKind) -> Self {
        let usage = &worker.usage;
        if !worker.is_alive() {
            return Self { kind, text: "-".to_owned(), percent: 0.0 };
        }
        let [used, total] = [usage.used, usage.total].map(|amounts| kind.shown(amounts.get(kind)));
        Self { kind, text: format!("{used:.1} / {total:.1}"), percent: percent(used, total) }
    }
}

/// `{"cores":TEXT,"cores_percent":NUMBER,…}`, as the pages read them.
fn by_name<S: Serializer>(gauges: &[Gauge], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(2 * gauges.len()))?;
    for Gauge { kind, text, percent } in gauges {
        map.serialize_entry(kind.stem(), text)?;
        map.serialize_entry(&format!("{}_percent", kind.stem()), percent)?;
    }
    map.end()
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole * 100.0).clamp(0.0, 100.0).round() } else { 0.0 }
}

impl WorkerRow {
    fn of(worker: &WorkerView) -> Self {
        let load = worker.present_load();
        Self {
            name: safe(&worker.name).into_owned(),
            state: worker.state.as_str(),
            beat: worker.heartbeat_age_seconds.map_or_else(|| "-".to_owned(), beat),
            running: load.map_or_else(|| "-".to_owned(), |load| format!("{} / {}", load.running, load.slots)),
            running_percent: load.map_or(0.0, |load| percent(f64::from(load.running), f64::from(load.slots))),
            gauges: ResourceKind::OF_WORKERS.into_iter().map(|kind| Gauge::of(worker, kind)).collect(),
            finished: count(worker.finished),
            failed: count(worker.failed),
            timed_out: count(worker.timed_out),
            returned: count(worker.returned),
            host: host(worker),
            waits: lost(worker).or_else(|| load.and_then(waits)).unwrap_or_default(),
        }
    }
}

/// The age of a heartbeat. That of a worker that reports as it should does not change from second to second.
fn beat(age: u64) -> String {
    const USUAL: u64 = 5;
    if age < USUAL { format!("< {USUAL} s") } else { duration(age) }
}

/// Host and version, what is in use of named resources, and labels.
fn host(worker: &WorkerView) -> String {
    let process = worker.process.as_ref().map(|process| format!("{}, {}", process.host, process.version));
    let labels = worker.extras.labels.iter().filter(|label| !label.starts_with("host=")).cloned();
    let labels = labels.collect::<Vec<_>>().join(", ");
    let in_use = if worker.is_alive() { worker.extras.resources_in_use() } else { String::new() };
    let parts = [process.unwrap_or_default(), in_use, labels];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    safe(&parts.join(" · ")).into_owned()
}

impl FailureRow {
    pub(super) fn of(group: &FailureGroup) -> Self {
        /// Lines of a reason that say most: the last.
        const LINES: usize = 6;
        let lines = lines_beyond_kind(&group.reason, &group.kind);
        let reason: Vec<String> =
            lines[lines.len().saturating_sub(LINES)..].iter().map(|line| shorten(line, LINE)).collect();
        Self {
            count: count(group.count),
            kind: safe(&group.kind).into_owned(),
            raw_kind: group.kind.clone(),
            id: TaskId::of(&group.sample).to_string(),
            line: shorten(&safe(&group.sample), LINE),
            workers: named(&group.workers),
            reason: reason.join("\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_and_lines_are_shown_as_text() {
        let group = FailureGroup {
            kind: "exit 3\u{202e}".to_owned(),
            count: 1,
            workers: vec!["a\u{1b}[2J".to_owned()],
            sample: "shell:1:1:1:echo \u{9b}31m".to_owned(),
            reason: "one\ntwo\u{7}".to_owned(),
        };
        let row = FailureRow::of(&group);
        let all = format!("{}{}{}{}", row.kind, row.workers, row.line, row.reason);
        assert!(!all.contains(|c: char| c != '\n' && c.is_control()) && !all.contains('\u{202e}'), "{all:?}");
        assert_eq!(row.reason.lines().count(), 2);
    }

    #[test]
    fn nothing_is_no_progress() {
        let figures = Figures::of(&Overview::default(), &Point::default());
        assert_eq!((figures.percent, figures.get("ahead")), (0.0, "nothing to do"));
    }
}
