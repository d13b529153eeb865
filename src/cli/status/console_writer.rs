//! How `logs` writes one stream of a task: on a terminal as the task would, a carriage return begins the line anew and colours stay; into a pipe whole
//! lines, without colours, and of what carriage returns have replaced nothing. No other escape gets through.

use anstyle::Style;

use crate::view::console_text::{ConsolePiece, ConsoleText};
use crate::view::style::paint;

/// Goes back to the beginning of the line and erases it.
const BEGIN_AGAIN: &str = "\r\u{1b}[K";

/// A line without an end that is longer is written in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// Where the text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To a terminal, with colours or without.
    Terminal { has_colours: bool },
    /// Anywhere else.
    Pipe,
}

/// One stream.
#[derive(Debug)]
pub(super) struct ConsoleWriter {
    target: Target,
    reader: ConsoleText,
    /// The line that has no end yet, for a pipe.
    open: String,
    is_inside_line: bool,
}

impl ConsoleWriter {
    pub(super) fn new(target: Target) -> Self {
        Self { target, reader: ConsoleText::default(), open: String::new(), is_inside_line: false }
    }

    /// What is to be written for the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        let pieces = self.reader.push(bytes);
        self.convert(pieces)
    }

    /// What is left at the end of the stream. Another one may begin after it.
    pub(super) fn finish(&mut self) -> String {
        let pieces = self.reader.finish();
        let mut text = self.convert(pieces);
        text.push_str(&std::mem::take(&mut self.open));
        if self.is_inside_line && self.target != Target::Pipe {
            text.push('\n');
        }
        *self = Self::new(self.target);
        text
    }

    fn convert(&mut self, pieces: Vec<ConsolePiece>) -> String {
        let mut out = String::new();
        for piece in pieces {
            match (piece, self.target) {
                (ConsolePiece::Restart, Target::Terminal { .. }) => out.push_str(BEGIN_AGAIN),
                (ConsolePiece::Restart, Target::Pipe) => self.open.clear(),
                (ConsolePiece::Text(style, text), Target::Terminal { has_colours: true }) => {
                    self.note_end(&text);
                    out.push_str(&painted(style, &text));
                }
                (ConsolePiece::Text(_, text), Target::Terminal { has_colours: false }) => {
                    self.note_end(&text);
                    out.push_str(&text);
                }
                (ConsolePiece::Text(_, text), Target::Pipe) => {
                    self.open.push_str(&text);
                    let end = self.open.rfind('\n').map_or(0, |at| at + 1);
                    let end = if self.open.len() - end > LONGEST_LINE { self.open.len() } else { end };
                    out.extend(self.open.drain(..end));
                }
            }
        }
        out
    }

    fn note_end(&mut self, text: &str) {
        if let Some(last) = text.chars().next_back() {
            self.is_inside_line = last != '\n';
        }
    }
}

/// Each line in its style, so that a background ends with the line.
fn painted(style: Style, text: &str) -> String {
    if style == Style::new() {
        return text.to_owned();
    }
    let mut out = String::new();
    for part in text.split_inclusive('\n') {
        let line = part.strip_suffix('\n');
        out.push_str(&paint(style, line.unwrap_or(part)));
        out.push_str(if line.is_some() { "\n" } else { "" });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(target: Target, pieces: &[&str]) -> Vec<String> {
        let mut writer = ConsoleWriter::new(target);
        let mut seen: Vec<String> = pieces.iter().map(|piece| writer.push(piece.as_bytes())).collect();
        seen.push(writer.finish());
        seen
    }

    #[test]
    fn a_pipe_gets_the_last_state_of_each_line_however_it_comes() {
        let pieces = ["10 %", "\r20 %", "\r\x1b[32m100 %\x1b[0m\nx\x1b[2Jy", "\nend"];
        assert_eq!(through(Target::Pipe, &pieces), ["", "", "100 %\n", "x\\x1b[2Jy\n", "end"]);
        assert_eq!(through(Target::Pipe, &[&pieces.concat()]).concat(), "100 %\nx\\x1b[2Jy\nend");
        let long = "x".repeat(LONGEST_LINE + 1);
        assert_eq!(through(Target::Pipe, &[&long])[0], long);
    }

    #[test]
    fn a_terminal_shows_progress_and_colours_as_they_come() {
        let pieces = ["10 %", "\r20 %", "\n\x1b[41ma\nb\x1b[0m"];
        let seen = through(Target::Terminal { has_colours: true }, &pieces);
        assert_eq!(seen, ["10 %", "\r\x1b[K20 %", "\n\x1b[41ma\x1b[0m\n\x1b[41mb\x1b[0m", "\n"]);
        let plain = through(Target::Terminal { has_colours: false }, &pieces);
        assert_eq!(plain, ["10 %", "\r\x1b[K20 %", "\na\nb", "\n"]);
    }
}
