//! `distcomp-submit`: adds task files, or commands, to the queue.
//!
//! Everything is checked (`check`) before the first line goes in (`send`); `wait` follows them to their end.

mod args;
mod bashisms;
mod batch_flags;
mod batches;
mod blocks;
mod check;
mod checked_line;
mod circles;
mod composer;
mod directive;
mod dry_run;
mod faults;
mod file_kind;
mod flags;
mod hooks;
mod in_queue;
mod input;
mod offers;
mod origin;
mod plausibility;
mod profile;
mod reader;
mod repeats;
mod run;
mod send;
mod sign;
mod submission;
mod task_file;
mod wait;
mod wait_blocked;

pub use args::SubmitArgs;
pub use batch_flags::BatchFlags;
pub(crate) use checked_line::Place;
pub use flags::{FieldFlags, NeedFlags, SourceFlags};
pub(crate) use input::are_there;
pub(crate) use offers::Offers;
pub(crate) use origin::{Named, Origin, read_stdin_if_alone};
pub(crate) use reader::TaskReader;
pub use run::main;
pub(crate) use run::{Files, open_files, submit_files};
pub(crate) use task_file::ParseRules;
pub(crate) use wait::StallNotice;
