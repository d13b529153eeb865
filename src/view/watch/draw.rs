//! Draws the state of `watch`.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::ansi;
use super::rows;
use super::screen::Screen;
use super::state::WatchState;
use crate::view::glyphs;
use crate::view::overview;
use crate::view::safe_text::safe;
use crate::view::text::{count, shorten, wrap};

const HELP: [(&str, &str); 9] = [
    ("1 to 5, Tab", "overview, workers, running, failures, batches"),
    ("k j, arrows", "up, down"),
    ("PgUp PgDn", "page up, page down"),
    ("g G or Home End", "first, last"),
    ("/", "show only rows that contain a text; Esc clears it"),
    ("Enter", "open the task, the sample of the failures, the batch"),
    ("Esc, Backspace", "close it"),
    ("q, Esc, Ctrl-C", "leave; this stops no task"),
    ("?", "this page"),
];

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
        self.draw_top(frame, top);
        if let Some(text) = &self.trouble {
            let style = Style::new().white().on_red().add_modifier(Modifier::BOLD);
            let text = shorten(&safe(text), usize::from(trouble.width));
            frame.render_widget(Paragraph::new(text).style(style), trouble);
        }
        self.draw_body(frame, body);
        self.draw_bottom(frame, bottom);
        if self.has_help {
            draw_help(frame, body);
        }
    }

    fn draw_top(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut spans = Vec::new();
        for (index, screen) in Screen::ALL.into_iter().enumerate() {
            let style =
                if screen == self.screen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
            spans.push(Span::styled(format!(" {} {} ", index + 1, screen.name()), style));
        }
        let names = Line::from(spans);
        let clock = Line::from(format!("{} ", self.data.as_ref().map_or("", |data| data.clock.as_str())));
        let has_room = names.width() + clock.width() <= usize::from(area.width);
        frame.render_widget(names, area);
        if has_room {
            frame.render_widget(clock.right_aligned(), area);
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
            let mut lines = ansi::lines(&overview::overview(&data.overview, width));
            lines.truncate(height);
            return frame.render_widget(Paragraph::new(lines), area);
        }
        self.draw_list(frame, area);
    }

    fn draw_list(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        let rows = self.rows();
        let reserved = rows::reserved(&rows, height);
        self.height = height.saturating_sub(1 + reserved);
        if rows.is_empty() {
            return frame.render_widget(Paragraph::new(self.nothing()), area);
        }
        // The page that holds the chosen row; only that is laid out.
        let first = self.at / self.height.max(1) * self.height.max(1);
        let last = (first + self.height.max(1)).min(rows.len());
        let (drawn, below) = rows::draw(self.screen, &rows[first..last], width);
        let mut lines = ansi::lines(&drawn);
        if let Some(line) = lines.get_mut(1 + self.at - first) {
            *line = std::mem::take(line).style(Style::new().add_modifier(Modifier::REVERSED));
        }
        let of_chosen = below.get(self.at - first).cloned().flatten();
        let all: Vec<String> = below.into_iter().flatten().flat_map(|text| wrap(&text, width)).collect();
        if lines.len() + 1 + all.len() <= height && !all.is_empty() {
            lines.push(Line::default());
            lines.extend(all.into_iter().map(Line::from));
        } else if let Some(text) = of_chosen.filter(|_| reserved > 0) {
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

    /// Why a list is empty.
    fn nothing(&self) -> String {
        let is_read = self.data.as_ref().is_some_and(|data| data.batches.is_some());
        match self.screen {
            _ if !self.filter.is_empty() => "no row contains that text".to_owned(),
            Screen::Overview => String::new(),
            Screen::Workers => "no workers".to_owned(),
            Screen::Running => "no task has been running for half a second or longer".to_owned(),
            Screen::Failures => "no failures".to_owned(),
            Screen::Batches if is_read => "no batches: distcomp-submit --name NAME makes one".to_owned(),
            Screen::Batches => format!("reading {}", glyphs::ellipsis()),
        }
    }

    /// How many batches there are, where not all of them are listed.
    fn known(&self) -> String {
        let list = self.data.as_ref().and_then(|data| data.batches.as_ref()).filter(|_| self.screen == Screen::Batches);
        let known = list.filter(|list| list.known > list.batches.len() as u64).map(|list| list.known);
        known.map_or_else(String::new, |known| format!(", {} in all", count(known)))
    }

    fn draw_bottom(&self, frame: &mut Frame<'_>, area: Rect) {
        let text = if self.is_typing {
            format!("/{}{}", safe(&self.filter), glyphs::cursor())
        } else {
            let rows = self.rows().len();
            let filter = if self.filter.is_empty() { String::new() } else { format!("/{}  ", safe(&self.filter)) };
            let place = if self.page.is_some() || rows == 0 {
                String::new()
            } else {
                format!("{} of {}{}  ", count(self.at as u64 + 1), count(rows as u64), self.known())
            };
            let keys = if self.page.is_some() { "Esc back" } else { "/ filter  Enter open" };
            format!("{filter}{place}? help  q quit  {keys}")
        };
        let style = Style::new().add_modifier(Modifier::DIM);
        frame.render_widget(Paragraph::new(shorten(&text, usize::from(area.width))).style(style), area);
    }
}

fn draw_help(frame: &mut Frame<'_>, body: Rect) {
    let width = body.width.min(66);
    let height = body.height.min(u16::try_from(HELP.len()).unwrap_or(9) + 2);
    let area = Rect { x: body.x + (body.width - width) / 2, y: body.y + (body.height - height) / 2, width, height };
    let lines: Vec<Line<'_>> = HELP.iter().map(|(keys, what)| Line::from(format!(" {keys:<16} {what}"))).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(frame_of().title(" Keys ")), area);
}

/// A frame in the characters that the terminal knows.
fn frame_of() -> Block<'static> {
    const ASCII: border::Set<'_> = border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    };
    let block = Block::bordered();
    if glyphs::is_ascii() { block.border_set(ASCII) } else { block }
}
