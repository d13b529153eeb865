//! The state of `watch`, and how a key changes it.

use super::columns::columns;
use super::dialog::Dialog;
use super::key::{Key, KeyAction};
use super::list::Sorting;
use super::orders::Order;
use super::rows::{self, Row};
use super::screen::{Looked, Screen, Wanted, WatchData};
use super::task_screen::TaskScreen;
use super::worker_page::worker_page;
use crate::model::TaskId;
use crate::policy::line_pattern::LinePattern;
use crate::view::glyphs;
use crate::view::output_event::OutputEvent;

/// The whole state.
#[derive(Debug)]
pub struct WatchState {
    pub(super) screen: Screen,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) dialog: Option<Dialog>,
    /// What was done last, until the next key.
    pub(super) notice: Option<String>,
    /// The chosen row, from 0.
    pub(super) at: usize,
    /// The first row that is shown, or the first line of the overview.
    pub(super) top: usize,
    /// Lines of the overview below those that are shown, as of the last time it was drawn.
    pub(super) below: usize,
    /// The rows of the present screen that the filter lets through, sorted.
    pub(super) rows: Vec<Row>,
    sortings: [Option<Sorting>; Screen::ALL.len()],
    pub(super) page: Option<TaskScreen>,
    pub(super) data: Option<WatchData>,
    pub(super) trouble: Option<String>,
    /// Rows that fit, as of the last time it was drawn.
    pub(super) height: usize,
}

impl Default for WatchState {
    fn default() -> Self {
        Self {
            screen: Screen::Overview,
            filter: String::new(),
            is_typing: false,
            dialog: None,
            notice: None,
            at: 0,
            top: 0,
            below: 0,
            rows: Vec::new(),
            sortings: Screen::ALL.map(Screen::sorting),
            page: None,
            data: None,
            trouble: None,
            height: 10,
        }
    }
}

impl WatchState {
    /// Something was read.
    pub fn update(&mut self, mut data: WatchData) {
        if let Some(last) = self.data.take() {
            // Of a list that nobody sees the last one stays.
            data.batches = data.batches.or(last.batches);
            data.waiting = data.waiting.or(last.waiting);
            data.finished = data.finished.or(last.finished);
            if data.lines.is_empty() {
                data.lines = last.lines;
            }
        }
        if let Some(page) = &mut self.page
            && let Wanted::Worker(name) = &page.wanted
        {
            page.text = worker_page(&data.overview, name);
        }
        self.data = Some(data);
        self.trouble = None;
        self.list();
    }

    /// Nothing could be read; the old figures stay, under a banner with this text.
    pub fn fail(&mut self, text: String) {
        self.trouble = Some(text);
    }

    /// What is open was read.
    pub fn show(&mut self, wanted: &Wanted, text: String) {
        if let Some(page) = self.page.as_mut().filter(|page| page.wanted == *wanted) {
            page.text = text;
        }
    }

    /// The task that is open has printed something, or with `None` has ended.
    pub fn print(&mut self, printed: Option<OutputEvent>) {
        if let Some(page) = &mut self.page {
            page.add(printed);
        }
    }

    /// Goes to a screen.
    pub fn go(&mut self, screen: Screen) {
        self.screen = screen;
        (self.at, self.top) = (0, 0);
        self.rows.clear();
        self.list();
    }

    /// What is open.
    #[must_use]
    pub fn opened(&self) -> Option<&Wanted> {
        self.page.as_ref().map(|page| &page.wanted)
    }

    /// What is to be read beside what is read always.
    #[must_use]
    pub fn looked(&self) -> Looked {
        Looked {
            opened: self.opened().cloned(),
            list: self.page.is_none().then_some(self.screen),
            is_raw: self.page.as_ref().is_some_and(|page| page.is_raw),
        }
    }

    /// A key was pressed.
    pub fn press(&mut self, key: Key) -> KeyAction {
        if key == Key::Interrupt {
            return KeyAction::Interrupt;
        }
        if self.is_typing {
            return self.type_filter(key);
        }
        self.notice = None;
        if let Some(dialog) = self.dialog.take() {
            return self.answer(dialog, key);
        }
        match key {
            Key::Char('q') => return KeyAction::Quit,
            Key::Char('?') => self.dialog = Some(Dialog::Help),
            Key::Char('r') => self.ask(self.target().map(Order::Requeue)),
            Key::Char('c') => self.ask(self.target().map(Order::Cancel)),
            Key::Char('p') => self.ask(Some(self.pause_or_resume())),
            Key::Char('v') => self.page.iter_mut().for_each(|page| page.is_raw = !page.is_raw),
            Key::Esc | Key::Backspace if self.page.is_some() => return self.close(),
            Key::Esc => self.clear_filter(),
            Key::Char(digit @ '1'..='9') => {
                if let Some(screen) = Screen::ALL.get(digit as usize - '1' as usize) {
                    return self.turn_to(*screen);
                }
            }
            Key::Tab => return self.turn(1),
            Key::BackTab => return self.turn(Screen::ALL.len() - 1),
            Key::Char('/') if self.page.is_none() => self.is_typing = true,
            Key::Char('s') if self.page.is_none() => self.sort_by_next(),
            Key::Char('S') if self.page.is_none() => self.reverse(),
            Key::Enter => return self.open(),
            Key::Up | Key::Char('k') => self.move_by(-1),
            Key::Down | Key::Char('j') => self.move_by(1),
            Key::PageUp => self.move_by(-self.page_height()),
            Key::PageDown | Key::Char(' ') => self.move_by(self.page_height()),
            Key::Home | Key::Char('g') => self.move_by(isize::MIN / 2),
            Key::End | Key::Char('G') => self.move_by(isize::MAX / 2),
            Key::Char(_) | Key::Backspace | Key::Interrupt => {}
        }
        KeyAction::Nothing
    }

    fn type_filter(&mut self, key: Key) -> KeyAction {
        match key {
            Key::Char(c) => self.filter.push(c),
            Key::Backspace => drop(self.filter.pop()),
            Key::Esc => {
                self.filter.clear();
                self.is_typing = false;
            }
            Key::Enter | Key::Tab | Key::BackTab | Key::Up | Key::Down => self.is_typing = false,
            Key::PageUp | Key::PageDown | Key::Home | Key::End | Key::Interrupt => {}
        }
        (self.at, self.top) = (0, 0);
        self.list();
        // An id that no row has is that of another task.
        if key == Key::Enter && self.rows.is_empty() && TaskId::is_prefix_like(&self.filter) {
            let id = std::mem::take(&mut self.filter);
            self.list();
            self.notice = Some(format!("looking for {id} {}", glyphs::ellipsis()));
            return KeyAction::Find(id);
        }
        if key == Key::Enter && self.screen == Screen::Overview && !self.filter.is_empty() {
            self.go(Screen::Running);
        }
        KeyAction::Nothing
    }

    fn clear_filter(&mut self) {
        self.filter.clear();
        self.list();
    }

    fn turn(&mut self, by: usize) -> KeyAction {
        let now = Screen::ALL.iter().position(|screen| *screen == self.screen).unwrap_or(0);
        self.turn_to(Screen::ALL[(now + by) % Screen::ALL.len()])
    }

    fn turn_to(&mut self, screen: Screen) -> KeyAction {
        let act = if self.page.is_some() { self.close() } else { KeyAction::Nothing };
        self.go(screen);
        act
    }

    fn close(&mut self) -> KeyAction {
        self.page = None;
        KeyAction::Close
    }

    fn open(&mut self) -> KeyAction {
        let Some(wanted) = self.chosen().and_then(|row| row.opens.clone()) else { return KeyAction::Nothing };
        self.open_page(wanted)
    }

    /// Opens a page.
    pub fn open_page(&mut self, wanted: Wanted) -> KeyAction {
        let mut page = TaskScreen::of(wanted.clone());
        if let (Wanted::Worker(name), Some(data)) = (&wanted, &self.data) {
            page.text = worker_page(&data.overview, name);
        }
        self.page = Some(page);
        KeyAction::Open(wanted)
    }

    /// The chosen row, while the list is seen.
    pub(super) fn chosen(&self) -> Option<&Row> {
        self.rows.get(self.at).filter(|_| self.page.is_none())
    }

    fn page_height(&self) -> isize {
        isize::try_from(self.height.max(1)).unwrap_or(1)
    }

    fn move_by(&mut self, by: isize) {
        match &mut self.page {
            Some(page) => page.move_by(by, self.height),
            // What is too far is put right when it is drawn: only then it is known how many lines there are.
            None if self.screen == Screen::Overview => self.top = self.top.saturating_add_signed(by),
            None => self.at = self.at.saturating_add_signed(by).min(self.rows.len().saturating_sub(1)),
        }
    }

    pub(super) fn sorting(&self) -> Option<Sorting> {
        self.sortings[self.screen as usize]
    }

    /// By the next column: a number from the largest on, a text from the smallest. After the last one as the rows come.
    fn sort_by_next(&mut self) {
        let all = columns(self.screen);
        let next = self.sorting().map_or(0, |by| by.column + 1);
        self.sortings[self.screen as usize] = all
            .get(next)
            .map(|column| Sorting { column: next, is_descending: column.role == super::list::Role::Number });
        self.list();
    }

    fn reverse(&mut self) {
        if let Some(by) = &mut self.sortings[self.screen as usize] {
            by.is_descending = !by.is_descending;
        }
        self.list();
    }

    /// Makes the rows anew. The chosen one stays chosen wherever it is now, unless it is the first.
    fn list(&mut self) {
        let chosen = self.rows.get(self.at).filter(|_| self.at > 0).map(|row| row.key.clone());
        let Some(data) = &self.data else { return };
        let mut rows = rows::of(self.screen, data);
        if !self.filter.is_empty() {
            // What is no expression yet, as while it is typed, leaves nothing out.
            if let Ok(wanted) = LinePattern::parse(&self.filter) {
                rows.retain(|row| wanted.is_in(&row.searched));
            }
        }
        if let Some(Sorting { column, is_descending }) = self.sorting() {
            rows.sort_by(|a, b| {
                let (Some(a), Some(b)) = (a.ranks.get(column), b.ranks.get(column)) else {
                    return std::cmp::Ordering::Equal;
                };
                if is_descending { b.compare(a) } else { a.compare(b) }
            });
        }
        let there = chosen.and_then(|key| rows.iter().position(|row| row.key == key));
        self.at = there.unwrap_or(self.at).min(rows.len().saturating_sub(1));
        self.rows = rows;
    }
}
