//! What a task has printed since the last batch for its viewers: parts in order, each of one stream and one style.

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use super::console_spans::classes;
use crate::view::console_text::{ConsolePiece, ConsoleText};
use crate::view::log_text::whole;
use crate::view::safe_text::safe;

/// A part: `["out", TEXT]`, with classes as a third where it has any. A `restart` removes the line that was being written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    kind: &'static str,
    text: String,
    class: String,
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_seq(None)?;
        parts.serialize_element(self.kind)?;
        parts.serialize_element(&self.text)?;
        if !self.class.is_empty() {
            parts.serialize_element(&self.class)?;
        }
        parts.end()
    }
}

/// One stream of a task.
#[derive(Debug)]
pub(super) enum StreamReader {
    /// With its colours, and carriage returns as what they mean.
    Console(ConsoleText),
    /// With every escape visible; the beginning of a character that ends in the next piece.
    Raw(Vec<u8>),
}

impl StreamReader {
    pub(super) fn new(is_raw: bool) -> Self {
        if is_raw { Self::Raw(Vec::new()) } else { Self::Console(ConsoleText::default()) }
    }

    fn push(&mut self, bytes: &[u8]) -> Vec<ConsolePiece> {
        match self {
            Self::Console(text) => text.push(bytes),
            Self::Raw(carry) => {
                carry.extend_from_slice(bytes);
                let rest = carry.split_off(whole(carry));
                raw(&std::mem::replace(carry, rest))
            }
        }
    }

    fn finish(&mut self) -> Vec<ConsolePiece> {
        match self {
            Self::Console(text) => text.finish(),
            Self::Raw(carry) => raw(&std::mem::take(carry)),
        }
    }
}

fn raw(bytes: &[u8]) -> Vec<ConsolePiece> {
    let text = String::from_utf8_lossy(bytes);
    vec![ConsolePiece::Text(anstyle::Style::new(), text.split('\n').map(safe).collect::<Vec<_>>().join("\n"))]
}

/// What was printed since the last batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    parts: Vec<Part>,
    bytes: usize,
}

impl Batch {
    /// More of a stream.
    pub(super) fn print(&mut self, kind: &'static str, reader: &mut StreamReader, bytes: &[u8]) {
        let pieces = reader.push(bytes);
        self.add(kind, pieces);
    }

    /// The end of a stream.
    pub(super) fn end(&mut self, kind: &'static str, reader: &mut StreamReader) {
        let pieces = reader.finish();
        self.add(kind, pieces);
    }

    /// A line of our own.
    pub(super) fn note(&mut self, text: String) {
        self.bytes += text.len();
        self.parts.push(Part { kind: "gap", text, class: String::new() });
    }

    /// How much it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of it, JSON; `None` for nothing.
    pub(super) fn take(&mut self) -> Option<String> {
        self.bytes = 0;
        let parts = std::mem::take(&mut self.parts);
        (!parts.is_empty()).then(|| serde_json::json!({ "pieces": parts }).to_string())
    }

    fn add(&mut self, kind: &'static str, pieces: Vec<ConsolePiece>) {
        for piece in pieces {
            match piece {
                ConsolePiece::Restart => self.restart(),
                ConsolePiece::Text(style, text) => self.text(kind, classes(style), &text),
            }
        }
    }

    fn text(&mut self, kind: &'static str, class: String, text: &str) {
        self.bytes += text.len();
        match self.parts.last_mut() {
            Some(last) if last.kind == kind && last.class == class => last.text.push_str(text),
            _ if text.is_empty() => {}
            _ => self.parts.push(Part { kind, text: text.to_owned(), class }),
        }
    }

    /// The line that is being written begins anew; what was before this batch is for the page to remove.
    fn restart(&mut self) {
        while let Some(last) = self.parts.last_mut() {
            if last.kind == "gap" || last.kind == "restart" {
                return;
            }
            if let Some(end) = last.text.rfind('\n') {
                last.text.truncate(end + 1);
                return;
            }
            self.parts.pop();
        }
        self.parts.push(Part { kind: "restart", text: String::new(), class: String::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_bar_of_a_batch_is_one_line_of_its_viewers() {
        let (mut out, mut err) = (StreamReader::new(false), StreamReader::new(false));
        let mut batch = Batch::default();
        batch.print("out", &mut out, b"begun\n");
        batch.print("err", &mut err, b"\x1b[33m10 %\r20 %");
        assert_eq!(batch.take().as_deref(), Some(r#"{"pieces":[["out","begun\n"],["err","20 %","t-f3"]]}"#));
        batch.print("err", &mut err, b"\r30 %\r40 %");
        batch.print("out", &mut out, b"\r");
        batch.end("out", &mut out);
        assert_eq!(batch.take().as_deref(), Some(r#"{"pieces":[["restart",""],["err","40 %","t-f3"]]}"#));
        assert_eq!((batch.take(), batch.bytes()), (None, 0));
    }

    #[test]
    fn raw_output_shows_what_would_be_acted_upon() {
        let mut reader = StreamReader::new(true);
        let mut batch = Batch::default();
        batch.print("out", &mut reader, b"a\x1b[31m\r\xe2\x82");
        batch.print("out", &mut reader, b"\xac\nb");
        batch.end("out", &mut reader);
        assert_eq!(batch.take().as_deref(), Some(r#"{"pieces":[["out","a\\x1b[31m\\r€\nb"]]}"#));
    }
}
