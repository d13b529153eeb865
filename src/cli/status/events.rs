//! `distcomp-status events`: prints past and new events as JSON lines.

use std::time::Duration;

use super::args::EventsArgs;
use super::context::StatusContext;
use crate::cli::common::until_signal;
use crate::cli::exit::{CliError, Exit};
use crate::cli::local::connect_again;
use crate::cli::output::is_terminal;
use crate::model::Event;
use crate::queue::events;
use crate::queue::guard::Access;
use crate::view::safe_text::safe;

/// Time between two attempts to reach a server that went away.
const RECONNECT: Duration = Duration::from_secs(2);

/// Prints the last events, and with `--follow` every one from now on until a signal.
pub(super) async fn events(session: &mut StatusContext, args: &EventsArgs) -> Result<Exit, CliError> {
    let mut entry = if args.follow { events::newest(&session.conn).await? } else { String::new() };
    if args.limit == 0 {
        let mut from = events::BEGINNING.to_owned();
        loop {
            let (next, page) = events::after(&session.conn, &from).await?;
            page.iter().try_for_each(|event| print(session, event))?;
            if next == from {
                break;
            }
            from = next;
        }
        entry = from;
    } else {
        let last = events::last(&session.conn, usize::try_from(args.limit).unwrap_or(usize::MAX)).await?;
        last.iter().try_for_each(|event| print(session, event))?;
        if let Some(last) = last.last() {
            entry.clone_from(&last.entry);
        }
    }
    session.out.flush()?;
    if !args.follow {
        return Ok(Exit::Done);
    }
    until_signal(follow(session, entry)).await
}

async fn follow(session: &mut StatusContext, mut entry: String) -> Result<Exit, CliError> {
    session.context.begin_to_follow();
    loop {
        match events::wait_after(&session.conn, &entry).await {
            Ok((next, page)) => {
                page.iter().try_for_each(|event| print(session, event))?;
                session.out.flush()?;
                entry = next;
            }
            Err(error) if error.is_transient() => {
                if let Some(conn) = connect_again(&session.context).await {
                    session.conn = conn;
                    continue;
                }
                session.context.warn(&format!("failed to {error}; retrying"));
                loop {
                    tokio::time::sleep(RECONNECT).await;
                    match session.context.connect(Access::Read).await {
                        Ok((conn, _)) => break session.conn = conn,
                        Err(CliError::Queue(error)) if error.is_transient() => {}
                        Err(error) => return Err(error),
                    }
                }
                session.context.say("Redis is back");
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn print(session: &mut StatusContext, event: &Event) -> Result<(), CliError> {
    if !is_terminal() {
        return session.out.json(event);
    }
    // What JSON leaves as it is may still reverse the reading order of a terminal.
    let text = serde_json::to_string(event).map_err(|error| CliError::stdout(error.into()))?;
    session.out.line(&safe(&text))
}
