//! The state of `watch`, and how a key changes it.

use super::rows::{self, Row};
use super::screen::{Looked, Screen, Wanted, WatchData};
use super::task_screen::TaskScreen;
use crate::view::output_event::OutputEvent;

/// A key, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable character.
    Char(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Shift and Tab.
    BackTab,
    /// Backspace.
    Backspace,
    /// Up.
    Up,
    /// Down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first.
    Home,
    /// To the last.
    End,
    /// Ctrl-C.
    Interrupt,
}

/// What the program is to do about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// Nothing but draw again.
    Nothing,
    /// Leave.
    Quit,
    /// Leave, as on SIGINT.
    Interrupt,
    /// Read this, again and again until it is closed.
    Open(Wanted),
    /// The task or the batch is closed.
    Close,
}

/// The whole state.
#[derive(Debug)]
pub struct WatchState {
    pub(super) screen: Screen,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) has_help: bool,
    pub(super) at: usize,
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
            has_help: false,
            at: 0,
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
        // Of a list that nobody sees the last one stays.
        data.batches = data.batches.or_else(|| self.data.take()?.batches);
        self.data = Some(data);
        self.trouble = None;
        self.stay_inside();
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
        self.at = 0;
    }

    /// The task or the batch that is open.
    #[must_use]
    pub fn opened(&self) -> Option<&Wanted> {
        self.page.as_ref().map(|page| &page.wanted)
    }

    /// What is to be read beside what is read always.
    #[must_use]
    pub fn looked(&self) -> Looked {
        Looked { opened: self.opened().cloned(), has_batches: self.screen == Screen::Batches && self.page.is_none() }
    }

    /// A key was pressed.
    pub fn press(&mut self, key: Key) -> KeyAction {
        if key == Key::Interrupt {
            return KeyAction::Interrupt;
        }
        if self.is_typing {
            self.type_filter(key);
            return KeyAction::Nothing;
        }
        if self.has_help {
            self.has_help = false;
            return if key == Key::Char('q') { KeyAction::Quit } else { KeyAction::Nothing };
        }
        match key {
            Key::Char('q') => return KeyAction::Quit,
            Key::Char('?') => self.has_help = true,
            Key::Esc if self.page.is_some() => return self.close(),
            Key::Esc if !self.filter.is_empty() => self.filter.clear(),
            Key::Esc => return KeyAction::Quit,
            Key::Backspace if self.page.is_some() => return self.close(),
            Key::Char(digit @ '1'..='5') => {
                let act = if self.page.is_some() { self.close() } else { KeyAction::Nothing };
                self.go(Screen::ALL[digit as usize - '1' as usize]);
                return act;
            }
            Key::Tab => return self.turn(1),
            Key::BackTab => return self.turn(Screen::ALL.len() - 1),
            Key::Char('/') if self.page.is_none() => self.is_typing = true,
            Key::Enter => return self.open(),
            Key::Up | Key::Char('k') => self.move_by(-1),
            Key::Down | Key::Char('j') => self.move_by(1),
            Key::PageUp => self.move_by(-self.page_height()),
            Key::PageDown => self.move_by(self.page_height()),
            Key::Home | Key::Char('g') => self.move_by(isize::MIN / 2),
            Key::End | Key::Char('G') => self.move_by(isize::MAX / 2),
            Key::Char(_) | Key::Backspace | Key::Interrupt => {}
        }
        self.stay_inside();
        KeyAction::Nothing
    }

    fn type_filter(&mut self, key: Key) {
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
        self.at = 0;
    }

    fn turn(&mut self, by: usize) -> KeyAction {
        let now = Screen::ALL.iter().position(|screen| *screen == self.screen).unwrap_or(0);
        let act = if self.page.is_some() { self.close() } else { KeyAction::Nothing };
        self.go(Screen::ALL[(now + by) % Screen::ALL.len()]);
        act
    }

    fn close(&mut self) -> KeyAction {
        self.page = None;
        KeyAction::Close
    }

    fn open(&mut self) -> KeyAction {
        let Some(wanted) = self.rows().into_iter().nth(self.at).and_then(|row| row.opens) else {
            return KeyAction::Nothing;
        };
        if self.page.is_some() {
            return KeyAction::Nothing;
        }
        self.page = Some(TaskScreen::of(wanted.clone()));
        KeyAction::Open(wanted)
    }

    fn page_height(&self) -> isize {
        isize::try_from(self.height.max(1)).unwrap_or(1)
    }

    fn move_by(&mut self, by: isize) {
        match &mut self.page {
            Some(page) => page.move_by(by, self.height),
            None => self.at = self.at.saturating_add_signed(by),
        }
    }

    fn stay_inside(&mut self) {
        self.at = self.at.min(self.rows().len().saturating_sub(1));
    }

    /// The rows of the present screen that the filter lets through.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Some(data) = &self.data else { return Vec::new() };
        let mut rows = rows::of(self.screen, data);
        if !self.filter.is_empty() {
            rows.retain(|row| row.searched.contains(&self.filter));
        }
        rows
    }
}
