//! `distcomp-status explain`: why a task, or the queue, is not running.

use serde_json::json;

use super::run::Session;
use crate::cli::exit::CliError;
use crate::cli::find::find_one;
use crate::queue::inspect;
use crate::view::explain::{explain_queue, explain_task};

/// Prints one reason a line.
pub(super) async fn explain(session: &mut Session, text: Option<&str>) -> Result<(), CliError> {
    let overview = inspect::overview(&session.conn).await?;
    let (line, why) = match text {
        None => (None, explain_queue(&overview)),
        Some(text) => {
            let line = find_one(&session.conn, text).await?;
            let tasks = inspect::tasks(&session.conn, std::slice::from_ref(&line)).await?;
            let why = tasks.iter().flat_map(|task| explain_task(&overview, task, session.order)).collect();
            (Some(line), why)
        }
    };
    if session.json {
        return session.out.json(&json!({ "line": line, "why": why }));
    }
    why.iter().try_for_each(|reason| session.out.line(reason))
}
