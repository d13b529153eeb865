//! Formats numbers, times and amounts; shortens text; draws bars.

use super::glyphs;
use super::width::{beginning, columns, of_char};
use crate::model::units::grouped;
use crate::model::{Amounts, ResourceKind};

/// `20,124`.
#[must_use]
pub fn count(number: u64) -> String {
    grouped(u128::from(number))
}

/// A number with its noun: `1 task`, `1,204 tasks`.
#[must_use]
pub fn tasks(number: u64) -> String {
    counted(number, "task")
}

/// `1 task waits`, `1,204 tasks wait`.
#[must_use]
pub fn tasks_wait(number: u64) -> String {
    format!("{} wait{}", tasks(number), if number == 1 { "s" } else { "" })
}

/// A number with its noun, whose plural is formed by an `s`: `1 worker`, `1,204 workers`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    amount(&count(number), noun)
}

/// A number that is text already with its noun: `1 core`, `0.5 cores`.
#[must_use]
pub fn amount(number: &str, noun: &str) -> String {
    format!("{number} {noun}{}", if number == "1" { "" } else { "s" })
}

/// An amount of a resource with its unit, two decimals at most: `8 GB`, `0.5 cores`.
#[must_use]
pub fn resource(kind: ResourceKind, amount: u64) -> String {
    with_unit(kind, &trimmed(kind.shown(amount)))
}

/// An amount of a resource as the task line or the node has it: `8.00 GB`, `0.125 cores`.
#[must_use]
pub fn exact_resource(kind: ResourceKind, amount: u64) -> String {
    if kind.is_counted() { with_unit(kind, &kind.exact(amount)) } else { kind.exact(amount) }
}

fn with_unit(kind: ResourceKind, number: &str) -> String {
    if kind.is_counted() { amount(number, kind.unit()) } else { format!("{number} {}", kind.unit()) }
}

/// Amounts of every kind: `8 GB and 2 cores`.
#[must_use]
pub fn resources(amounts: &Amounts, text: impl Fn(ResourceKind, u64) -> String) -> String {
    joined(ResourceKind::ALL.map(|kind| text(kind, amounts.get(kind))).as_slice())
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn joined(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Without zeros behind the point.
#[must_use]
pub fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A verb of the third person as the number of its subject wants it: `waits` for one, else `wait`.
#[must_use]
pub fn verb(number: u64, verb: &str) -> String {
    format!("{verb}{}", if number == 1 { "s" } else { "" })
}

/// The two largest units: `45 s`, `2 m 05 s`, `3 h 10 m`, `2 d 04 h`.
#[must_use]
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} m {:02} s", seconds % 60),
        3600..86_400 => format!("{hours} h {minutes:02} m"),
        _ => format!("{} d {hours:02} h", count(days)),
    }
}

/// Time that may be short: `0.35 s`, then as [`duration`].
#[must_use]
pub fn precise_duration(seconds: f64) -> String {
    if seconds < 60.0 { format!("{:.2} s", seconds.max(0.0)) } else { duration(seconds as u64) }
}

/// `512 B`, `1.5 KiB`, `3.0 GiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    let mut amount = number as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or("B");
    for next in units {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{number} B") } else { format!("{amount:.1} {unit}") }
}

/// A rate per second in the unit that reads best: `1,250/s`, `2.5/s`, `6.0/min`, `1.2/h`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 100.0 => format!("{}/s", count(r.round() as u64)),
        r if r >= 1.0 => format!("{r:.1}/s"),
        r if r * 60.0 >= 1.0 => format!("{:.1}/min", r * 60.0),
        r => format!("{:.1}/h", r * 3600.0),
    }
}

/// At most `width` columns; what is cut ends in `…`, or its like in ASCII.
#[must_use]
pub fn shorten(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut short = beginning(text, width.saturating_sub(1)).to_owned();
    short.push(glyphs::cut());
    short
}

/// The text in lines of at most `width` columns, broken between words where that is possible.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| columns(line));
        let room = if line == 0 { width } else { width.saturating_sub(line + 1) };
        if columns(word) > room && line > 0 {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&shorten(word, width));
        }
    }
    lines
}

/// Breaks lines that are longer than `width`, whole and in the middle of words, what follows indented; styles do not count and are kept.
#[must_use]
pub fn fold(text: &str, width: usize, indent: usize) -> String {
    let indent = indent.min(width / 2);
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    for line in text.lines() {
        let (mut column, mut is_escape) = (0, false);
        for c in line.chars() {
            if is_escape {
                is_escape = c != 'm';
            } else if c == '\u{1b}' {
                is_escape = true;
            } else {
                let wide = of_char(c);
                if column + wide > width && column > indent {
                    out.push('\n');
                    out.extend(std::iter::repeat_n(' ', indent));
                    column = indent;
                }
                column += wide;
            }
            out.push(c);
        }
        out.push('\n');
    }
    out
}

/// A bar of a few cells in eighths of a cell, for tables. What is more than whole, or no number, is full or empty.
#[must_use]
pub fn small_bar(fraction: f64, width: usize) -> String {
    let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
    let eighths = (fraction * width as f64 * 8.0).round() as usize;
    let (whole, rest) = glyphs::cells();
    let mut bar = whole.repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(glyphs::eighths()[eighths % 8]);
    }
    let drawn = bar.chars().count();
    bar.push_str(&rest.repeat(width.saturating_sub(drawn)));
    bar
}

/// A bar of several parts, each with its own character, in proportion to their amounts. A part that is there has at least one cell, where there is room.
#[must_use]
pub fn parted_bar(parts: &[(u64, char)], width: usize) -> Vec<String> {
    let sum = parts.iter().map(|(amount, _)| *amount as f64).sum::<f64>().max(1.0);
    let of = |amount: u64| if amount == 0 { 0 } else { ((amount as f64 / sum * width as f64) as usize).max(1) };
    let mut cells: Vec<usize> = parts.iter().map(|(amount, _)| of(*amount)).collect();
    // The largest bears what rounding has left, and what the smallest took for being there at all.
    while let Some(used) = Some(cells.iter().sum::<usize>()).filter(|used| *used != width && *used > 0) {
        let Some(largest) = cells.iter_mut().max() else { break };
        *largest = if used < width { *largest + width - used } else { *largest - 1 };
    }
    parts.iter().zip(cells).map(|((_, fill), cells)| fill.to_string().repeat(cells)).collect()
}

/// A moment as `2026-01-31 12:00:05` of the local time zone.
#[must_use]
pub fn moment(seconds: f64) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64) else { return "?".to_owned() };
    timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let texts = [0, 999, 1000, 20_124, 1_000_000].map(count);
        assert_eq!(texts, ["0", "999", "1,000", "20,124", "1,000,000"]);
    }

    #[test]
    fn one_of_a_thing_has_no_plural() {
        assert_eq!([0, 1, 1204].map(tasks), ["0 tasks", "1 task", "1,204 tasks"]);
        assert_eq!(["0.5", "1", "64"].map(|number| amount(number, "core")), ["0.5 cores", "1 core", "64 cores"]);
        assert_eq!([1, 2].map(|number| verb(number, "wait")), ["waits", "wait"]);
    }

    #[test]
    fn durations_show_two_units() {
        let texts = [0, 59, 60, 125, 3600, 11_400, 187_200].map(duration);
        assert_eq!(texts, ["0 s", "59 s", "1 m 00 s", "2 m 05 s", "1 h 00 m", "3 h 10 m", "2 d 04 h"]);
        assert_eq!(precise_duration(0.351), "0.35 s");
    }

    #[test]
    fn amounts_have_units() {
        let texts = [0, 1023, 1536, 3 << 30].map(bytes);
        assert_eq!(texts, ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]);
        let texts = [1250.0, 2.5, 0.1, 0.001].map(rate);
        assert_eq!(texts, ["1,250/s", "2.5/s", "6.0/min", "3.6/h"]);
    }

    #[test]
    fn shortening_counts_columns_and_not_bytes() {
        assert_eq!(shorten("käse", 4), "käse");
        assert_eq!(shorten("käsebrot", 5), "käse…");
        assert_eq!([shorten("任务编号", 8), shorten("任务编号", 7), shorten("任务", 2)], ["任务编号", "任务编…", "…"]);
    }

    #[test]
    fn folding_loses_nothing_and_leaves_no_line_too_long() {
        assert_eq!(fold("abcdefgh\nxy", 5, 2), "abcde\n  fgh\nxy\n");
        assert_eq!(fold("任务编号", 5, 1), "任务\n 编号\n");
        assert_eq!(fold("\u{1b}[1mabc\u{1b}[0mdefgh", 6, 1), "\u{1b}[1mabc\u{1b}[0mdef\n gh\n");
    }

    #[test]
    fn small_bars_and_parted_bars_have_their_width() {
        assert_eq!(small_bar(0.5, 4), "██··");
        assert_eq!(small_bar(0.55, 4), "██▎·");
        for fraction in [f64::NAN, -1.0, 0.0, 0.01, 0.99, 1.0, 7.0, f64::INFINITY] {
            assert_eq!(small_bar(fraction, 4).chars().count(), 4, "{fraction}");
        }
        assert_eq!(parted_bar(&[(97, 'a'), (1, 'b'), (0, 'c'), (2, 'd')], 10).concat(), "aaaaaaaabd");
        for parts in [[(0, 'a'), (0, 'b')], [(1, 'a'), (0, 'b')], [(1, 'a'), (u64::MAX / 2, 'b')], [(3, 'a'), (5, 'b')]]
        {
            let drawn = parted_bar(&parts, 7).concat().chars().count();
            assert_eq!(drawn, if parts == [(0, 'a'), (0, 'b')] { 0 } else { 7 }, "{parts:?}");
        }
    }
}
