//! The live view of `distcomp-status watch`: what is on the screen ([`Watch`]), what a key does to it, how it is drawn, and the terminal it is drawn on.
//!
//! Everything but [`terminal`] is a pure function of what was read last. The tables are those of the other commands, so that they look alike.

mod ansi;
mod draw;
mod page;
mod rows;
mod screen;
mod state;
pub mod terminal;
#[cfg(test)]
mod tests;

pub use page::Page;
pub use screen::{Data, Screen};
pub use state::{Act, Key, Watch};
