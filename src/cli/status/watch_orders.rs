//! What the keys of `watch` ask for beside reading: changes, and the search for an id.

use super::context::StatusContext;
use crate::cli::common::Context;
use crate::cli::ctl;
use crate::cli::exit::CliError;
use crate::cli::find::find_one;
use crate::queue::QueueError;
use crate::view::watch::Order;

/// What has become of it.
pub(super) enum Done {
    /// It was done: what is said of that.
    Told(String),
    /// It was not done: why, and what to do about it.
    Refused(String),
    /// The line of the task that was looked for.
    Found(String),
}

/// Does what was asked for and confirmed.
pub(super) async fn perform(context: &Context, order: Order) -> Done {
    match ctl::perform(context.again(), &order).await {
        Ok(text) => Done::Told(text),
        Err(CliError::Queue(error)) if is_denied(&error) => Done::Refused(format!(
            "This Redis user may read and not write, so nothing was changed. To change the queue, start watch as an operator: --config with the configuration of one, or --redis-url.\nfailed to {error}"
        )),
        Err(error) => Done::Refused(error.to_string()),
    }
}

fn is_denied(error: &QueueError) -> bool {
    matches!(error, QueueError::Denied { .. })
}

/// Looks for the task with an id that begins so.
pub(super) async fn find(session: &StatusContext, id: String) -> Done {
    match find_one(&session.conn, &id).await {
        Ok(line) => Done::Found(line),
        Err(error) => Done::Refused(error.to_string()),
    }
}
