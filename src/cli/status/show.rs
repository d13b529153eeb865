//! `distcomp-status show`: one task.

use super::run::Session;
use crate::cli::common::{columns, is_terminal};
use crate::cli::exit::CliError;
use crate::cli::find::find_one;
use crate::queue::inspect;
use crate::view;
use crate::view::text::fold;

/// Prints everything known about the task that `text` names.
pub(super) async fn show(session: &mut Session, text: &str, raw: bool) -> Result<(), CliError> {
    let line = find_one(&session.conn, text).await?;
    for task in inspect::tasks(&session.conn, &[line]).await? {
        if raw {
            session.out.bytes(view::task::output(&task).as_bytes())?;
        } else if session.json {
            session.out.json(&task)?;
        } else {
            let page = view::task::task(&task, session.order);
            // Nothing is cut; into a file or a pipe nothing is broken either.
            session.out.text(&if is_terminal() { fold(&page, columns(), 10) } else { page })?;
        }
    }
    Ok(())
}
