//! The live view of `distcomp-status watch`: its state ([`WatchState`]), the effect of keys, the drawing, and the terminal.
//!
//! Everything but [`terminal`] is a pure function of what was read last. The tables are those of the other commands, so that they look alike.

mod ansi;
mod draw;
mod rows;
mod screen;
mod state;
mod task_screen;
pub mod terminal;
#[cfg(test)]
mod tests;

pub use screen::{Looked, Screen, Wanted, WatchData};
pub use state::{Key, KeyAction, WatchState};
pub use task_screen::TaskScreen;
