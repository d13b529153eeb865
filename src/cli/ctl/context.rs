//! The context of every command of `distcomp-ctl`: configuration, connection, output, flags.

use std::cell::RefCell;

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
    /// What would be printed, where another program shows it.
    pub(super) told: Option<RefCell<Vec<String>>>,
}

impl CtlContext {
    /// A result for people.
    pub(super) fn tell(&mut self, text: &str) -> Result<(), CliError> {
        if self.told.is_some() {
            self.say(text);
            return Ok(());
        }
        if self.manner.quiet { Ok(()) } else { self.out.line(text) }
    }

    /// A message for the person who gave the command.
    pub(super) fn say(&self, text: &str) {
        match &self.told {
            Some(told) => told.borrow_mut().push(text.to_owned()),
            None => self.context.say(text),
        }
    }

    /// What is about to be done. It belongs to the question, so that it is said without `--quiet`, or where the question is asked.
    pub(super) fn announce(&self, plan: &str) {
        if !(self.manner.quiet && self.manner.yes) {
            self.context.say(&format!("will {plan}"));
        }
    }
}
