//! The settings that stay the same throughout a local run.

use std::sync::Arc;

use crate::cli::common::Context;
use crate::cli::worker::args::WorkerArgs;
use crate::config::Config;
use crate::model::FieldOrder;
use crate::queue::Client;

/// What every step of the run gets.
pub(super) struct RunContext<'a> {
    pub(super) args: &'a WorkerArgs,
    pub(super) context: Context,
    /// With the private server in place of Redis.
    pub(super) config: Arc<Config>,
    pub(super) client: Client,
    pub(super) order: FieldOrder,
}
