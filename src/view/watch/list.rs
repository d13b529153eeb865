//! A list of `watch`: what is shown of it at which width. Columns are left out before names and commands lose what tells them apart.

use crate::view::fit::{cut_end, distinct, names, without_domain};
use crate::view::glyphs;
use crate::view::style::{BOLD, paint};
use crate::view::width::{columns, pad};

/// Blanks between two columns.
const GAP: usize = 2;

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A number, at the right.
    Number,
    /// A few words.
    Words,
    /// A name: cut in the middle.
    Name,
    /// A command or another long text: takes the rest.
    Long,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) role: Role,
    /// From where there is no room the column with the largest is left out first; 0 stays.
    pub(super) spare: u8,
}

/// A column, short.
pub(super) const fn column(head: &'static str, role: Role, spare: u8) -> Column {
    Column { head, role, spare }
}

/// The column that a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sorting {
    pub(super) column: usize,
    pub(super) is_descending: bool,
}

/// What is drawn.
pub(super) struct Drawn {
    /// The head, styled, and a line for each row.
    pub(super) lines: Vec<String>,
    /// Columns that found no room, by their places.
    pub(super) left_out: Vec<usize>,
}

impl Role {
    /// Columns that a text of this role, which would take `natural`, is given at least while others can be left out.
    fn wanted(self, natural: usize) -> usize {
        match self {
            Self::Number | Self::Words => natural,
            Self::Name => natural.min(20),
            Self::Long => natural.min(30),
        }
    }

    /// Columns that it is left when nothing more can be left out.
    fn least(self, natural: usize) -> usize {
        match self {
            Self::Number => natural,
            Self::Words => natural.min(10),
            Self::Name | Self::Long => natural.min(12),
        }
    }
}

/// The rows in a table of at most `width` columns. What no row has is left out.
pub(super) fn draw(all: &[Column], rows: &[&[String]], width: usize, sorting: Option<Sorting>) -> Drawn {
    let mut cells: Vec<Vec<String>> = all
        .iter()
        .enumerate()
        .map(|(at, _)| rows.iter().map(|row| row.get(at).cloned().unwrap_or_default()).collect())
        .collect();
    for (column, cells) in all.iter().zip(&mut cells).filter(|(column, _)| column.role == Role::Name) {
        let texts: Vec<&str> = cells.iter().map(String::as_str).collect();
        *cells = without_domain(&texts, column.role.wanted(usize::MAX));
    }
    let heads: Vec<String> =
        all.iter().enumerate().map(|(at, column)| head(column, sorting.filter(|by| by.column == at))).collect();
    let natural: Vec<usize> = heads
        .iter()
        .zip(&cells)
        .map(|(head, cells)| cells.iter().map(|cell| columns(cell)).chain([columns(head)]).max().unwrap_or(0))
        .collect();
    let is_sorted = |at: usize| sorting.is_some_and(|by| by.column == at);
    let has_any = |at: usize| cells[at].iter().any(|cell| !cell.is_empty()) || all[at].spare == 0 || is_sorted(at);
    let mut kept: Vec<usize> = (0..all.len()).filter(|at| has_any(*at)).collect();
    let needed = |kept: &[usize], of: fn(Role, usize) -> usize| -> usize {
        kept.iter().map(|at| of(all[*at].role, natural[*at]) + GAP).sum::<usize>().saturating_sub(GAP)
    };
    let mut left_out = Vec::new();
    while needed(&kept, Role::wanted) > width {
        let spare =
            kept.iter().copied().filter(|at| all[*at].spare > 0 && !is_sorted(*at)).max_by_key(|at| all[*at].spare);
        let Some(spare) = spare else { break };
        kept.retain(|at| *at != spare);
        left_out.push(spare);
    }
    let widths = shares(&kept.iter().map(|at| (all[*at].role, natural[*at])).collect::<Vec<_>>(), width);
    let mut lines = vec![String::new(); rows.len() + 1];
    for (index, (at, room)) in kept.iter().zip(widths).enumerate() {
        let role = all[*at].role;
        let texts: Vec<&str> = cells[*at].iter().map(String::as_str).collect();
        let fitted: Vec<String> = match role {
            Role::Number | Role::Words => texts.iter().map(|text| cut_end(text, room)).collect(),
            Role::Name => names(&texts, room),
            Role::Long => distinct(&texts, room),
        };
        let is_number = role == Role::Number;
        for (line, cell) in lines.iter_mut().zip(std::iter::once(cut_end(&heads[*at], room)).chain(fitted)) {
            if index > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            pad(line, &cell, room, is_number);
        }
    }
    for line in &mut lines {
        *line = cut_end(line.trim_end(), width);
    }
    lines[0] = paint(BOLD, &lines[0]);
    Drawn { lines, left_out }
}

fn head(column: &Column, sorting: Option<Sorting>) -> String {
    let mark = sorting.map_or("", |by| glyphs::sorted(by.is_descending));
    format!("{}{mark}", column.head)
}

/// How wide each column is: what it needs; where that is too much in all, what it wants, and the rest for the long ones from the last on.
fn shares(kept: &[(Role, usize)], width: usize) -> Vec<usize> {
    let gaps = GAP * kept.len().saturating_sub(1);
    let mut widths: Vec<usize> = kept.iter().map(|(role, natural)| role.wanted(*natural)).collect();
    let mut rest = width.saturating_sub(gaps + widths.iter().sum::<usize>());
    for is_last in [true, false] {
        for (given, (role, natural)) in widths.iter_mut().zip(kept).rev() {
            if (*role == Role::Long) == is_last {
                let more = rest.min(natural.saturating_sub(*given));
                *given += more;
                rest -= more;
            }
        }
    }
    let mut over = (gaps + widths.iter().sum::<usize>()).saturating_sub(width);
    for (given, (role, natural)) in widths.iter_mut().zip(kept).rev() {
        let less = over.min(given.saturating_sub(role.least(*natural)));
        *given -= less;
        over -= less;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Column; 5] = [
        column("id", Role::Words, 2),
        column("worker", Role::Name, 0),
        column("age", Role::Number, 0),
        column("memory", Role::Number, 3),
        column("command", Role::Long, 0),
    ];

    fn drawn(width: usize, sorting: Option<Sorting>) -> (Vec<String>, Vec<&'static str>) {
        let row = |n: u64| {
            [
                format!("{n:08}"),
                format!("node{n}.a-long-name-of-a-cluster.example.org"),
                format!("{n} s"),
                "3 GiB".to_owned(),
                format!("./sim --a-long-option /data/trace --seed {n}"),
            ]
        };
        let rows = [row(1), row(20)];
        let rows: Vec<&[String]> = rows.iter().map(<[String; 5]>::as_slice).collect();
        let drawn = draw(&ALL, &rows, width, sorting);
        let lines = drawn.lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        (lines, drawn.left_out.into_iter().map(|at| ALL[at].head).collect())
    }

    #[test]
    fn columns_go_before_what_tells_rows_apart() {
        let (lines, left_out) = drawn(100, None);
        assert_eq!((lines[0].as_str(), left_out.len()), ("id        worker   age  memory  command", 0));
        assert_eq!(lines[2], "00000020  node20  20 s   3 GiB  ./sim --a-long-option /data/trace --seed 20");
        let (lines, left_out) = drawn(50, None);
        assert_eq!(left_out, ["memory", "id"]);
        assert!(lines[1].ends_with("…1") && lines[2].ends_with("…20"), "{lines:?}");
        let (lines, left_out) = drawn(50, Some(Sorting { column: 3, is_descending: true }));
        assert!(left_out == ["id"] && lines[0].contains("memory▼"), "{lines:?}");
    }

    #[test]
    fn no_line_is_too_wide() {
        for width in 0..120 {
            let (lines, _) = drawn(width, None);
            assert!(lines.iter().all(|line| columns(line) <= width), "{width}: {lines:?}");
        }
    }
}
