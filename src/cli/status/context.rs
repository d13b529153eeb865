//! The context of every view of `distcomp-status`: configuration, connection, output.

use crate::cli::common::Context;
use crate::cli::output::Out;
use crate::model::FieldOrder;
use crate::queue::Connection;

/// What every view gets.
pub(super) struct StatusContext {
    /// Configuration and messages.
    pub(super) context: Context,
    /// The queue.
    pub(super) conn: Connection,
    /// How its lines are read.
    pub(super) order: FieldOrder,
    /// Standard output, for results.
    pub(super) out: Out,
    /// JSON is wanted.
    pub(super) json: bool,
}
