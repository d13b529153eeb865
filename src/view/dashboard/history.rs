//! What the charts show: a point a second for ten minutes and one in five seconds for an hour, from this process; and a point a minute for two
//! weeks, from the history that the workers write. All of it bounded. Where nothing is known there is a gap and no line.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::{Value, json};

use super::minutes::Minutes;
pub(super) use super::point::Point;
use super::point::rounded;
use crate::model::snapshot::{HistoryRow, Overview, TaskState, WorkerView};

/// Points a second apart.
const FINE: usize = 600;

/// Points five seconds apart.
const COARSE: usize = 720;

/// Seconds between two of them.
const COARSE_STEP: f64 = 5.0;

/// A rate is taken over at least this long, so that it does not flicker.
const RATE_SECONDS: f64 = 5.0;

/// What this process saw is looked at again after five seconds at the latest: three times that without a point is a gap.
const GAP: f64 = 15.0;

/// How far back a chart goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Range {
    /// Ten minutes.
    #[default]
    Minutes,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// Seven days.
    Week,
}

impl Range {
    /// All of them, with the names that addresses use.
    pub(super) const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Minutes, "10m", "10 min"),
        (Self::Hour, "1h", "1 h"),
        (Self::Day, "24h", "24 h"),
        (Self::Week, "7d", "7 d"),
    ];

    /// The range of a name, those of earlier versions too; an unknown one is the shortest.
    pub(super) fn of(name: &str) -> Self {
        let name = if name == "hour" { "1h" } else { name };
        Self::ALL.into_iter().find(|(_, known, _)| *known == name).map_or_else(Self::default, |(range, ..)| range)
    }

    fn seconds(self) -> f64 {
        match self {
            Self::Minutes => 600.0,
            Self::Hour => 3600.0,
            Self::Day => 86_400.0,
            Self::Week => 7.0 * 86_400.0,
        }
    }

    /// Seconds between two points.
    fn step(self) -> f64 {
        match self {
            Self::Minutes => 1.0,
            Self::Hour => COARSE_STEP,
            Self::Day => 120.0,
            Self::Week => 900.0,
        }
    }
}

/// The points of the charts, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    fine: VecDeque<Point>,
    coarse: VecDeque<Point>,
    minutes: Minutes,
    was_away: bool,
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
            follows_outage: std::mem::take(&mut self.was_away),
        };
        push(&mut self.fine, point, FINE);
        let is_due = self.coarse.back().is_none_or(|last| now - last.t >= COARSE_STEP - 0.5);
        if is_due || point.follows_outage {
            push(&mut self.coarse, point, COARSE);
        }
        point
    }

    /// Redis does not answer: what comes next is after a gap.
    pub(super) fn note_outage(&mut self) {
        self.was_away = true;
    }

    /// Takes over rows of the queue's own history.
    pub(super) fn keep(&mut self, rows: &[HistoryRow]) {
        self.minutes.keep(rows);
    }

    /// The minute after which rows are missing; 0 = all of them.
    pub(super) fn newest_row(&self) -> u64 {
        self.minutes.newest()
    }

    /// The points of a range up to `now`, column by column. A null in each column is a gap.
    pub(super) fn columns(&self, range: Range, now: f64) -> Value {
        let start = now - range.seconds();
        let recent = match range {
            Range::Minutes => &self.fine,
            Range::Hour | Range::Day | Range::Week => &self.coarse,
        };
        let mut points: Vec<Option<Point>> = Vec::new();
        match range {
            Range::Minutes | Range::Hour => {
                let begin = recent.front().map_or(now, |first| first.t);
                self.minutes.points(start, begin, 60.0, &mut points);
                follow(&mut points, recent.iter().filter(|point| point.t >= start), Minutes::GAP);
            }
            Range::Day | Range::Week => {
                self.minutes.points(start, now, range.step(), &mut points);
                let end = points.iter().rev().flatten().next().map_or(start, |last| last.t);
                follow(&mut points, recent.iter().filter(|point| point.t > end), range.step() + Minutes::GAP);
            }
        }
        columns(range, &points)
    }
}

/// Adds what this process saw. The first of it may be `first` seconds later than what stands there.
fn follow<'a>(points: &mut Vec<Option<Point>>, seen: impl Iterator<Item = &'a Point>, first: f64) {
    let mut limit = first;
    for point in seen {
        if let Some(Some(last)) = points.last()
            && (point.t - last.t > limit || point.follows_outage)
        {
            points.push(None);
        }
        points.push(Some(*point));
        limit = GAP;
    }
}

fn columns(range: Range, points: &[Option<Point>]) -> Value {
    fn column<T: Serialize>(points: &[Option<Point>], value: fn(&Point) -> T) -> Value {
        json!(points.iter().map(|point| point.as_ref().map(value)).collect::<Vec<Option<T>>>())
    }
    // A gap has a time too, that of the point before it and a moment.
    let mut last = 0.0;
    let times = points.iter().map(|point| {
        last = point.map_or(last + 0.1, |point| point.t);
        (last * 10.0_f64).round() / 10.0
    });
    json!({
        "step": range.step(),
        "span": range.seconds(),
        "t": times.collect::<Vec<f64>>(),
        "todo": column(points, |point| point.todo),
        "running": column(points, |point| point.running),
        "slots": column(points, |point| point.slots),
        "failed": column(points, |point| point.failed),
        "finished_rate": column(points, |point| point.finished_rate),
        "failed_rate": column(points, |point| point.failed_rate),
    })
}

fn push<T>(ring: &mut VecDeque<T>, new: T, most: usize) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(new);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::Totals;

    fn finished(total: u64) -> Overview {
        Overview { totals: Totals { finished: total, ..Totals::default() }, ..Overview::default() }
    }

    fn column(history: &History, range: Range, now: f64, name: &str) -> Vec<Option<f64>> {
        let columns = history.columns(range, now);
        columns[name].as_array().expect("a column").iter().map(Value::as_f64).collect()
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
        assert_eq!((history.fine.len(), history.coarse.len()), (FINE, COARSE));
        assert_eq!(column(&history, Range::Hour, 9999.0, "t").len(), COARSE);
    }

    #[test]
    fn an_outage_is_a_gap_however_short() {
        let mut history = History::default();
        history.add(1000.0, &finished(0));
        history.add(1001.0, &finished(0));
        history.note_outage();
        history.add(1004.0, &finished(0));
        history.add(1040.0, &finished(0));
        let todo = column(&history, Range::Minutes, 1041.0, "todo");
        assert_eq!(todo, [Some(0.0), Some(0.0), None, Some(0.0), None, Some(0.0)]);
        let times = column(&history, Range::Minutes, 1041.0, "t");
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    }

    #[test]
    fn points_before_this_process_come_from_the_queues_history() {
        let mut history = History::default();
        let now = 1_000_000.0;
        let row = |minute: u64| HistoryRow {
            at: 999_960 - minute * 60,
            finished_total: 60_000 - minute * 60,
            ..HistoryRow::default()
        };
        let rows: Vec<HistoryRow> = (0..300).rev().filter(|minute| !(100..110).contains(minute)).map(row).collect();
        history.keep(&rows);
        history.keep(&rows[rows.len() - 1..]);
        assert_eq!(history.newest_row(), 999_960);
        history.add(now, &finished(60_040));
        let rates = column(&history, Range::Day, now, "finished_rate");
        let known: Vec<f64> = rates.iter().flatten().copied().collect();
        assert_eq!(rates.len() - known.len(), 1, "one gap: {rates:?}");
        assert!((140..160).contains(&known.len()), "{} points", known.len());
        assert!(known[..known.len() - 1].iter().all(|rate| (rate - 1.0).abs() < 0.01), "{known:?}");
        assert!(column(&history, Range::Minutes, now, "todo").len() > 8);
        assert!(column(&history, Range::Week, now, "todo").len() < 40);
    }
}
