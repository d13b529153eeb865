//! Reads task files: one task a line, comments and empty lines skipped, in bounded memory.

use std::io::{self, BufRead};

use super::directive::directive_in;
use crate::model::task_line::MAX_COMMAND_BYTES;
use crate::model::{FieldOrder, TaskKind, TaskLine};

/// No task line is longer: the longest command, and ample room for the fields before it.
const MAX_LINE_BYTES: usize = MAX_COMMAND_BYTES + 4096;

/// The lines of one file that are not skipped.
pub(crate) struct TaskFile<R> {
    reader: R,
    number: u64,
    line: Vec<u8>,
    end: u8,
}

/// One line that is not skipped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawLine<'a> {
    /// From 1.
    pub(crate) number: u64,
    /// Whether it is a directive: its text is then what stands behind the mark.
    pub(crate) is_directive: bool,
    /// Its text without the line end, or what is wrong with it as text.
    pub(crate) text: Result<&'a str, String>,
}

impl<R: BufRead> TaskFile<R> {
    /// `end` is the byte that ends a line.
    pub(crate) fn new(reader: R, end: u8) -> Self {
        Self { reader, number: 0, line: Vec::new(), end }
    }

    /// The next line that may be a task; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        let is_directive = loop {
            let Some(is_whole) = self.read_line()? else { return Ok(None) };
            self.number += 1;
            if self.number == 1 && self.line.starts_with("\u{feff}".as_bytes()) {
                self.line.drain(.."\u{feff}".len());
            }
            if is_whole && self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
            let first = self.line.iter().find(|byte| !byte.is_ascii_whitespace());
            if first.is_none_or(|first| *first == b'#') && (is_whole || first.is_some()) {
                match std::str::from_utf8(&self.line).ok().and_then(directive_in) {
                    Some(_) => break true,
                    None => continue,
                }
            }
            if !is_whole {
                let text = Err(format!("the line is longer than {MAX_LINE_BYTES} bytes"));
                return Ok(Some(RawLine { number: self.number, is_directive: false, text }));
            }
            break false;
        };
        let text = std::str::from_utf8(&self.line)
            .map_err(|error| format!("the line is not UTF-8 (byte {})", error.valid_up_to() + 1))
            .map(|text| directive_in(text).filter(|_| is_directive).unwrap_or(text));
        Ok(Some(RawLine { number: self.number, is_directive, text }))
    }

    /// Reads one line into `self.line`, at most a little more than [`MAX_LINE_BYTES`] of it; says whether that is all of it.
    fn read_line(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let mut is_whole = true;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok((!self.line.is_empty() || !is_whole).then_some(is_whole));
            }
            let end = available.iter().position(|byte| *byte == self.end);
            let part = &available[..end.unwrap_or(available.len())];
            if self.line.len() + part.len() <= MAX_LINE_BYTES {
                self.line.extend_from_slice(part);
            } else {
                is_whole = false;
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(is_whole));
            }
        }
    }
}

/// What makes a line valid for this queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParseRules {
    /// The order of the numbers.
    pub(crate) order: FieldOrder,
    /// Whether Python workers share the queue, which die of some lines.
    pub(crate) python_workers: bool,
}

impl ParseRules {
    /// The task that a line is, or what is wrong with it.
    pub(crate) fn check(self, line: &str) -> Result<TaskLine, String> {
        let task = TaskLine::parse(line, self.order).map_err(|error| error.to_string())?;
        match self.python_workers.then(|| deadly_to_python(&task)).flatten() {
            Some(problem) => Err(format!("{problem}, which kills Python workers (python_workers is true)")),
            None => Ok(task),
        }
    }
}

/// What of a valid task a Python worker would die of.
fn deadly_to_python(task: &TaskLine) -> Option<&'static str> {
    let fields = &task.as_str()[..task.as_str().len() - task.cmd().len()];
    let (kind, numbers) = fields.split_once(':').unwrap_or((fields, ""));
    // With needs, no type is one that a Python worker knows.
    if kind == TaskKind::Python.as_str() {
        return Some("type is python");
    }
    if numbers.contains('.') {
        return Some("mem or cpu is a decimal");
    }
    if task.timeout().is_some() {
        return Some("timeout is given");
    }
    task.cmd().contains(':').then_some("cmd holds a colon")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Vec<(u64, Result<String, String>)> {
        let mut file = TaskFile::new(bytes, b'\n');
        let mut lines = Vec::new();
        while let Some(line) = file.next().unwrap() {
            lines.push((line.number, line.text.map(str::to_owned)));
        }
        lines
    }

    #[test]
    fn blank_lines_and_comments_are_skipped_and_counted() {
        let lines = read(b"\xef\xbb\xbfa\r\n\n  # no\n\t \nb # yes\nc");
        assert_eq!(lines, [(1, Ok("a".to_owned())), (5, Ok("b # yes".to_owned())), (6, Ok("c".to_owned()))]);
    }

    #[test]
    fn only_one_carriage_return_is_dropped_and_blanks_are_kept() {
        assert_eq!(read(b" a \r\r\n"), [(1, Ok(" a \r".to_owned()))]);
    }

    #[test]
    fn what_is_not_utf8_is_a_bad_line() {
        let lines = read(b"ab\xff\nc\n");
        assert!(lines[0].1.as_ref().is_err_and(|error| error.contains("UTF-8")), "{lines:?}");
        assert_eq!(lines[1], (2, Ok("c".to_owned())));
    }

    #[test]
    fn an_endless_line_is_bad_and_the_next_one_is_read() {
        let mut bytes = vec![b'x'; 3 * MAX_LINE_BYTES];
        bytes.extend_from_slice(b"\nnext");
        let lines = read(&bytes);
        assert!(lines[0].1.is_err());
        assert_eq!(lines[1], (2, Ok("next".to_owned())));
    }

    #[test]
    fn an_endless_line_of_blanks_is_bad_too() {
        let bytes = vec![b' '; 3 * MAX_LINE_BYTES];
        assert!(read(&bytes)[0].1.is_err());
    }

    #[test]
    fn what_kills_python_workers_is_named() {
        let rules = ParseRules { order: FieldOrder::PrioMemCpu, python_workers: true };
        assert!(rules.check("shell:1:2:3:echo").is_ok());
        for (line, word) in [
            ("shell:1:2:3:60:echo", "timeout"),
            ("shell:1:2:3:echo a:b", "cmd"),
            ("shell:1:0.5:3:echo", "decimal"),
            ("python:1:2:3:print()", "type"),
        ] {
            assert!(rules.check(line).is_err_and(|error| error.contains(word)), "{line}");
            assert!(ParseRules { python_workers: false, ..rules }.check(line).is_ok(), "{line}");
        }
        assert!(rules.check("shell:1:2:3:echo 0.5").is_ok());
    }

    proptest! {
        #[test]
        fn every_line_comes_back_as_it_was(lines in prop::collection::vec("[^\n\r]{0,40}", 0..40), crlf: bool) {
            let end = if crlf { "\r\n" } else { "\n" };
            let text: String = lines.iter().map(|line| format!("{line}{end}")).collect();
            let kept: Vec<(u64, Result<String, String>)> = (1..)
                .zip(lines.iter().enumerate().map(|(index, line)| if index == 0 { line.trim_start_matches('\u{feff}') } else { line }))
                .filter(|(_, line)| {
                    let first = line.bytes().find(|byte| !byte.is_ascii_whitespace());
                    first.is_some_and(|first| first != b'#')
                })
                .map(|(number, line)| (number, Ok(line.to_owned())))
                .collect();
            prop_assume!(!lines.first().is_some_and(|line| line.starts_with("\u{feff}\u{feff}")));
            prop_assert_eq!(read(text.as_bytes()), kept);
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let lines = read(&bytes);
            prop_assert!(lines.len() <= bytes.split(|byte| *byte == b'\n').count());
        }
    }
}
