//! The context of every command of `distcomp-ctl`: configuration, connection, output, flags.

use super::args::ChangeOptions;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::output::Out;
use crate::model::FieldOrder;
use crate::queue::Connection;

/// What every command gets.
pub(super) struct CtlContext {
    /// Configuration and messages.
    pub(super) context: Context,
    /// The queue.
    pub(super) conn: Connection,
    /// How its lines are read.
    pub(super) order: FieldOrder,
    /// Standard output, for results.
    pub(super) out: Out,
    /// How to do it.
    pub(super) manner: ChangeOptions,
}

impl CtlContext {
    /// A result for people.
    pub(super) fn tell(&mut self, text: &str) -> Result<(), CliError> {
        if self.manner.quiet { Ok(()) } else { self.out.line(text) }
    }

    /// What is about to be done. It belongs to the question, so that it is said without `--quiet`, or where the question is asked.
    pub(super) fn announce(&self, plan: &str) {
        if !(self.manner.quiet && self.manner.yes) {
            self.context.say(&format!("will {plan}"));
        }
    }
}
