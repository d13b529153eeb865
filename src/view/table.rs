//! Tables without lines, like those of `docker ps`. They fit the width by shortening one column.

use std::borrow::Cow;

use super::fit::names;
use super::style::{BOLD, paint};
use super::text::shorten;
use super::width;

/// Blanks between two columns.
const GAP: &str = "  ";

/// A column of text is not made narrower than this.
const LEAST: usize = 12;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub head: &'static str,
    /// Whether its cells stand at the right, as numbers do.
    pub is_number: bool,
}

/// A column of text.
#[must_use]
pub const fn text(head: &'static str) -> Column {
    Column { head, is_number: false }
}

/// A column of numbers.
#[must_use]
pub const fn number(head: &'static str) -> Column {
    Column { head, is_number: true }
}

/// Draws a table `width` columns wide at most, its last column shortened to fit; each line ends in a newline. Cells must be safe already.
#[must_use]
pub fn table<'a>(columns: &[Column], rows: Vec<Vec<impl Into<Cow<'a, str>>>>, width: usize) -> String {
    let mut rows: Vec<Vec<Cow<'a, str>>> =
        rows.into_iter().map(|row| row.into_iter().map(Into::into).collect()).collect();
    let last = columns.len().saturating_sub(1);
    let widths = |index: usize, rows: &[Vec<Cow<'a, str>>]| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| width::columns(cell));
        cells.chain([width::columns(columns[index].head)]).max().unwrap_or(0)
    };
    let mut before: usize = (0..last).map(|index| widths(index, &rows) + GAP.len()).sum();
    // Names give way next, the longest first.
    while before + LEAST > width {
        let texts = (0..last).filter(|index| !columns[*index].is_number).map(|index| (widths(index, &rows), index));
        let Some((widest, index)) = texts.max().filter(|(widest, _)| *widest > LEAST) else { break };
        let narrower = widest.saturating_sub(before + LEAST - width).max(LEAST);
        let cells: Vec<&mut Cow<'a, str>> = rows.iter_mut().filter_map(|row| row.get_mut(index)).collect();
        let texts: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
        let are_names = !texts.iter().any(|text| text.contains(' '));
        let end_cut = || texts.iter().map(|text| shorten(text, narrower)).collect();
        let fitted: Vec<String> = if are_names { names(&texts, narrower) } else { end_cut() };
        cells.into_iter().zip(fitted).for_each(|(cell, fitted)| *cell = Cow::Owned(fitted));
        let now = (0..last).map(|index| widths(index, &rows) + GAP.len()).sum();
        if now == before {
            break;
        }
        before = now;
    }
    let room = width.saturating_sub(before).max(LEAST);
    for row in &mut rows {
        if let Some(cell) = row.get_mut(last).filter(|cell| width::columns(cell) > room) {
            *cell = Cow::Owned(shorten(cell, room));
        }
    }
    let widths: Vec<usize> = (0..columns.len()).map(|index| widths(index, &rows)).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::with_capacity(widths.iter().map(|width| width + GAP.len()).sum());
        for ((cell, column), width) in cells.zip(columns).zip(&widths) {
            width::pad(&mut line, cell, *width, column.is_number);
            line.push_str(GAP);
        }
        shorten(line.trim_end(), width)
    };
    let mut drawn = paint(BOLD, &line(&mut columns.iter().map(|column| column.head)));
    drawn.push('\n');
    for row in &rows {
        drawn.push_str(&line(&mut row.iter().map(AsRef::as_ref)));
        drawn.push('\n');
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_gives_way() {
        let rows = vec![vec!["a".to_owned(), "7".to_owned(), "x".repeat(100)]];
        let drawn =
            anstream::adapter::strip_str(&table(&[text("name"), number("count"), text("line")], rows, 40)).to_string();
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0], "name  count  line");
        assert!(lines[1].starts_with("a         7  xxx") && lines[1].ends_with('…'), "{drawn}");
        assert!(lines.iter().all(|line| width::columns(line) <= 40), "{drawn}");
    }
}
