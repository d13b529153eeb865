//! A page in the making: which tasks it wants, and when it is full.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::super::batches;
use super::super::client::Connection;
use super::super::error::QueueError;
use super::super::keys::STOP_FIELD;
use super::super::select::TaskGroup;
use crate::model::TaskId;
use crate::model::listing::{PageCursor, PageOrder, TaskFilter, TaskPage, TaskRow};
use crate::model::snapshot::TaskState;
use crate::policy::line_pattern::LinePattern;

/// A page is full from this many rows on. The last step may bring a few more: what a scan has gone past does not come again.
pub(super) const ROWS: usize = 100;

/// Entries that one step looks at, at most.
const STEP: usize = 1000;

/// Of so many steps over at most [`STEP`] entries a page waits for the end, however slow the machine is: a small queue is shown whole at once.
const STEPS: usize = 32;

/// Bytes of lines and results that one page reads before it ends. A result may be a mebibyte, and a scan has to take it along.
pub(super) const READ_AT_MOST: usize = 4 << 20;

/// What was found so far.
pub(super) struct Collector {
    filter: TaskFilter,
    /// `None` where a text is no expression: nothing matches.
    patterns: Option<Patterns>,
    rows: Vec<TaskRow>,
    seen: HashSet<String>,
    looked_at: u64,
    /// Bytes.
    pub(super) read: usize,
    until: Instant,
    /// So far.
    steps: usize,
    /// Entries that the last step looked at.
    stepped: usize,
    is_barren: bool,
    /// It goes through a hash.
    pub(super) is_scanning: bool,
}

struct Patterns {
    include: Option<LinePattern>,
    exclude: Option<LinePattern>,
}

impl Collector {
    pub(super) fn new(filter: &TaskFilter, within: Duration) -> Self {
        let read = |text: &Option<String>| text.as_deref().map(LinePattern::parse).transpose().ok();
        let patterns =
            read(&filter.include).zip(read(&filter.exclude)).map(|(include, exclude)| Patterns { include, exclude });
        Self {
            filter: filter.clone(),
            patterns,
            rows: Vec::new(),
            seen: HashSet::new(),
            looked_at: 0,
            read: 0,
            until: Instant::now() + within,
            steps: 0,
            stepped: 0,
            is_barren: false,
            is_scanning: false,
        }
    }

    pub(super) fn filter(&self) -> &TaskFilter {
        &self.filter
    }

    pub(super) fn state(&self) -> TaskState {
        self.filter.state
    }

    pub(super) fn is_full(&self) -> bool {
        // What an index has comes in few steps.
        let may_take_long = self.filter.is_narrow() || self.is_scanning;
        let is_small = self.looked_at < STEP as u64 && self.steps < STEPS;
        self.rows.len() >= ROWS
            || self.read >= READ_AT_MOST
            || (may_take_long && !is_small && Instant::now() >= self.until)
    }

    /// How many rows there are so far.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many entries a step should look at: many where few match.
    pub(super) fn step(&self) -> usize {
        if self.is_barren { STEP } else { ROWS }
    }

    /// Bytes of an entry on average, of those met so far.
    pub(super) fn mean_bytes(&self) -> usize {
        self.read / usize::try_from(self.looked_at).unwrap_or(1).max(1)
    }

    /// So many entries were looked at, of so many bytes.
    pub(super) fn looked(&mut self, entries: usize, bytes: usize) {
        self.looked_at += entries as u64;
        self.steps += 1;
        if entries > 0 {
            self.stepped = entries;
        }
        self.read += bytes;
    }

    /// Whether a line can be wanted, as far as the line itself tells.
    pub(super) fn wants_line(&self, line: &str) -> bool {
        let Some(patterns) = &self.patterns else { return false };
        line != STOP_FIELD
            && patterns.include.as_ref().is_none_or(|pattern| pattern.is_in(line))
            && patterns.exclude.as_ref().is_none_or(|pattern| !pattern.is_in(line))
    }

    pub(super) fn wants_workers(&self, workers: &[String]) -> bool {
        self.filter.worker.as_ref().is_none_or(|worker| workers.contains(worker))
    }

    /// The row of a line that can be wanted.
    pub(super) fn row(&self, line: &str) -> Option<TaskRow> {
        self.wants_line(line).then(|| TaskRow {
            id: TaskId::of(line).to_string(),
            line: line.to_owned(),
            ..TaskRow::default()
        })
    }

    /// Adds the rows that belong to the batch and have the tag that is asked for, in their order; each task once. Answers how many.
    pub(super) async fn add(&mut self, conn: &Connection, rows: Vec<TaskRow>) -> Result<usize, QueueError> {
        let before = self.rows.len();
        let rows = self.of_members(conn, rows).await?;
        for row in rows {
            if self.wants_workers(&row.workers) && self.seen.insert(row.id.clone()) {
                self.rows.push(row);
            }
        }
        self.is_barren = (self.rows.len() - before) * 10 < self.stepped;
        Ok(self.rows.len() - before)
    }

    async fn of_members(&self, conn: &Connection, mut rows: Vec<TaskRow>) -> Result<Vec<TaskRow>, QueueError> {
        if rows.is_empty() || !self.filter.is_of_members() {
            return Ok(rows);
        }
        let group = TaskGroup { kind: None, batch: self.filter.batch.clone(), tag: self.filter.tag.clone() };
        let lines: Vec<String> = rows.iter().map(|row| row.line.clone()).collect();
        let mut members = batches::members(conn, &lines).await?.into_iter();
        rows.retain(|_| members.next().flatten().is_some_and(|member| group.has_member(&member.names, &member.tags)));
        Ok(rows)
    }

    /// The last to end first; those of which it is not known last.
    pub(super) fn sort_by_end(&mut self) {
        let at = |row: &TaskRow| row.end.as_ref().map_or(0.0, |end| end.at);
        self.rows.sort_by(|a, b| at(b).total_cmp(&at(a)));
    }

    pub(super) fn into_page(self, next: Option<PageCursor>, order: PageOrder) -> TaskPage {
        TaskPage { rows: self.rows, order, next, looked_at: self.looked_at }
    }
}
