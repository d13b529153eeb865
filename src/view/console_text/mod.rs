//! Makes task output readable and safe while it streams by: it keeps the colours and the carriage returns of progress bars, and nothing else that a
//! terminal acts upon.
//!
//! Of a terminal's language three things are understood. A carriage return begins the line anew: what follows replaces it. `ESC [ … m` sets the style of
//! the text behind it. `ESC [ K` erases in the line, as progress bars do beside a carriage return. Everything else stays as a visible escape, as with
//! [`safe`]. Text that an escape would hide (`ESC [ 8 m`) stays visible.

mod sgr;
#[cfg(test)]
mod tests;

use anstyle::Style;

pub(super) use self::sgr::styled;

use super::log_text::whole;
use super::safe_text::safe;

/// Characters of the parameters of an escape sequence; a longer one is none.
const LONGEST: usize = 64;

/// A part of what a task has printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsolePiece {
    /// The line that was being written begins anew: all of it since the last line end goes.
    Restart,
    /// This was added. Line ends and tabs are the only control characters in it.
    Text(Style, String),
}

/// Reads one stream of a task, in pieces of any size.
#[derive(Debug, Default)]
pub struct ConsoleText {
    /// The beginning of a character that ends in the next piece.
    carry: Vec<u8>,
    /// The beginning of an escape sequence that ends in the next piece.
    held: String,
    style: Style,
    /// A carriage return was read, and nothing behind it yet: it may belong to a line end.
    returns: bool,
}

impl ConsoleText {
    /// The next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<ConsolePiece> {
        self.carry.extend_from_slice(bytes);
        let end = whole(&self.carry);
        let mut text = std::mem::take(&mut self.held);
        text.push_str(&String::from_utf8_lossy(&self.carry[..end]));
        self.carry.drain(..end);
        let mut pieces = Pieces::default();
        self.read(&text, &mut pieces);
        pieces.0
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self) -> Vec<ConsolePiece> {
        let mut text = std::mem::take(&mut self.held);
        let rest = std::mem::take(&mut self.carry);
        text.push_str(&String::from_utf8_lossy(&rest));
        let mut pieces = Pieces::default();
        self.read(&text, &mut pieces);
        let held = std::mem::take(&mut self.held);
        self.write(&safe(&held), &mut pieces);
        pieces.0
    }

    fn read(&mut self, text: &str, out: &mut Pieces) {
        let mut rest = text;
        while let Some(at) = rest.find(['\n', '\r', '\t', '\u{1b}']) {
            self.write(&safe(&rest[..at]), out);
            let special = &rest[at..];
            rest = &special[1..];
            match special.as_bytes()[0] {
                b'\n' => {
                    self.returns = false;
                    out.add(self.style, "\n");
                }
                b'\r' => self.returns = true,
                b'\t' => self.write("\t", out),
                _ => match Escape::of(rest) {
                    Escape::Style(codes, length) => {
                        self.style = sgr::styled(self.style, codes);
                        rest = &rest[length..];
                    }
                    Escape::Erase(is_whole, length) => {
                        if self.returns || is_whole {
                            out.restart();
                        }
                        self.returns = false;
                        rest = &rest[length..];
                    }
                    Escape::Unfinished => {
                        self.held = special.to_owned();
                        return;
                    }
                    Escape::Other => self.write(&safe("\u{1b}"), out),
                },
            }
        }
        self.write(&safe(rest), out);
    }

    /// Adds text that is safe.
    fn write(&mut self, text: &str, out: &mut Pieces) {
        if text.is_empty() {
            return;
        }
        if std::mem::take(&mut self.returns) {
            out.restart();
        }
        out.add(self.style, text);
    }
}

/// A whole text, line by line; each line is its parts with their styles.
#[must_use]
pub fn console_lines(text: &str) -> Vec<Vec<(Style, String)>> {
    let mut reader = ConsoleText::default();
    let mut pieces = reader.push(text.as_bytes());
    pieces.extend(reader.finish());
    let mut lines = vec![Vec::new()];
    for piece in pieces {
        let ConsolePiece::Text(style, text) = piece else {
            lines.last_mut().map(Vec::clear);
            continue;
        };
        for (at, part) in text.split('\n').enumerate() {
            if at > 0 {
                lines.push(Vec::new());
            }
            if let Some(line) = lines.last_mut().filter(|_| !part.is_empty()) {
                line.push((style, part.to_owned()));
            }
        }
    }
    lines.pop_if(|last| last.is_empty());
    lines
}

/// What an escape character begins.
enum Escape<'a> {
    /// The parameters of `[…m`, and its length.
    Style(&'a str, usize),
    /// `[…K`: whether it erases what stands before the cursor too, and its length.
    Erase(bool, usize),
    /// It may go on in the next piece.
    Unfinished,
    /// Nothing that is understood.
    Other,
}

impl<'a> Escape<'a> {
    /// Of the text behind the escape character.
    fn of(text: &'a str) -> Self {
        if text.is_empty() {
            return Self::Unfinished;
        }
        let Some(sequence) = text.strip_prefix('[') else { return Self::Other };
        let is_parameter = |c: char| c.is_ascii_digit() || matches!(c, ';' | ':');
        let end = sequence.find(|c| !is_parameter(c)).unwrap_or(sequence.len());
        if end > LONGEST {
            return Self::Other;
        }
        let (parameters, length) = (&sequence[..end], 1 + end + 1);
        match (sequence[end..].chars().next(), parameters) {
            (None, _) => Self::Unfinished,
            (Some('m'), _) => Self::Style(parameters, length),
            (Some('K'), "" | "0") => Self::Erase(false, length),
            (Some('K'), "1" | "2") => Self::Erase(true, length),
            (Some(_), _) => Self::Other,
        }
    }
}

/// What one call adds. A line that was begun in it and begins anew leaves no trace, so that a progress bar costs little.
#[derive(Default)]
struct Pieces(Vec<ConsolePiece>);

impl Pieces {
    fn add(&mut self, style: Style, text: &str) {
        match self.0.last_mut() {
            Some(ConsolePiece::Text(last, all)) if *last == style => all.push_str(text),
            _ => self.0.push(ConsolePiece::Text(style, text.to_owned())),
        }
    }

    fn restart(&mut self) {
        while let Some(ConsolePiece::Text(_, text)) = self.0.last_mut() {
            if let Some(end) = text.rfind('\n') {
                text.truncate(end + 1);
                return;
            }
            self.0.pop();
        }
        if self.0.is_empty() {
            self.0.push(ConsolePiece::Restart);
        }
    }
}
