//! Batches: the table of all, and one with its steps.

use super::glyphs;
use super::safe_text::safe;
use super::table::{Column, number, table, text};
use super::text::{count, counted, duration, moment, rate, wrap};
use crate::model::snapshot::{Awaited, BatchState, BatchView, BlockedOn, Overview};

/// The table of batches.
#[must_use]
pub fn batches(batches: &[BatchView], width: usize) -> String {
    if batches.is_empty() {
        return "no batches: distcomp-submit --name NAME makes one\n".to_owned();
    }
    rows("batch", batches, width)
}

/// One column: its heading, and what stands in it.
type Field = (Column, fn(&BatchView) -> String);

/// What is left out where there is no room, the first first.
const SPARE: [&str; 4] = ["rate", "to go", "running", "waiting"];

fn rows(head: &'static str, batches: &[BatchView], width: usize) -> String {
    let mut fields: Vec<Field> = vec![
        (text(head), |batch| safe(batch.name.as_str()).into_owned()),
        (text("state"), |batch| batch.state.as_str().to_owned()),
        (number("tasks"), |batch| count(batch.tasks)),
        (number("done"), percent),
        (number("running"), |batch| count(batch.running)),
        (number("waiting"), |batch| count(batch.waiting)),
        (number("blocked"), |batch| count(batch.blocked)),
        (number("failed"), |batch| count(batch.failed)),
        (number("rate"), |batch| if batch.rate_per_second > 0.0 { rate(batch.rate_per_second) } else { String::new() }),
        (number("to go"), |batch| batch.eta_seconds.map(duration).unwrap_or_default()),
    ];
    // What none of them has says nothing.
    fields.retain(|(column, cell)| {
        !SPARE[..2].contains(&column.head) || batches.iter().any(|batch| !cell(batch).is_empty())
    });
    let notes: Vec<String> = batches.iter().map(note).collect();
    let draw = |fields: &[Field], with_notes: bool| {
        let columns: Vec<Column> =
            fields.iter().map(|(column, _)| *column).chain(with_notes.then(|| text("note"))).collect();
        let row = |(batch, note): (&BatchView, &String)| {
            fields.iter().map(|(_, cell)| cell(batch)).chain(with_notes.then(|| note.clone())).collect()
        };
        table(&columns, batches.iter().zip(&notes).map(row).collect(), width)
    };
    let has_notes = notes.iter().any(|note| !note.is_empty());
    let mut drawn = draw(&fields, has_notes);
    if !drawn.contains(glyphs::cut()) {
        return drawn;
    }
    // Notes that do not fit stand below.
    for spare in [None, Some(SPARE[0]), Some(SPARE[1]), Some(SPARE[2]), Some(SPARE[3])] {
        fields.retain(|(column, _)| Some(column.head) != spare);
        drawn = draw(&fields, false);
        if !drawn.contains(glyphs::cut()) {
            break;
        }
    }
    for (batch, note) in batches.iter().zip(&notes).filter(|(_, note)| !note.is_empty()) {
        for line in wrap(&format!("{} {note}", safe(batch.name.as_str())), width) {
            drawn.push_str(&line);
            drawn.push('\n');
        }
    }
    drawn
}

/// The part that has ended. It is never 100 % while something is left.
fn percent(batch: &BatchView) -> String {
    format!("{:.0} %", (batch.progress() * 100.0).floor())
}

/// Why it is as it is, and what to do about it.
#[must_use]
pub fn note(batch: &BatchView) -> String {
    let name = &batch.name;
    if let Some(held) = &batch.held {
        return format!("{}; distcomp-ctl resume {} goes on", safe(held), name.top());
    }
    let mut notes: Vec<String> = Vec::new();
    if batch.blocked > 0 || (batch.state == BatchState::Blocked) {
        notes.extend(batch.after.iter().filter(|awaited| !awaited.is_done()).map(waits_for));
    }
    if batch.submissions > 0 {
        notes.push(format!(
            "{} under way or cut short (distcomp-ctl close {} ends {})",
            counted(batch.submissions, "submission"),
            name.top(),
            if batch.submissions == 1 { "it" } else { "them" }
        ));
    }
    notes.join("; ")
}

/// `waits for s1/prep: 40 of 100 open, 1 failed`.
#[must_use]
pub fn waits_for(awaited: &Awaited) -> String {
    let Awaited { name, open, failed, tasks, submissions, is_known, .. } = awaited;
    if !is_known {
        return format!("waits for {name}, of which nothing is known");
    }
    let mut parts = Vec::new();
    if *open > 0 {
        parts.push(format!("{} of {} open", count(*open), count(*tasks)));
    }
    if *failed > 0 {
        parts.push(format!("{} failed", count(*failed)));
    }
    if *submissions > 0 {
        parts.push("more is to come".to_owned());
    }
    let after = if awaited.has_failed() {
        format!("; distcomp-ctl requeue --batch {name} tries again, release {name} goes on without")
    } else {
        String::new()
    };
    if parts.is_empty() {
        format!("waits for {name}")
    } else {
        format!("waits for {name}: {}{after}", parts.join(", "))
    }
}

/// What a gate waits for, of one task or of many.
#[must_use]
pub fn blocked(gate: &BlockedOn) -> String {
    match (&gate.batch, gate.begin) {
        (Some(batch), _) => waits_for(batch),
        (None, Some(begin)) => format!("waits for {}", moment(begin as f64)),
        (None, None) => "waits".to_owned(),
    }
}

/// `10,001 blocked (10,000 for s1/prep: 40 of 100 open; 1 for s2: 3 failed), 20,000 in held batches`; `None` where neither is.
#[must_use]
pub fn kept_back(overview: &Overview) -> Option<String> {
    let counts = &overview.counts;
    let mut parts = Vec::new();
    if counts.blocked > 0 {
        let of =
            |gate: &BlockedOn| format!("{} {}", count(gate.waiting), blocked(gate).replacen("waits for", "for", 1));
        let named: Vec<String> = overview.blocked_on.iter().map(of).collect();
        let named = if named.is_empty() { String::new() } else { format!(" ({})", named.join("; ")) };
        parts.push(format!("{} blocked{named}", count(counts.blocked)));
    }
    if counts.held > 0 {
        parts.push(format!("{} in held batches", count(counts.held)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// One batch with its steps.
#[must_use]
pub fn batch(batch: &BatchView, steps: &[BatchView], has_more: bool, width: usize) -> String {
    let mut out = format!("{}: {}, {}", safe(batch.name.as_str()), batch.state.as_str(), counted(batch.tasks, "task"));
    if !batch.by.is_empty() {
        out.push_str(&format!(", by {}", safe(&batch.by)));
    }
    if let Some(most) = &batch.max_fails {
        out.push_str(&format!(", at most {most} may fail"));
    }
    if batch.kill_on_invalid_dep {
        out.push_str(", given up when what it waits for fails");
    }
    out.push('\n');
    out.push_str(&rows("batch", std::slice::from_ref(batch), width));
    for awaited in batch.after.iter().filter(|awaited| !awaited.is_done()) {
        out.push_str(&format!("it {}\n", waits_for(awaited)));
    }
    if !steps.is_empty() {
        out.push('\n');
        out.push_str(&rows("step", steps, width));
    }
    if has_more {
        out.push_str("… and more steps; --json has them all\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaited(open: u64, failed: u64) -> Awaited {
        let name = "s1/prep".parse().expect("a name");
        Awaited { name, open, failed, tasks: 100, submissions: 0, is_known: true, is_waived: false }
    }

    #[test]
    fn what_is_waited_for_says_what_to_do_once_it_has_failed() {
        assert_eq!(waits_for(&awaited(40, 0)), "waits for s1/prep: 40 of 100 open");
        assert_eq!(waits_for(&awaited(40, 2)), "waits for s1/prep: 40 of 100 open, 2 failed");
        assert_eq!(
            waits_for(&awaited(0, 2)),
            "waits for s1/prep: 2 failed; distcomp-ctl requeue --batch s1/prep tries again, release s1/prep goes on without"
        );
        let unknown = Awaited { is_known: false, ..awaited(0, 0) };
        assert_eq!(waits_for(&unknown), "waits for s1/prep, of which nothing is known");
    }
}
