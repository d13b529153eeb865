//! The web dashboard: pages rendered from the latest [`Frame`], which a reader of Redis outside of this module puts on the [`Board`] once a second for
//! everybody, and a stream of what changes. Whoever looks at a task that runs sees what it prints, by one follower for all who do (`tails.rs`). Nothing
//! here can change anything.
//!
//! Script and style are hand-written, and uPlot draws the charts; no text from the queue is ever markup: templates escape, the script
//! makes text nodes, and everything goes through [`safe`](super::safe_text::safe) besides.

mod assets;
mod board;
mod cache;
mod figures;
mod history;
mod login;
mod page;
mod pages;
mod routes;
mod site;
mod source;
mod stream;
mod tails;
mod task_list;
mod task_page;

pub use board::{Board, Frame};
pub use routes::router;
pub use site::Site;
pub use source::{Asked, Source, SourceError};
