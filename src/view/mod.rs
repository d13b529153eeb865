//! Everything that people look at: functions of a snapshot that return text, and in [`web`] and [`dashboard`] the web pages and their server.
//! Nothing here reads Redis.
//!
//! Styles are always in the text; whoever prints it drops them where they cannot be shown. Whatever comes from tasks, names or Redis goes
//! through [`safe_text::safe`].

pub mod batches;
pub mod console_text;
pub mod ctl_command;
pub mod dashboard;
pub mod deaths;
pub mod explain;
pub mod failures;
pub mod fit;
pub mod glyphs;
pub mod json;
pub mod learnt;
pub mod limits;
pub mod log_text;
pub mod metrics;
pub mod output_event;
pub mod overview;
pub mod printed;
pub mod progress;
pub mod reason;
pub mod safe_json;
pub mod shares;
pub mod style;
pub mod table;
pub mod task;
pub mod text;
pub mod waits;
pub mod watch;
pub mod web;
pub mod width;
pub mod workers;

pub use crate::model::safe_text;
