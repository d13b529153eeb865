//! `distcomp-status show`: one task.

use super::run::Session;
use crate::cli::exit::CliError;
use crate::cli::find::find_one;
use crate::queue::inspect;
use crate::view;

/// Prints everything known about the task that `text` names.
pub(super) async fn show(session: &mut Session, text: &str, raw: bool) -> Result<(), CliError> {
    let line = find_one(&session.conn, text).await?;
    for task in inspect::tasks(&session.conn, &[line]).await? {
        if raw {
            session.out.bytes(view::task::output(&task).as_bytes())?;
        } else if session.json {
            session.out.json(&task)?;
        } else {
            session.out.text(&view::task::task(&task, session.order))?;
        }
    }
    Ok(())
}
