//! What every command of `distcomp-ctl` gets.

use super::args::Manner;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::output::Out;
use crate::model::FieldOrder;
use crate::queue::Connection;

/// What every command gets.
pub(super) struct Session {
    /// Configuration and messages.
    pub(super) context: Context,
    /// The queue.
    pub(super) conn: Connection,
    /// How its lines are read.
    pub(super) order: FieldOrder,
    /// Results.
    pub(super) out: Out,
    /// How to do it.
    pub(super) manner: Manner,
}

impl Session {
    /// A result for people.
    pub(super) fn tell(&mut self, text: &str) -> Result<(), CliError> {
        if self.manner.quiet { Ok(()) } else { self.out.line(text) }
    }
}
