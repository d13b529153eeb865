//! What `watch` asks before it changes anything, and what it tells afterwards.

use super::dialog::Dialog;
use super::key::{Key, KeyAction};
use super::orders::{Chosen, Order};
use super::state::WatchState;
use crate::view::glyphs;

impl WatchState {
    /// A key was pressed while a box was shown, which closes it. Only `y` is yes.
    pub(super) fn answer(&mut self, dialog: Dialog, key: Key) -> KeyAction {
        match dialog {
            Dialog::Help if key == Key::Char('q') => KeyAction::Quit,
            Dialog::Help | Dialog::Refusal(_) => KeyAction::Nothing,
            Dialog::Question(order, _) if matches!(key, Key::Char('y' | 'Y')) => {
                self.notice = Some(format!("{} {}", order.begun(), glyphs::ellipsis()));
                KeyAction::Do(order)
            }
            Dialog::Question(..) => {
                self.notice = Some("nothing was changed".to_owned());
                KeyAction::Nothing
            }
        }
    }

    /// What a change would be of: what is open, or else the chosen row.
    pub(super) fn target(&self) -> Option<Chosen> {
        if let Some(page) = &self.page {
            return Chosen::of(&page.wanted);
        }
        self.chosen().and_then(|row| row.changes.clone())
    }

    pub(super) fn pause_or_resume(&self) -> Order {
        let data = self.data.as_ref();
        let Some(Chosen::Batch(name)) = self.target() else {
            return Order::pause_or_resume(None, data.is_some_and(|data| data.overview.paused.is_some()));
        };
        let batches = data.and_then(|data| data.batches.as_ref()).map_or(&[][..], |list| &list.batches);
        let is_held = batches.iter().any(|batch| batch.name == name && batch.held.is_some());
        Order::pause_or_resume(Some(name), is_held)
    }

    pub(super) fn ask(&mut self, order: Option<Order>) {
        let Some(data) = &self.data else { return };
        match order {
            Some(order) => {
                let question = order.question(&data.overview);
                self.dialog = Some(Dialog::Question(order, question));
            }
            None => self.notice = Some("choose a task, a group of failures or a batch first".to_owned()),
        }
    }

    /// Whether a question is shown: a key that was pressed before is no answer to it.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        matches!(self.dialog, Some(Dialog::Question(..)))
    }

    /// Says what was done.
    pub fn tell(&mut self, text: String) {
        self.notice = Some(text);
    }

    /// Says why something was not done.
    pub fn refuse(&mut self, text: String) {
        self.notice = None;
        self.dialog = Some(Dialog::Refusal(text));
    }
}
