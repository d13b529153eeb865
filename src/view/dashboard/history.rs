//! The history of the last hour in memory, bounded: a point a second for ten minutes, one in five seconds for an hour, and the use of the
//! workers' nodes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::model::ResourceKind;
use crate::model::snapshot::{Overview, TaskState, WorkerView};
use crate::view::safe_text::safe;

/// Points a second apart.
const FINE: usize = 600;

/// Points five seconds apart.
const COARSE: usize = 720;

/// Seconds between two of them.
const COARSE_STEP: f64 = 5.0;

/// Looks at the workers, five seconds apart.
const WORKER_LOOKS: usize = 120;

/// Workers whose figures are kept.
const WORKERS: usize = 500;

/// A rate is taken over at least this long, so that it does not flicker.
const RATE_SECONDS: f64 = 5.0;

/// What the charts show of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Point {
    /// Seconds since the epoch.
    pub(super) t: f64,
    pub(super) todo: u64,
    pub(super) running: u64,
    pub(super) slots: u64,
    pub(super) failed: u64,
    /// A second.
    pub(super) finished_rate: f64,
    /// A second.
    pub(super) failed_rate: f64,
    #[serde(skip)]
    finished_total: u64,
    #[serde(skip)]
    failed_total: u64,
}

/// The points of the charts, oldest first, and the use of each worker's node.
#[derive(Debug, Default)]
pub(super) struct History {
    fine: VecDeque<Point>,
    coarse: VecDeque<Point>,
    workers: VecDeque<(f64, Vec<NodeUse>)>,
}

const KINDS: usize = ResourceKind::OF_WORKERS.len();

/// What is in use on a node of each kind of resource, in percent of what it has.
#[derive(Clone, Debug)]
struct NodeUse {
    worker: Arc<str>,
    percent: [f32; KINDS],
}

impl History {
    /// Adds what was read at `now`, and answers its point.
    pub(super) fn add(&mut self, now: f64, overview: &Overview) -> Point {
        let (finished_total, failed_total) = (overview.totals.finished, overview.totals.failed);
        let base = self.fine.iter().rev().find(|point| now - point.t >= RATE_SECONDS).or_else(|| self.fine.front());
        let rate = |now_total: u64, total: fn(&Point) -> u64| {
            base.filter(|base| now > base.t)
                .map_or(0.0, |base| now_total.saturating_sub(total(base)) as f64 / (now - base.t))
        };
        let slots =
            overview.workers.iter().filter_map(WorkerView::present_load).map(|load| u64::from(load.slots)).sum();
        let point = Point {
            t: (now * 10.0).round() / 10.0,
            todo: overview.counts.todo,
            running: overview.counts.in_progress,
            slots,
            failed: overview.counts.of(TaskState::Failed),
            finished_rate: rounded(rate(finished_total, |base| base.finished_total)),
            failed_rate: rounded(rate(failed_total, |base| base.failed_total)),
            finished_total,
            failed_total,
        };
        push(&mut self.fine, point, FINE);
        if self.coarse.back().is_none_or(|last| now - last.t >= COARSE_STEP - 0.5) {
            push(&mut self.coarse, point, COARSE);
            let alive = overview.workers.iter().filter(|worker| worker.is_alive());
            let uses = alive.take(WORKERS).map(|worker| NodeUse {
                worker: safe(&worker.name).into(),
                percent: ResourceKind::OF_WORKERS
                    .map(|kind| percent(worker.usage.used.get(kind) as f64, worker.usage.total.get(kind) as f64)),
            });
            push(&mut self.workers, (point.t, uses.collect()), WORKER_LOOKS);
        }
        point
    }

    /// The points of the last minutes or the last hour, column by column.
    pub(super) fn columns(&self, is_hour: bool) -> Value {
        let points = if is_hour { &self.coarse } else { &self.fine };
        fn column<T: Serialize>(points: &VecDeque<Point>, value: fn(&Point) -> T) -> Value {
            json!(points.iter().map(value).collect::<Vec<T>>())
        }
        json!({
            "t": column(points, |point| point.t),
            "todo": column(points, |point| point.todo),
            "running": column(points, |point| point.running),
            "slots": column(points, |point| point.slots),
            "failed": column(points, |point| point.failed),
            "finished_rate": column(points, |point| point.finished_rate),
            "failed_rate": column(points, |point| point.failed_rate),
        })
    }

    /// What was in use of each worker's node over the last minutes, in percent; null where it was not there.
    pub(super) fn workers(&self) -> Value {
        type Line = Vec<Option<f32>>;
        let looks = self.workers.len();
        let mut all: BTreeMap<&str, [Line; KINDS]> = BTreeMap::new();
        for (at, (_, uses)) in self.workers.iter().enumerate() {
            for one in uses {
                let lines = all.entry(&one.worker).or_insert_with(|| std::array::from_fn(|_| vec![None; looks]));
                for (line, percent) in lines.iter_mut().zip(one.percent) {
                    line[at] = Some(percent);
                }
            }
        }
        let times: Vec<f64> = self.workers.iter().map(|(t, _)| *t).collect();
        let row = |(name, lines): (&str, [Line; KINDS])| {
            let mut row = json!({ "name": name });
            for (kind, line) in ResourceKind::OF_WORKERS.into_iter().zip(lines) {
                row[kind.stem()] = json!(line);
            }
            row
        };
        json!({ "t": times, "workers": all.into_iter().map(row).collect::<Vec<_>>() })
    }
}

fn push<T>(ring: &mut VecDeque<T>, new: T, most: usize) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(new);
}

fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

fn percent(part: f64, whole: f64) -> f32 {
    if whole > 0.0 { ((part / whole * 1000.0).round() / 10.0).clamp(0.0, 100.0) as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::Totals;

    fn finished(total: u64) -> Overview {
        Overview { totals: Totals { finished: total, ..Totals::default() }, ..Overview::default() }
    }

    #[test]
    fn a_rate_is_what_the_counter_grew_by() {
        let mut history = History::default();
        assert_eq!(history.add(1000.0, &finished(50)).finished_rate, 0.0);
        for second in 1..=20_u32 {
            let rate = history.add(1000.0 + f64::from(second), &finished(50 + u64::from(second) * 3)).finished_rate;
            assert!((rate - 3.0).abs() < 0.01, "{rate}");
        }
        assert_eq!(history.add(1021.0, &finished(0)).finished_rate, 0.0, "a counter that begins anew is no rate");
    }

    #[test]
    fn an_hour_and_a_day_take_the_same_room() {
        let mut history = History::default();
        for second in 0..10_000_u32 {
            history.add(f64::from(second), &finished(0));
        }
        assert_eq!((history.fine.len(), history.coarse.len(), history.workers.len()), (FINE, COARSE, WORKER_LOOKS));
        assert_eq!(history.columns(true)["t"].as_array().map(Vec::len), Some(COARSE));
    }
}
