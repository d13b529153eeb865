//! The two lines around what is shown: the screens above, and below where one is and which keys do what here.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::screen::{Screen, Wanted};
use super::state::WatchState;
use crate::policy::line_pattern::LinePattern;
use crate::view::glyphs;
use crate::view::safe_text::safe;
use crate::view::text::count;
use crate::view::width::columns;

impl WatchState {
    /// The names of the screens, the chosen one reversed, and the time where there is room.
    pub(super) fn top_line(&self, width: usize) -> Line<'static> {
        let spans = |name: fn(Screen, bool) -> String| -> Vec<Span<'static>> {
            Screen::ALL
                .into_iter()
                .map(|screen| {
                    let is_chosen = screen == self.screen;
                    let style = if is_chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
                    let number = screen as usize + 1;
                    Span::styled(format!(" {number} {} ", name(screen, is_chosen)), style)
                })
                .collect()
        };
        let mut names = Line::from(spans(|screen, _| screen.name().to_owned()));
        if names.width() > width {
            names =
                Line::from(spans(
                    |screen, is_chosen| {
                        if is_chosen { screen.name().to_owned() } else { screen.short_name().to_owned() }
                    },
                ));
        }
        let clock = self.data.as_ref().map_or("", |data| data.clock.as_str());
        let gap = width.saturating_sub(names.width() + columns(clock) + 1);
        if gap > 0 && !clock.is_empty() {
            names.push_span(format!("{}{clock}", " ".repeat(gap)));
        }
        names
    }

    /// Where one is and what the keys do here; the most useful first, and only what they do.
    pub(super) fn bottom_line(&self, width: usize) -> String {
        if self.is_typing {
            let what = match LinePattern::parse(&self.filter) {
                Ok(_) => "Enter keeps it".to_owned(),
                Err(why) => format!("no regular expression: {why}"),
            };
            return format!("/{}{}  {what}  Esc clears it", safe(&self.filter), glyphs::cursor());
        }
        if let Some(notice) = &self.notice {
            return safe(notice).into_owned();
        }
        let mut parts: Vec<String> = Vec::new();
        if let Some(page) = &self.page {
            parts.extend(["Esc back", "j k scroll"].map(str::to_owned));
            if matches!(page.wanted, Wanted::Task(_)) {
                parts.push(if page.is_raw { "v colours" } else { "v raw" }.to_owned());
            }
            if !matches!(page.wanted, Wanted::Worker(_)) {
                parts.extend(["r requeue", "c cancel"].map(str::to_owned));
            }
        } else {
            if !self.filter.is_empty() {
                parts.push(format!("/{}", safe(&self.filter)));
            }
            if !self.rows.is_empty() {
                parts.push(format!(
                    "{} of {}{}",
                    count(self.at as u64 + 1),
                    count(self.rows.len() as u64),
                    self.more()
                ));
            }
            if let Some(what) = self.screen.opens().filter(|_| self.chosen().is_some_and(|row| row.opens.is_some())) {
                parts.push(format!("Enter {what}"));
            }
            if !self.filter.is_empty() {
                parts.push("Esc all".to_owned());
            }
            if self.screen == Screen::Overview && (self.top > 0 || self.below > 0) {
                parts.push("j k scroll".to_owned());
            }
            if self.screen != Screen::Overview {
                parts.extend(["/ filter", "s sort"].map(str::to_owned));
            }
            if self.chosen().is_some_and(|row| row.changes.is_some()) {
                parts.extend(["r requeue", "c cancel"].map(str::to_owned));
            }
        }
        let keep = ["? help", "q quit"];
        let kept = keep.iter().map(|text| 2 + columns(text)).sum::<usize>();
        let mut line = String::new();
        for part in parts {
            let lead = if line.is_empty() { "" } else { "  " };
            if columns(&line) + lead.len() + columns(&part) + kept <= width || line.is_empty() {
                line.push_str(lead);
                line.push_str(&part);
            }
        }
        for part in keep {
            line.push_str(if line.is_empty() { "" } else { "  " });
            line.push_str(part);
        }
        line
    }

    /// How many there are in all, where not all of them are listed.
    fn more(&self) -> String {
        let Some(data) = self.data.as_ref().filter(|_| self.filter.is_empty()) else { return String::new() };
        let known = match self.screen {
            Screen::Batches => data.batches.as_ref().map(|list| list.known),
            Screen::Waiting => data.waiting.as_ref().filter(|list| list.has_more).map(|_| data.overview.counts.todo),
            Screen::Finished => {
                data.finished.as_ref().filter(|list| list.has_more).map(|_| data.overview.counts.finished)
            }
            Screen::Overview | Screen::Workers | Screen::Running | Screen::Failures => None,
        };
        let known = known.filter(|known| *known > self.rows.len() as u64);
        known.map_or_else(String::new, |known| format!(", {} in all", count(known)))
    }
}
