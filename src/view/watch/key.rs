//! What is pressed, and what the program is to do about it.

use super::orders::Order;
use super::screen::Wanted;

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
    /// What was open is closed.
    Close,
    /// Find the task whose id begins so.
    Find(String),
    /// Do this: the question was answered.
    Do(Order),
}
