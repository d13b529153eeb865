//! `distcomp-status show`: one task.

use serde::Serialize;

use super::run::Session;
use super::signature::{Signature, look};
use crate::cli::common::{columns, is_terminal};
use crate::cli::exit::CliError;
use crate::cli::find::find_one;
use crate::model::snapshot::TaskView;
use crate::queue::inspect;
use crate::view;
use crate::view::text::fold;

/// The task, and who signed it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    task: &'a TaskView,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
}

/// Prints everything known about the task that `text` names.
pub(super) async fn show(session: &mut Session, text: &str, raw: bool) -> Result<(), CliError> {
    let line = find_one(&session.conn, text, session.context.is_local).await?;
    for task in inspect::tasks(&session.conn, &[line]).await? {
        if raw {
            session.out.bytes(view::task::output(&task).as_bytes())?;
            continue;
        }
        let signature = look(session, &task.line).await?;
        if session.json {
            session.out.json(&Shown { task: &task, signature })?;
        } else {
            let signed = signature.as_ref().map(ToString::to_string);
            let page = view::task::signed_task(&task, session.order, signed.as_deref());
            // Nothing is cut; into a file or a pipe nothing is broken either.
            session.out.text(&if is_terminal() { fold(&page, columns(), 10) } else { page })?;
        }
    }
    Ok(())
}
