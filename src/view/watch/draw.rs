//! Draws the state of `watch`.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::ansi;
use super::columns::columns;
use super::dialog;
use super::list;
use super::rows::{self, Row};
use super::screen::Screen;
use super::state::WatchState;
use crate::model::snapshot::Overview;
use crate::view::glyphs;
use crate::view::overview;
use crate::view::safe_text::safe;
use crate::view::text::{shorten, wrap};
use crate::view::width;

impl WatchState {
    /// Draws everything.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let banner = u16::from(self.trouble.is_some());
        let [top, trouble, body, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(banner),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.top_line(usize::from(top.width)), top);
        if let Some(text) = &self.trouble {
            let style = Style::new().white().on_red().add_modifier(Modifier::BOLD);
            let text = shorten(&safe(text), usize::from(trouble.width));
            frame.render_widget(Paragraph::new(text).style(style), trouble);
        }
        self.draw_body(frame, body);
        let text = shorten(&self.bottom_line(usize::from(bottom.width)), usize::from(bottom.width));
        frame.render_widget(Paragraph::new(text).style(Style::new().add_modifier(Modifier::DIM)), bottom);
        if let Some(dialog) = &self.dialog {
            dialog::draw(dialog, frame, body);
        }
    }

    fn draw_body(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        let Some(data) = &self.data else {
            return frame.render_widget(Paragraph::new(format!("reading the queue {}", glyphs::ellipsis())), area);
        };
        if let Some(page) = &mut self.page {
            self.height = height.saturating_sub(1);
            let mut lines =
                vec![Line::from(rows::title(&page.wanted)).style(Style::new().add_modifier(Modifier::BOLD))];
            if page.text.is_empty() {
                lines.push(Line::from(format!("reading {}", glyphs::ellipsis())));
            } else {
                lines.extend(page.draw(width, self.height));
            }
            return frame.render_widget(Paragraph::new(lines), area);
        }
        if self.screen == Screen::Overview {
            let lines = ansi::lines(&overview_text(&data.overview, width));
            self.height = height;
            self.top = self.top.min(lines.len().saturating_sub(height));
            self.below = lines.len().saturating_sub(self.top + height);
            let seen: Vec<Line<'_>> = lines.into_iter().skip(self.top).take(height).collect();
            return frame.render_widget(Paragraph::new(seen), area);
        }
        self.draw_list(frame, area);
    }

    fn draw_list(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        if self.rows.is_empty() {
            return frame.render_widget(Paragraph::new(self.nothing()), area);
        }
        let (all, sorting) = (columns(self.screen), self.sorting());
        let seen = |rows: &[Row]| {
            let cells: Vec<&[String]> = rows.iter().map(|row| row.cells.as_slice()).collect();
            list::draw(&all, &cells, width, sorting)
        };
        self.scroll(height.saturating_sub(1));
        let drawn = seen(self.seen());
        let reserved = self.seen().iter().map(|row| reserved(row, &drawn.left_out, height)).max().unwrap_or(0);
        self.scroll(height.saturating_sub(1 + reserved));
        let drawn = if reserved > 0 { seen(self.seen()) } else { drawn };
        let mut lines = ansi::lines(&drawn.lines.join("\n"));
        let chosen = self.at - self.top;
        if let Some(line) = lines.get_mut(1 + chosen) {
            *line = std::mem::take(line).style(Style::new().add_modifier(Modifier::REVERSED));
        }
        let below = |row: &Row| {
            row.below.as_ref().filter(|below| drawn.left_out.contains(&below.column)).map(|below| below.text.clone())
        };
        let all: Vec<String> = self.seen().iter().filter_map(below).flat_map(|text| wrap(&text, width)).collect();
        if lines.len() + 1 + all.len() <= height && !all.is_empty() {
            lines.push(Line::default());
            lines.extend(all.into_iter().map(Line::from));
        } else if let Some(text) = self.chosen().and_then(below).filter(|_| reserved > 0) {
            // There is room for that of one of them at least.
            let mut told = wrap(&text, width);
            if told.len() > reserved {
                let rest = told.split_off(reserved - 1).join(" ");
                told.push(shorten(&rest, width));
            }
            lines.resize(height.saturating_sub(told.len()), Line::default());
            lines.extend(told.into_iter().map(Line::from));
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    /// Scrolls as far as it takes to see the chosen row among so many rows.
    fn scroll(&mut self, height: usize) {
        self.height = height;
        let last = self.rows.len().saturating_sub(height.max(1));
        let lowest = (self.at + 1).saturating_sub(height.max(1));
        self.top = self.top.clamp(lowest, self.at).min(last);
    }

    /// The rows that are seen.
    fn seen(&self) -> &[Row] {
        &self.rows[self.top..(self.top + self.height.max(1)).min(self.rows.len())]
    }

    /// Why a list is empty.
    fn nothing(&self) -> String {
        let has = |is_read: fn(&super::screen::WatchData) -> bool| self.data.as_ref().is_some_and(is_read);
        match self.screen {
            _ if !self.filter.is_empty() => "no row matches the filter".to_owned(),
            Screen::Overview => String::new(),
            Screen::Workers => "no workers".to_owned(),
            Screen::Running => "no task has been running for half a second or longer".to_owned(),
            Screen::Failures => "no failures".to_owned(),
            Screen::Batches if has(|data| data.batches.is_some()) => {
                "no batches: distcomp-submit --name NAME makes one".to_owned()
            }
            Screen::Waiting if has(|data| data.waiting.is_some()) => "no task waits".to_owned(),
            Screen::Finished if has(|data| data.finished.is_some()) => "no task has finished".to_owned(),
            Screen::Batches | Screen::Waiting | Screen::Finished => format!("reading {}", glyphs::ellipsis()),
        }
    }
}

/// The text of the overview, with nothing of the line of counts cut off.
fn overview_text(seen: &Overview, room: usize) -> String {
    let text = overview::overview(seen, room, room);
    match text.split_once('\n') {
        Some((counts, rest)) if width::columns(counts) > room => format!("{}\n{rest}", wrap(counts, room).join("\n")),
        _ => text,
    }
}

/// Lines that are kept below the list for a row whose text found no room in its line.
fn reserved(row: &Row, left_out: &[usize], height: usize) -> usize {
    let below = row.below.as_ref().filter(|below| left_out.contains(&below.column));
    below.map_or(0, |below| if below.most_lines > 1 { below.most_lines.min(height / 4) } else { 1 })
}
