//! Several sources: crossed, so that the last one changes fastest, or linked (`:::+`), so that they advance together.

use super::error::ComposeError;
use super::row::Row;
use super::source::{Cursor, Source, Splitting};

/// More tasks than this are a mistake in the command line, not a wish.
pub const MOST_TASKS: u64 = 100_000_000;

/// The sources of a command line, measured.
#[derive(Debug)]
pub struct Sources {
    /// Crossed; the sources of one group are linked.
    groups: Vec<Vec<Source>>,
    splitting: Splitting,
    /// Of each group the columns of each source.
    widths: Vec<Vec<usize>>,
    names: Vec<String>,
    tasks: u64,
}

impl Sources {
    /// Reads every source once: how many values there are, and how many columns.
    ///
    /// # Errors
    /// A file cannot be read, linked sources differ in length, or they make more than [`MOST_TASKS`] tasks.
    pub fn measure(groups: Vec<Vec<Source>>, splitting: Splitting) -> Result<Self, ComposeError> {
        let mut widths = Vec::new();
        let mut names = Vec::new();
        let mut tasks: u128 = 1;
        for group in &groups {
            let mut of_group = Vec::new();
            let mut before = None;
            for source in group {
                let measured = measure(source, &splitting)?;
                if let Some(before) = before.filter(|before| *before != measured.values) {
                    return Err(ComposeError::Linked { link: link_of(source), values: measured.values, before });
                }
                before = Some(measured.values);
                of_group.push(measured.width);
                if let Some(name) = measured.names.iter().find(|name| !name.is_empty() && names.contains(*name)) {
                    let what = format!("a source before has a column {name:?}, too; names of columns differ");
                    return Err(ComposeError::Value { file: source.name().to_owned(), number: 1, what });
                }
                names.extend(measured.names);
            }
            tasks = tasks.saturating_mul(u128::from(before.unwrap_or(0)));
            widths.push(of_group);
        }
        match u64::try_from(tasks) {
            Ok(tasks) if tasks <= MOST_TASKS => Ok(Self { groups, splitting, widths, names, tasks }),
            _ => Err(ComposeError::TooMany { tasks, most: MOST_TASKS }),
        }
    }

    /// How many tasks they make.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    /// How many columns a row has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.widths.iter().flatten().sum()
    }

    /// The names of the columns, from the first; empty texts for those without one.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Begins at the first row.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn rows(&self) -> Result<Rows<'_>, ComposeError> {
        let mut groups = Vec::new();
        let mut at = 0;
        for (sources, widths) in self.groups.iter().zip(&self.widths) {
            let mut members = Vec::new();
            for (source, width) in sources.iter().zip(widths) {
                members.push(Member { cursor: source.open(&self.splitting)?, at, width: *width });
                at += width;
            }
            groups.push(members);
        }
        Ok(Rows { groups, row: Row::default(), values: Vec::new(), is_over: false })
    }
}

struct Measured {
    values: u64,
    width: usize,
    names: Vec<String>,
}

fn measure(source: &Source, splitting: &Splitting) -> Result<Measured, ComposeError> {
    let mut cursor = source.open(splitting)?;
    let (mut values, mut width) = (0, cursor.header().len().max(1));
    if let Source::Array(array) = source {
        // Counted, not listed.
        values = array.len();
    } else {
        let mut columns = Vec::new();
        while cursor.next(&mut columns)? {
            values += 1;
            width = width.max(columns.len());
        }
    }
    let mut names = cursor.header().to_vec();
    names.resize(width, String::new());
    Ok(Measured { values, width, names })
}

/// How a linked source is written on the command line.
fn link_of(source: &Source) -> String {
    match source {
        Source::Words(_) => ":::+".to_owned(),
        Source::Lines(_) | Source::Csv(..) | Source::Array(_) => format!("::::+ {}", source.name()),
    }
}

/// The rows, in order: the values of the last group change fastest.
pub struct Rows<'a> {
    groups: Vec<Vec<Member<'a>>>,
    row: Row,
    values: Vec<String>,
    is_over: bool,
}

/// A source and the columns that it fills.
struct Member<'a> {
    cursor: Cursor<'a>,
    at: usize,
    width: usize,
}

impl Rows<'_> {
    /// The row that was given last.
    #[must_use]
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// A file cannot be read, or holds what is no value.
    pub fn next_row(&mut self) -> Result<Option<&Row>, ComposeError> {
        if self.is_over {
            return Ok(None);
        }
        let is_more = if self.row.number == 0 { self.begin()? } else { self.advance()? };
        if !is_more {
            self.is_over = true;
            return Ok(None);
        }
        self.row.number += 1;
        Ok(Some(&self.row))
    }

    fn begin(&mut self) -> Result<bool, ComposeError> {
        for group in 0..self.groups.len() {
            if !self.step(group)? {
                return Ok(false);
            }
        }
        Ok(!self.groups.is_empty())
    }

    /// As an odometer: the last group steps; where it is at its end it begins anew, and the one before it steps.
    fn advance(&mut self) -> Result<bool, ComposeError> {
        for group in (0..self.groups.len()).rev() {
            if self.step(group)? {
                return Ok(true);
            }
            if group == 0 {
                break;
            }
            for member in &mut self.groups[group] {
                member.cursor.rewind()?;
            }
            if !self.step(group)? {
                break;
            }
        }
        Ok(false)
    }

    /// Takes the next value of each source of a group; false at the end of the first that ends.
    fn step(&mut self, group: usize) -> Result<bool, ComposeError> {
        for member in &mut self.groups[group] {
            if !member.cursor.next(&mut self.values)? {
                return Ok(false);
            }
            self.row.put(member.at, member.width, &self.values);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::ValueFile;
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn words(words: &[&str]) -> Source {
        Source::Words(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn file(text: &str) -> ValueFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        ValueFile { name: "f".to_owned(), file }
    }

    fn colsep(text: &str) -> Splitting {
        Splitting { separator: Some(regex::Regex::new(text).unwrap()), has_header: false }
    }

    fn all(sources: &Sources) -> Vec<String> {
        let mut rows = sources.rows().unwrap();
        let mut seen = Vec::new();
        while let Some(row) = rows.next_row().unwrap() {
            let columns = (0..row.len()).map(|index| row.get(index).unwrap_or("-").to_owned());
            seen.push(columns.collect::<Vec<_>>().join(" "));
            assert_eq!(row.number, seen.len() as u64);
        }
        seen
    }

    fn rows(groups: Vec<Vec<Source>>, splitting: Splitting) -> Vec<String> {
        let sources = Sources::measure(groups, splitting).unwrap();
        let seen = all(&sources);
        assert_eq!(seen.len() as u64, sources.tasks());
        assert_eq!(all(&sources), seen, "they are read twice");
        seen
    }

    #[test]
    fn the_last_of_crossed_sources_changes_fastest() {
        let groups = || vec![vec![words(&["a", "b"])], vec![Source::Lines(file("1\n2\r\n\n"))]];
        assert_eq!(rows(groups(), Splitting::default()), ["a 1", "a 2", "a ", "b 1", "b 2", "b "]);
        let array = vec![vec![Source::Array("8-9".parse().unwrap())], vec![words(&["x"]), words(&["y"])]];
        assert_eq!(rows(array, Splitting::default()), ["8 x y", "9 x y"]);
        assert!(rows(vec![vec![words(&["a"])], vec![words(&[])]], Splitting::default()).is_empty());
    }

    #[test]
    fn linked_sources_are_of_one_length() {
        let groups = vec![vec![words(&["a", "b"]), words(&["c", "d"])], vec![words(&["x", "y"])]];
        assert_eq!(rows(groups, Splitting::default()), ["a c x", "a c y", "b d x", "b d y"]);
        let error = Sources::measure(vec![vec![words(&["a"; 5]), words(&["b"; 3])]], Splitting::default());
        assert_eq!(error.unwrap_err().to_string(), ":::+ has 3 values, the source before it 5");
    }

    #[test]
    fn tables_have_columns_and_short_rows_lack_some() {
        let table = || vec![vec![Source::Lines(file("a,b\nc d,e\n\n,x"))], vec![words(&["w"])]];
        assert_eq!(rows(table(), colsep(",")), ["a b w", "c d e w", " - w", " x w"]);
        let csv = vec![vec![Source::Csv(file("\"a, \"\"q\"\"\",\"two\nlines\"\nb\n"), b',')]];
        assert_eq!(rows(csv, Splitting::default()), ["a, \"q\" two\nlines", "b -"]);
    }

    #[test]
    fn a_header_names_columns_and_is_no_value() {
        let groups = vec![vec![Source::Lines(file("t,s\n1,2\n"))], vec![words(&["n", "x"])]];
        let sources = Sources::measure(groups, Splitting { has_header: true, ..colsep(",") }).unwrap();
        assert_eq!(sources.names(), ["t", "s", "n"]);
        assert_eq!((all(&sources), sources.columns()), (vec!["1 2 x".to_owned()], 3));
    }

    #[test]
    fn byte_order_mark_is_no_part_of_the_first_value() {
        let named = Splitting { has_header: true, ..Splitting::default() };
        for (source, splitting) in [
            (Source::Lines as fn(ValueFile) -> Source, Splitting { has_header: true, ..colsep(",") }),
            (|file| Source::Csv(file, b','), named),
        ] {
            let table = |text: &str| vec![vec![source(file(text))], vec![words(&["n", "x", "y"])]];
            let sources = Sources::measure(table("\u{feff}t,s\n1,2\n\u{feff}3,4\n"), splitting.clone()).unwrap();
            assert_eq!(sources.names(), ["t", "s", "n"]);
            assert_eq!(all(&sources)[2..], ["\u{feff}3 4 x", "\u{feff}3 4 y"], "elsewhere it is a character");
            let without = Splitting { has_header: false, ..splitting };
            let crossed = vec![vec![words(&["x", "y"])], vec![source(file("\u{feff}1,2\n"))]];
            assert_eq!(rows(crossed, without), ["x 1 2", "y 1 2"], "each time that it is read");
        }
    }

    #[test]
    fn a_header_fits_its_rows_and_names_each_column_once() {
        let error = |groups, splitting| {
            let splitting = Splitting { has_header: true, ..splitting };
            Sources::measure(groups, splitting).map(|sources| all(&sources).len()).map_err(|error| error.to_string())
        };
        let lines = |text: &str| vec![vec![Source::Lines(file(text))]];
        let csv = |text: &str| vec![vec![Source::Csv(file(text), b',')]];
        for (text, expected) in [
            ("a,b\n1,2\n3\n", Err("f:3: the row has 1 field, the header 2")),
            ("a,b\n1,2,3\n", Err("f:2: the row has 3 fields, the header 2")),
            ("a,b,a\n1,2,3\n", Err("f:1: two columns are named \"a\"")),
            ("a,b\n1,2\n\n", Ok(1)),
            ("a,b\n1,2\n3,\n\r\n\n", Ok(2)),
            (",,\n1,2,3\n", Ok(1)),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(error(lines(text), colsep(",")), expected, "{text:?}");
            assert_eq!(error(csv(text), Splitting::default()), expected, "CSV {text:?}");
        }
        let hole = Err("f:3: the row has 1 field, the header 2".to_owned());
        assert_eq!(error(lines("a,b\n1,2\n\n3,4\n"), colsep(",")), hole);
        assert_eq!(
            error(csv("a,b\n\"1\n\",2\n\n3\n"), Splitting::default()).unwrap_err(),
            "f:5: the row has 1 field, the header 2"
        );
        let carriage = error(csv("a,b\r\n1,2\r\n3\r\n"), Splitting::default());
        assert_eq!(carriage.unwrap_err(), "f:3: the row has 1 field, the header 2");
        assert_eq!(error(lines("a\n\n\n"), Splitting::default()), Ok(2), "of one column an empty line is a value");
        let twice = error(vec![vec![words(&["n", "1"])], vec![words(&["n", "2"])]], Splitting::default());
        assert_eq!(
            twice.unwrap_err(),
            ":::, value 1: a source before has a column \"n\", too; names of columns differ"
        );
        let more = error(vec![vec![words(&["a,b", "1,2", "3"])]], colsep(","));
        assert_eq!(more.unwrap_err(), ":::, value 3: the row has 1 field, the header 2");
    }

    #[test]
    fn too_many_tasks_are_refused_before_they_are_made() {
        let array = || vec![Source::Array("1-100000".parse().unwrap())];
        let error = Sources::measure(vec![array(), array()], Splitting::default()).unwrap_err().to_string();
        assert_eq!(error, "these sources make 10,000,000,000 tasks; at most 100,000,000");
    }

    #[test]
    fn a_bad_value_is_named_by_its_line() {
        let mut bytes = tempfile::tempfile().unwrap();
        bytes.write_all(b"a\n\xff\n").unwrap();
        let file = ValueFile { name: "f".to_owned(), file: bytes };
        let error = Sources::measure(vec![vec![Source::Lines(file)]], Splitting::default()).unwrap_err().to_string();
        assert_eq!(error, "f:2: the value is not UTF-8 (byte 1)");
    }

    proptest! {
        #[test]
        fn crossed_rows_are_the_nested_loops(groups in prop::collection::vec(prop::collection::vec("[a-z]{0,3}", 0..4), 1..4)) {
            let sources = groups.iter().map(|values| vec![Source::Words(values.clone())]).collect();
            let mut expected = vec![Vec::new()];
            for values in &groups {
                expected = expected
                    .into_iter()
                    .flat_map(|row: Vec<String>| values.iter().map(move |value| [row.clone(), vec![value.clone()]].concat()))
                    .collect();
            }
            let expected: Vec<String> = expected.into_iter().map(|row| row.join(" ")).collect();
            prop_assert_eq!(rows(sources, Splitting::default()), expected);
        }
    }
}
