//! Waiting for a server that went away, of commands that wait for tasks.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::common::Context;
use super::exit::CliError;
use super::local::connect_again;
use crate::queue::guard::Access;
use crate::queue::{Connection, QueueError};

/// How long a server that went away is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// Time between two attempts to reach it.
const RECONNECT: Duration = Duration::from_secs(2);

/// Makes the connection anew; a wait of hours should outlive a restart of the server.
pub(crate) async fn reconnect(context: &Context, mut error: QueueError) -> Result<Connection, CliError> {
    if let Some(conn) = connect_again(context).await {
        return Ok(conn);
    }
    context.warn(&format!("failed to {error}; retrying for {} s", PATIENCE.as_secs()));
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        sleep(RECONNECT).await;
        match context.connect(Access::Read).await {
            Ok((conn, _)) => {
                context.say("Redis is back");
                return Ok(conn);
            }
            Err(CliError::Queue(again)) if again.is_transient() => error = again,
            Err(error) => return Err(error),
        }
    }
    Err(error.into())
}
