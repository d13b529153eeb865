//! Switches the terminal to a screen of our own, and restores it on every way out, a panic included.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;

use super::key::Key;
use super::state::WatchState;

/// How long the reader of keys waits before it looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// The terminal while it is ours.
pub struct Terminal {
    inner: DefaultTerminal,
    is_over: Arc<AtomicBool>,
}

/// What comes from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(Key),
    /// Another size: draw again.
    Resized,
    /// It is gone.
    Gone,
}

impl Terminal {
    /// Takes the terminal over. A panic gives it back before its message is printed.
    ///
    /// # Errors
    /// What the system says of the terminal.
    pub fn open() -> io::Result<Self> {
        let inner = ratatui::try_init()?;
        // After the one of the library, which restores all but the cursor.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let _ = execute!(io::stdout(), Show);
            hook(info);
        }));
        Ok(Self { inner, is_over: Arc::default() })
    }

    /// Draws the state on the whole screen.
    ///
    /// # Errors
    /// What the system says of the terminal.
    pub fn draw(&mut self, watch: &mut WatchState) -> io::Result<()> {
        self.inner.draw(|frame| watch.draw(frame)).map(|_| ())
    }

    /// Calls `heard` for each key, with the moment at which it was read, on a thread of its own, until this is dropped or `heard` answers false.
    pub fn listen(&self, heard: impl Fn(Input, Instant) -> bool + Send + 'static) {
        let is_over = Arc::clone(&self.is_over);
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let input = match event::poll(LOOK).and_then(|is_there| is_there.then(event::read).transpose()) {
                    Ok(Some(Event::Key(key))) => key_of(key).map(Input::Key),
                    Ok(Some(Event::Resize(..))) => Some(Input::Resized),
                    Ok(_) => None,
                    Err(_) => Some(Input::Gone),
                };
                if input.is_some_and(|input| !heard(input, Instant::now()) || input == Input::Gone) {
                    return;
                }
            }
        });
    }
}

/// Gives the terminal back.
impl Drop for Terminal {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = ratatui::try_restore();
        let _ = execute!(io::stdout(), Show);
    }
}

fn key_of(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if let KeyCode::Char(c) = key.code {
        return match (is_control, c) {
            (true, 'c') => Some(Key::Interrupt),
            (true, _) => None,
            (false, c) => Some(Key::Char(c)),
        };
    }
    KEYS.iter().find(|(code, _)| *code == key.code).map(|(_, key)| *key)
}

const KEYS: [(KeyCode, Key); 11] = [
    (KeyCode::Enter, Key::Enter),
    (KeyCode::Esc, Key::Esc),
    (KeyCode::Tab, Key::Tab),
    (KeyCode::BackTab, Key::BackTab),
    (KeyCode::Backspace, Key::Backspace),
    (KeyCode::Up, Key::Up),
    (KeyCode::Down, Key::Down),
    (KeyCode::PageUp, Key::PageUp),
    (KeyCode::PageDown, Key::PageDown),
    (KeyCode::Home, Key::Home),
    (KeyCode::End, Key::End),
];
