//! What people look at: pure functions of a snapshot that return text. No IO, no Redis.
//!
//! Styles are always in the text; whoever prints it drops them where they cannot be shown. Whatever comes from tasks, names or Redis goes
//! through [`safe_text::safe`].

pub mod explain;
pub mod failures;
pub mod log_text;
pub mod overview;
pub mod progress;
pub mod safe_text;
pub mod style;
pub mod table;
pub mod task;
pub mod text;
pub mod watch;
pub mod workers;
