//! The queue's own history, a row a minute, as this process has read it.

use std::collections::VecDeque;

use super::point::{Point, rounded};
use crate::model::snapshot::HistoryRow;

/// Rows, oldest first, at most two weeks of them.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    rows: VecDeque<HistoryRow>,
}

impl Minutes {
    /// Two rows further apart than this have a gap between them: nobody was there to write.
    pub(super) const GAP: f64 = 150.0;

    /// Takes over rows that are newer than those that are there.
    pub(super) fn keep(&mut self, rows: &[HistoryRow]) {
        let newest = self.newest();
        self.rows.extend(rows.iter().filter(|row| row.at > newest));
        self.rows.drain(..self.rows.len().saturating_sub(HistoryRow::KEPT));
    }

    /// The newest row; 0 = none.
    pub(super) fn newest(&self) -> u64 {
        self.rows.back().map_or(0, |row| row.at)
    }

    /// Adds a point for each `step` seconds from `start` until `end`: amounts are those of its last row, rates those since the point before.
    /// `None` is a gap.
    pub(super) fn points(&self, start: f64, end: f64, step: f64, points: &mut Vec<Option<Point>>) {
        let from = self.rows.partition_point(|row| (row.at as f64) < start);
        let mut last: Option<HistoryRow> = from.checked_sub(1).and_then(|at| self.rows.get(at)).copied();
        let mut told = last;
        for (at, row) in self.rows.iter().enumerate().skip(from).take_while(|(_, row)| (row.at as f64) < end) {
            let is_after_gap = last.is_some_and(|last| (row.at - last.at) as f64 > Self::GAP);
            if is_after_gap {
                if !points.is_empty() {
                    points.push(None);
                }
                told = None;
            }
            last = Some(*row);
            let is_step_over = told.is_none_or(|told| (row.at - told.at) as f64 >= step);
            let is_before_gap = self.rows.get(at + 1).is_none_or(|next| (next.at - row.at) as f64 > Self::GAP);
            if !is_step_over && !is_before_gap {
                continue;
            }
            // A row without one before it tells no rate.
            if let Some(before) = told {
                points.push(Some(point(before, *row)));
            }
            told = Some(*row);
        }
    }
}

fn point(before: HistoryRow, row: HistoryRow) -> Point {
    let seconds = (row.at - before.at) as f64;
    let rate = |now: u64, then: u64| rounded(now.saturating_sub(then) as f64 / seconds.max(1.0));
    Point {
        t: row.at as f64,
        todo: row.todo,
        running: row.running,
        slots: row.slots,
        failed: row.failed,
        finished_rate: rate(row.finished_total, before.finished_total),
        failed_rate: rate(row.failed_total, before.failed_total),
        ..Point::default()
    }
}
