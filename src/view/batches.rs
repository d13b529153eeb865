//! Batches: the table of all, and one with its steps.

use super::ctl_command::{ctl, last_word, of_batch};
use super::glyphs;
use super::safe_text::safe;
use super::table::{Column, number, table, text};
use super::text::{count, counted, duration, moment, rate, tasks, wrap};
use crate::model::snapshot::{Awaited, BatchDetail, BatchState, BatchView, BlockedOn, Overview};

/// The table of batches.
#[must_use]
pub fn batches(batches: &[BatchView], width: usize) -> String {
    if batches.is_empty() {
        return "no batches: distcomp-submit --name NAME makes one\n".to_owned();
    }
    rows("batch", batches, width)
}

/// What stands in the row of a batch, ready to be shown. The same in every view.
#[derive(Clone, Debug, Default)]
pub struct BatchCells {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) tasks: String,
    pub(super) done: String,
    pub(super) running: String,
    pub(super) waiting: String,
    pub(super) blocked: String,
    pub(super) failed: String,
    /// Empty where none was.
    pub(super) cancelled: String,
    pub(super) rate: String,
    pub(super) to_go: String,
    pub(super) note: String,
}

impl BatchCells {
    /// The row of a batch, or of a step.
    #[must_use]
    pub fn of(batch: &BatchView) -> Self {
        Self {
            name: safe(batch.name.as_str()).into_owned(),
            state: batch.state.as_str(),
            tasks: count(batch.tasks),
            // It is never 100 % while something is left.
            done: format!("{:.0} %", (batch.progress() * 100.0).floor()),
            running: count(batch.running),
            waiting: count(batch.waiting),
            blocked: count(batch.blocked),
            failed: count(batch.failed),
            cancelled: if batch.cancelled > 0 { count(batch.cancelled) } else { String::new() },
            rate: if batch.rate_per_second > 0.0 { rate(batch.rate_per_second) } else { String::new() },
            to_go: batch.eta_seconds.map(duration).unwrap_or_default(),
            note: note(batch),
        }
    }
}

/// The columns of the table, but for the notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchColumn {
    Name,
    State,
    Tasks,
    Done,
    Running,
    Waiting,
    Blocked,
    Failed,
    Cancelled,
    Rate,
    ToGo,
}

impl BatchColumn {
    /// In the order in which they stand.
    const ALL: [Self; 11] = [
        Self::Name,
        Self::State,
        Self::Tasks,
        Self::Done,
        Self::Running,
        Self::Waiting,
        Self::Blocked,
        Self::Failed,
        Self::Cancelled,
        Self::Rate,
        Self::ToGo,
    ];

    /// Those that are left out where there is no room, the first one first.
    const SPARE: [Self; 4] = [Self::Rate, Self::ToGo, Self::Running, Self::Waiting];

    /// `head` is the heading of the names.
    fn column(self, head: &'static str) -> Column {
        match self {
            Self::Name => text(head),
            Self::State => text("state"),
            Self::Tasks => number("tasks"),
            Self::Done => number("done"),
            Self::Running => number("running"),
            Self::Waiting => number("waiting"),
            Self::Blocked => number("blocked"),
            Self::Failed => number("failed"),
            Self::Cancelled => number("cancelled"),
            Self::Rate => number("rate"),
            Self::ToGo => number("to go"),
        }
    }

    fn cell(self, cells: &BatchCells) -> &str {
        match self {
            Self::Name => &cells.name,
            Self::State => cells.state,
            Self::Tasks => &cells.tasks,
            Self::Done => &cells.done,
            Self::Running => &cells.running,
            Self::Waiting => &cells.waiting,
            Self::Blocked => &cells.blocked,
            Self::Failed => &cells.failed,
            Self::Cancelled => &cells.cancelled,
            Self::Rate => &cells.rate,
            Self::ToGo => &cells.to_go,
        }
    }

    /// Whether it is left out where no row has anything in it.
    fn may_be_empty(self) -> bool {
        matches!(self, Self::Cancelled | Self::Rate | Self::ToGo)
    }
}

fn rows(head: &'static str, batches: &[BatchView], width: usize) -> String {
    let cells: Vec<BatchCells> = batches.iter().map(BatchCells::of).collect();
    let (mut drawn, below) = list(head, &cells, width);
    for line in below.into_iter().flatten().flat_map(|note| wrap(&note, width)) {
        drawn.push_str(&line);
        drawn.push('\n');
    }
    drawn
}

/// The columns of these rows: what none of them has says nothing.
fn columns_of(rows: &[BatchCells]) -> Vec<BatchColumn> {
    let is_used = |column: BatchColumn| rows.iter().any(|cells| !column.cell(cells).is_empty());
    BatchColumn::ALL.into_iter().filter(|column| !column.may_be_empty() || is_used(*column)).collect()
}

fn draw<'a>(
    head: &'static str,
    fields: &[BatchColumn],
    rows: &'a [BatchCells],
    with_notes: bool,
    width: usize,
) -> String {
    let columns: Vec<Column> =
        fields.iter().map(|field| field.column(head)).chain(with_notes.then(|| text("note"))).collect();
    let row = |cells: &'a BatchCells| -> Vec<&'a str> {
        fields.iter().map(|field| field.cell(cells)).chain(with_notes.then_some(cells.note.as_str())).collect()
    };
    table(&columns, rows.iter().map(row).collect(), width)
}

/// A table of these rows; and for each what is to stand below, where notes do not fit into the lines.
pub(super) fn list(head: &'static str, rows: &[BatchCells], width: usize) -> (String, Vec<Option<String>>) {
    let mut fields = columns_of(rows);
    let has_notes = rows.iter().any(|cells| !cells.note.is_empty());
    let mut drawn = draw(head, &fields, rows, has_notes, width);
    if !drawn.contains(glyphs::cut()) {
        return (drawn, Vec::new());
    }
    for spare in std::iter::once(None).chain(BatchColumn::SPARE.map(Some)) {
        fields.retain(|column| Some(*column) != spare);
        drawn = draw(head, &fields, rows, false, width);
        if !drawn.contains(glyphs::cut()) {
            break;
        }
    }
    let below = |cells: &BatchCells| (!cells.note.is_empty()).then(|| format!("{} {}", cells.name, cells.note));
    (drawn, rows.iter().map(below).collect())
}

/// Names in a note before the rest is a number.
const NAMED: usize = 3;

/// Why it is as it is, and what to do about it.
#[must_use]
pub fn note(batch: &BatchView) -> String {
    let name = &batch.name;
    if let Some(held) = &batch.held {
        return format!("{}; {} resume {} goes on", safe(&held.to_string()), ctl(), last_word(&name.top()));
    }
    let closed = noted(batch);
    let mut notes: Vec<String> = closed.iter().take(NAMED).map(|awaited| waits_for(awaited)).collect();
    notes.extend(and_more(closed.len() as u64, NAMED as u64));
    notes.extend(batch.starts_at.map(|at| starts(batch, at)));
    notes.extend((batch.aside > 0).then(|| set_aside(batch.aside)));
    if batch.submissions > 0 {
        notes.push(format!(
            "{} under way or cut short ({} close {} ends {})",
            counted(batch.submissions, "submission"),
            ctl(),
            last_word(&name.top()),
            if batch.submissions == 1 { "it" } else { "them" }
        ));
    }
    notes.join("; ")
}

/// When what waits for a time may start: all of it, or the first of it.
fn starts(batch: &BatchView, at: u64) -> String {
    let is_all = batch.state == BatchState::Blocked && closed(batch).is_empty();
    let what = if is_all { "starts at" } else { "some of it starts at" };
    format!("{what} {}", moment(at as f64))
}

/// `2 tasks set aside: distcomp run --all runs them`.
fn set_aside(number: u64) -> String {
    let them = if number == 1 { "it" } else { "them" };
    format!("{} set aside: distcomp run --all runs {them}", tasks(number))
}

/// What a batch waits for, where its note says so.
fn noted(batch: &BatchView) -> Vec<&Awaited> {
    let is_blocked = batch.blocked > 0 || batch.state == BatchState::Blocked;
    if batch.held.is_none() && is_blocked { closed(batch) } else { Vec::new() }
}

/// `and 5 more`, where only some are named.
fn and_more(all: u64, named: u64) -> Option<String> {
    let more = all.saturating_sub(named);
    (more > 0).then(|| format!("and {} more", count(more)))
}

/// `waits for s1/prep: 40 of 100 open, 1 failed`.
#[must_use]
pub fn waits_for(awaited: &Awaited) -> String {
    format!("waits for {}", standing(awaited))
}

/// `s1/prep: 40 of 100 open, 1 failed`.
fn standing(awaited: &Awaited) -> String {
    let Awaited { name, open, tasks, submissions, is_known, .. } = awaited;
    if !is_known {
        return format!("{name}, of which nothing is known");
    }
    let mut parts = Vec::new();
    if *open > 0 {
        parts.push(format!("{} of {} open", count(*open), count(*tasks)));
    }
    if awaited.missed() > 0 {
        parts.push(awaited.missed_told());
    }
    if *submissions > 0 {
        parts.push("more is to come".to_owned());
    }
    if let Some(held) = &awaited.held {
        parts.push(safe(&held.to_string()).into_owned());
    }
    let is_told = awaited.has_failed() || awaited.held.is_some();
    let after = if is_told { format!("; {}", way_out(awaited)) } else { String::new() };
    if parts.is_empty() { name.to_string() } else { format!("{name}: {}{after}", parts.join(", ")) }
}

/// What lets what waits for a failed or held batch go on.
#[must_use]
pub fn way_out(awaited: &Awaited) -> String {
    let Awaited { name, failed, cancelled, .. } = awaited;
    let without = format!("{} release {} goes on without", ctl(), last_word(name));
    if awaited.held.is_some() {
        return format!("{} resume {} goes on, {without}", ctl(), last_word(&name.top()));
    }
    let again = match (failed, cancelled) {
        (0, 0) => "submit what is gone again".to_owned(),
        (0, 1..) => format!("{} requeue {} --state cancelled tries again", ctl(), of_batch(name)),
        (1.., _) => format!("{} requeue {} tries again", ctl(), of_batch(name)),
    };
    format!("{again}, {without}")
}

/// What a gate waits for, of one task or of many.
#[must_use]
pub fn blocked(gate: &BlockedOn) -> String {
    awaited_of(gate).map_or_else(|| "waits".to_owned(), |awaited| format!("waits for {awaited}"))
}

/// A batch and how it stands, or a moment; `None` where neither is known.
fn awaited_of(gate: &BlockedOn) -> Option<String> {
    match (&gate.batch, gate.begin) {
        (Some(batch), _) => Some(standing(batch)),
        (None, Some(begin)) => Some(moment(begin as f64)),
        (None, None) => None,
    }
}

/// `10,004 blocked (10,000 for s1/prep: 40 of 100 open; 1 for s2: 3 failed; and 3 more), 20,000 in held batches`; `None` where neither is.
#[must_use]
pub fn kept_back(overview: &Overview) -> Option<String> {
    let counts = &overview.counts;
    let mut parts = Vec::new();
    if counts.blocked > 0 {
        let of = |gate: &BlockedOn| {
            let awaited = awaited_of(gate).map_or_else(|| "waits".to_owned(), |awaited| format!("for {awaited}"));
            format!("{} {awaited}", count(gate.waiting))
        };
        let mut named: Vec<String> = overview.blocked_on.iter().map(of).collect();
        let in_named = overview.blocked_on.iter().fold(0, |sum: u64, gate| sum.saturating_add(gate.waiting));
        if !named.is_empty() {
            named.extend(and_more(counts.blocked, in_named));
        }
        let named = if named.is_empty() { String::new() } else { format!(" ({})", named.join("; ")) };
        parts.push(format!("{} blocked{named}", count(counts.blocked)));
    }
    if counts.held > 0 {
        parts.push(format!("{} in held batches", count(counts.held)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Who made a batch, and the rules that it goes by: `by ann, at most 5 may fail`; empty where nothing is known.
#[must_use]
pub fn about(batch: &BatchView) -> String {
    let by = (!batch.by.is_empty()).then(|| format!("by {}", safe(&batch.by)));
    let most = batch.max_fails.as_ref().map(|most| format!("at most {} may fail", safe(most)));
    let kill = batch.kill_on_invalid_dep.then(|| "given up when what it waits for fails".to_owned());
    let released = batch.released.as_deref().map(|by| match by {
        "" => "released: nothing waits for it".to_owned(),
        by => format!("released by {}: nothing waits for it", safe(by)),
    });
    by.into_iter().chain(most).chain(kill).chain(released).collect::<Vec<_>>().join(", ")
}

/// Names in the page of a batch before the rest is a number.
const LISTED: usize = 20;

/// What a batch or a step waits for, `s1/prep: 40 of 100 open` of each; and `and 5 more`, where it is more than some.
#[must_use]
pub fn waits(batch: &BatchView) -> (Vec<String>, Option<String>) {
    let closed = closed(batch);
    let named = closed.iter().take(LISTED).map(|awaited| standing(awaited));
    (named.collect(), and_more(closed.len() as u64, LISTED as u64))
}

/// What has not finished of that which a batch waits for; what needs somebody's help first.
fn closed(batch: &BatchView) -> Vec<&Awaited> {
    let mut closed: Vec<&Awaited> = batch.after.iter().filter(|awaited| !awaited.is_done()).collect();
    closed.sort_by_key(|awaited| !awaited.has_failed());
    closed
}

/// One batch with its steps.
#[must_use]
pub fn batch(detail: &BatchDetail, width: usize) -> String {
    let BatchDetail { batch, steps, has_more } = detail;
    let mut out = format!("{}: {}, {}", safe(batch.name.as_str()), batch.state.as_str(), counted(batch.tasks, "task"));
    let about = about(batch);
    if !about.is_empty() {
        out.push_str(&format!(", {about}"));
    }
    out.push('\n');
    out.push_str(&rows("batch", std::slice::from_ref(batch), width));
    let (named, more) = waits(batch);
    // The row has said it of a few.
    if named.len() > NAMED || noted(batch).is_empty() {
        out.extend(named.iter().map(|named| format!("it waits for {named}\n")).chain(more.map(|more| more + "\n")));
    }
    if !steps.is_empty() {
        out.push('\n');
        out.push_str(&rows("step", steps, width));
    }
    if *has_more {
        out.push_str("… and more steps; --json has them all\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BatchHold;

    fn awaited(open: u64, failed: u64) -> Awaited {
        let name = "s1/prep".parse().expect("a name");
        let (cancelled, gone, tasks, submissions) = (0, 0, 100, 0);
        let (is_known, is_waived, held) = (true, false, None);
        Awaited { name, open, failed, cancelled, gone, tasks, submissions, is_known, is_waived, held }
    }

    #[test]
    fn what_is_waited_for_says_what_to_do_once_it_has_failed() {
        assert_eq!(waits_for(&awaited(40, 0)), "waits for s1/prep: 40 of 100 open");
        assert_eq!(waits_for(&awaited(40, 2)), "waits for s1/prep: 40 of 100 open, 2 failed");
        assert_eq!(
            waits_for(&awaited(0, 2)),
            "waits for s1/prep: 2 failed; distcomp-ctl requeue --batch s1/prep tries again, distcomp-ctl release s1/prep goes on without"
        );
        assert_eq!(
            waits_for(&Awaited { cancelled: 3, ..awaited(0, 0) }),
            "waits for s1/prep: 3 cancelled; distcomp-ctl requeue --batch s1/prep --state cancelled tries again, distcomp-ctl release s1/prep goes on without"
        );
        assert_eq!(
            waits_for(&Awaited { gone: 3, ..awaited(0, 0) }),
            "waits for s1/prep: 3 gone; submit what is gone again, distcomp-ctl release s1/prep goes on without"
        );
        let held = Some(BatchHold::parse("paused by ann"));
        assert_eq!(
            waits_for(&Awaited { held, ..awaited(40, 0) }),
            "waits for s1/prep: 40 of 100 open, paused by ann; distcomp-ctl resume s1 goes on, distcomp-ctl release s1/prep goes on without"
        );
        let unknown = Awaited { is_known: false, ..awaited(0, 0) };
        assert_eq!(waits_for(&unknown), "waits for s1/prep, of which nothing is known");
    }
}
