//! The screen of one task: what is known of it, and below that its output while it runs. And that of one batch.

use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use super::ansi;
use super::live_output::LiveOutput;
use super::screen::Wanted;
use crate::view::glyphs;
use crate::view::output_event::OutputEvent;
use crate::view::text::{fold, shorten};

/// A task or a batch that was opened.
#[derive(Debug)]
pub struct TaskScreen {
    /// What was asked for.
    pub wanted: Wanted,
    /// What is known of it, styled; empty until it was read.
    pub text: String,
    /// What the task prints stands there with its escapes instead of what they do.
    pub(super) is_raw: bool,
    live: Option<LiveOutput>,
    /// The first line that is shown; `None`: the beginning of the text and the end of the output.
    first: Option<usize>,
    /// Lines, as of the last time it was drawn.
    lines: usize,
}

impl TaskScreen {
    pub(super) fn of(wanted: Wanted) -> Self {
        Self { wanted, text: String::new(), is_raw: false, live: None, first: None, lines: 0 }
    }

    /// It has printed something, or `None`: its attempt has ended.
    pub(super) fn add(&mut self, printed: Option<OutputEvent>) {
        self.live.get_or_insert_default().add(printed);
    }

    pub(super) fn move_by(&mut self, by: isize, height: usize) {
        let last = self.lines.saturating_sub(height);
        let rest = if self.live.is_some() { last } else { 0 };
        self.first = Some(self.first.unwrap_or(rest).saturating_add_signed(by));
    }

    /// The lines that are seen.
    pub(super) fn draw(&mut self, width: usize, height: usize) -> Vec<Line<'static>> {
        let mut text = ansi::lines(&fold(&self.text, width, 4));
        let Some(live) = &self.live else {
            self.lines = text.len();
            self.first = self.first.map(|first| first.min(text.len().saturating_sub(height)));
            return text.into_iter().skip(self.first.unwrap_or(0)).take(height).collect();
        };
        let bar = shorten(
            &format!("{0}{0} output, {1} {2}", glyphs::rule(), live.status, glyphs::rule().repeat(width)),
            width,
        );
        let bar = bar.trim_end_matches(glyphs::cut()).to_owned();
        let mut output = vec![Line::from(bar).style(Style::new().add_modifier(Modifier::BOLD))];
        output.extend(ansi::lines(&fold(&live.text(self.is_raw), width, 0)));
        self.lines = text.len() + output.len();
        // At the end it goes along with what comes.
        self.first = self.first.filter(|first| first + height < self.lines);
        if self.first.is_none() && self.lines > height {
            let head = text.len().min((height / 2).max(height.saturating_sub(output.len())));
            if 0 < head && head < text.len() {
                text.truncate(head - 1);
                text.push(Line::from(glyphs::ellipsis()).style(Style::new().add_modifier(Modifier::DIM)));
            }
            // The line that says what it is stays.
            let cut = output.len().saturating_sub(height.saturating_sub(head).max(1));
            output.drain(1..1 + cut);
        }
        text.into_iter().chain(output).skip(self.first.unwrap_or(0)).take(height).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &str) -> Option<OutputEvent> {
        Some(OutputEvent::Output { is_stderr: false, skipped: 0, bytes: text.as_bytes().to_vec() })
    }

    fn seen(page: &mut TaskScreen, height: usize) -> Vec<String> {
        page.draw(20, height).iter().map(ToString::to_string).collect()
    }

    fn page() -> TaskScreen {
        let mut page = TaskScreen::of(Wanted::Task("a".to_owned()));
        page.text = (1..=6).map(|n| format!("fact {n}\n")).collect();
        page.add(Some(OutputEvent::RunsOn("w".to_owned())));
        page
    }

    #[test]
    fn the_end_of_the_output_is_seen_below_what_is_known() {
        let mut page = page();
        page.add(out("one\ntwo\n"));
        assert_eq!(seen(&mut page, 10)[5..], ["fact 6", "── output, live fro", "one", "two"]);
        page.add(out("three\nfour\nfive\n"));
        let last = seen(&mut page, 8);
        assert_eq!(last, ["fact 1", "fact 2", "fact 3", "…", "── output, live fro", "three", "four", "five"]);
        page.add(None);
        assert!(seen(&mut page, 8)[4].starts_with("── output, the att"));
    }

    #[test]
    fn who_reads_further_up_stays_there_until_the_end() {
        let mut page = page();
        page.add(out(&(1..=50).map(|n| format!("{n}\n")).collect::<String>()));
        assert_eq!(seen(&mut page, 8).last().map(String::as_str), Some("50"));
        page.move_by(-10, 8);
        let there = seen(&mut page, 8);
        page.add(out("51\n52\n"));
        assert_eq!(seen(&mut page, 8), there);
        page.move_by(isize::MIN / 2, 8);
        assert_eq!(seen(&mut page, 8)[0], "fact 1");
        page.move_by(isize::MAX / 2, 8);
        page.add(out("53\n"));
        assert_eq!(seen(&mut page, 8).last().map(String::as_str), Some("53"));
    }

    #[test]
    fn output_drives_no_terminal() {
        let mut page = page();
        for n in 0..20_000 {
            page.add(Some(OutputEvent::Output {
                is_stderr: n % 2 == 0,
                skipped: n % 7,
                bytes: b"a \x1b[2Jline\r\n".to_vec(),
            }));
        }
        for line in seen(&mut page, 40) {
            assert!(!line.contains('\u{1b}'), "{line:?}");
        }
        for (width, height) in [(1, 1), (2, 3), (300, 2)] {
            assert!(page.draw(width, height).len() <= height);
        }
    }
}
