//! The live view of `distcomp-status watch`: its state ([`WatchState`]), the effect of keys, the drawing, and the terminal.
//!
//! Everything but [`terminal`] is a pure function of what was read last.

mod ansi;
mod asking;
mod columns;
mod command;
mod dialog;
mod draw;
mod footer;
mod key;
mod list;
mod listed;
mod live_output;
mod orders;
mod rows;
mod screen;
mod state;
mod task_screen;
pub mod terminal;
#[cfg(test)]
mod tests;
mod worker_page;

pub use key::{Key, KeyAction};
pub use listed::{ListedTask, ListedTasks};
pub use orders::{Chosen, Order};
pub use screen::{Looked, Screen, Wanted, WatchData};
pub use state::WatchState;
pub use task_screen::TaskScreen;
