//! The output of a running task on its page: both streams in the order in which they came. A carriage return replaces the line of its own stream.

use std::collections::VecDeque;

use anstyle::Style;

use crate::view::console_text::{ConsolePiece, ConsoleText};
use crate::view::glyphs;
use crate::view::log_text::LogText;
use crate::view::output_event::OutputEvent;
use crate::view::printed::untabbed;
use crate::view::safe_text::safe;
use crate::view::style::{DIM, WARN, paint};
use crate::view::text::counted;

/// Bytes of output that are kept: the last.
const KEPT: usize = 64 << 10;

/// Bytes of a line that is still being written; a longer one goes on in the next.
const LONGEST_LINE: usize = 8 << 10;

/// What was printed since the page was opened.
#[derive(Debug, Default)]
pub(super) struct LiveOutput {
    /// Where it comes from, or that it has ended.
    pub(super) status: String,
    shown: Lines,
    raw: Lines,
    consoles: [ConsoleText; 2],
    logs: [LogText; 2],
}

/// Lines, styled, the last ones of many.
#[derive(Debug, Default)]
struct Lines {
    all: VecDeque<String>,
    bytes: usize,
    /// How many were dropped.
    dropped: u64,
    /// The line that a stream has begun and not ended: its number, counting those that were dropped, and its columns.
    open: [Option<(u64, usize)>; 2],
}

impl LiveOutput {
    pub(super) fn add(&mut self, printed: Option<OutputEvent>) {
        match printed {
            Some(OutputEvent::Waits) => self.status = "it waits".to_owned(),
            Some(OutputEvent::RunsOn(worker)) => {
                *self = Self { status: format!("live from {}", safe(&worker)), ..Self::default() };
            }
            Some(OutputEvent::Output { is_stderr, skipped, bytes }) => self.print(is_stderr, skipped, &bytes),
            Some(OutputEvent::Mended) => {}
            Some(OutputEvent::Silent(worker)) => {
                self.note(&format!("{} has not answered yet; asking again", safe(&worker)));
            }
            Some(OutputEvent::Away(why)) => self.note(&format!("{}; retrying", safe(&why))),
            None => self.status = "the attempt has ended".to_owned(),
        }
    }

    /// The lines as a text.
    pub(super) fn text(&self, is_raw: bool) -> String {
        let lines = if is_raw { &self.raw } else { &self.shown };
        lines.all.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    fn print(&mut self, is_stderr: bool, skipped: u64, bytes: &[u8]) {
        if skipped > 0 {
            self.note(&format!("{0} {1} not kept {0}", glyphs::ellipsis(), counted(skipped, "byte")));
        }
        let stream = usize::from(is_stderr);
        let plain = if is_stderr { WARN } else { Style::new() };
        for piece in self.consoles[stream].push(bytes) {
            match piece {
                ConsolePiece::Restart => self.shown.restart(stream),
                ConsolePiece::Text(style, text) => {
                    let style = if style == Style::new() { plain } else { style };
                    self.shown.write(stream, style, &text);
                }
            }
        }
        let text = self.logs[stream].push(bytes);
        self.raw.write(stream, plain, &text);
    }

    /// A line of our own.
    fn note(&mut self, text: &str) {
        for lines in [&mut self.shown, &mut self.raw] {
            lines.push(paint(DIM, text));
        }
    }
}

impl Lines {
    fn write(&mut self, stream: usize, style: Style, text: &str) {
        for part in text.split_inclusive('\n') {
            let (line, is_ended) = part.strip_suffix('\n').map_or((part, false), |line| (line, true));
            let (number, mut column) = self.open[stream].unwrap_or_else(|| (self.push(String::new()), 0));
            let painted = if line.is_empty() { String::new() } else { paint(style, &untabbed(line, &mut column)) };
            let length = self.line(number).map_or(0, |open| {
                open.push_str(&painted);
                open.len()
            });
            let is_full = length > LONGEST_LINE;
            self.bytes += if length == 0 { 0 } else { painted.len() };
            self.open[stream] = Some((number, column)).filter(|_| !is_ended && !is_full);
        }
        self.drop_first();
    }

    /// The line that the stream has begun begins anew.
    fn restart(&mut self, stream: usize) {
        let Some((number, _)) = self.open[stream] else { return };
        let length = self.line(number).map_or(0, |open| std::mem::take(open).len());
        self.bytes -= length;
        self.open[stream] = Some((number, 0));
    }

    /// The line with this number, unless it was dropped.
    fn line(&mut self, number: u64) -> Option<&mut String> {
        let at = usize::try_from(number.checked_sub(self.dropped)?).ok()?;
        self.all.get_mut(at)
    }

    /// Answers its number.
    fn push(&mut self, line: String) -> u64 {
        self.bytes += line.len() + 1;
        self.all.push_back(line);
        self.drop_first();
        self.dropped + self.all.len() as u64 - 1
    }

    fn drop_first(&mut self) {
        while self.bytes > KEPT
            && self.all.len() > 1
            && let Some(first) = self.all.pop_front()
        {
            self.bytes -= first.len() + 1;
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pieces: &[(bool, &str)]) -> LiveOutput {
        let mut live = LiveOutput::default();
        for (is_stderr, text) in pieces {
            live.print(*is_stderr, 0, text.as_bytes());
        }
        live
    }

    fn seen(pieces: &[(bool, &str)]) -> String {
        anstream::adapter::strip_str(&through(pieces).text(false)).to_string()
    }

    #[test]
    fn a_progress_bar_stays_one_line_beside_the_other_stream() {
        let pieces =
            [(true, "10 %"), (false, "a\n"), (true, "\r20 %"), (false, "b\n"), (true, "\r100 %\n"), (true, "c")];
        assert_eq!(seen(&pieces), "100 %\na\nb\nc\n");
        let raw = anstream::adapter::strip_str(&through(&pieces).text(true)).to_string();
        assert_eq!(raw, "10 %\na\n20 %\nb\n100 %\nc\n");
    }

    #[test]
    fn colours_of_the_task_are_shown_and_nothing_else_that_it_sends() {
        let text = through(&[(false, "\x1b[32mok\x1b[0m\tx\x1b[2J\n"), (true, "plain\n")]).text(false);
        assert_eq!(text, "\x1b[32mok\x1b[0m      x\\x1b[2J\n\x1b[33mplain\x1b[0m\n");
    }

    #[test]
    fn what_is_kept_is_bounded_with_and_without_line_ends() {
        let line = "\r".to_owned() + &"x".repeat(100);
        let long = "x".repeat(100);
        for piece in [line.as_str(), long.as_str(), "a\n", "\n"] {
            let mut live = LiveOutput::default();
            for n in 0..3_000 {
                live.print(n % 2 == 0, u64::from(n % 1000 == 7), piece.as_bytes());
            }
            for lines in [&live.shown, &live.raw] {
                let bytes: usize = lines.all.iter().map(|line| line.len() + 1).sum();
                assert!(bytes == lines.bytes && bytes <= KEPT + 2 * LONGEST_LINE, "{piece:?} {bytes} {}", lines.bytes);
            }
        }
    }
}
