//! `distcomp-status explain`: says why a task, or the queue, is not running.

use serde_json::json;

use super::context::StatusContext;
use crate::cli::exit::CliError;
use crate::cli::find::find_one;
use crate::cli::local::set_aside;
use crate::cli::output::{columns, columns_or_all, is_terminal};
use crate::model::snapshot::{Overview, WaitingGroup};
use crate::queue::inspect;
use crate::view::explain::{explain_held, explain_queue, needs, why_need};
use crate::view::json::with_ids;
use crate::view::text::wrap;

/// Prints one reason a line.
pub(super) async fn explain(session: &mut StatusContext, text: Option<&str>) -> Result<(), CliError> {
    let overview = inspect::shown_overview(&session.conn).await?;
    let (line, why) = match text {
        None if !session.json => return queue(session, &overview).await,
        None => {
            let mut why = explain_queue(&overview);
            why.extend(set_aside(&session.context, &session.conn).await?);
            (None, why)
        }
        Some(text) => {
            let line = find_one(&session.conn, text).await?;
            let tasks = inspect::tasks(&session.conn, std::slice::from_ref(&line)).await?;
            let mut why = Vec::new();
            for task in &tasks {
                let hold = inspect::hold(&session.conn, task).await?;
                why.extend(explain_held(&overview, task, &hold, session.order));
            }
            (Some(line), why)
        }
    };
    if session.json {
        let needs: Vec<_> = overview
            .needs
            .iter()
            .map(|need| {
                let WaitingGroup { demand, needs, failed_on, waiting } = need;
                let mut row = json!(demand);
                row["waiting"] = json!(waiting);
                if !needs.is_empty() {
                    row["needs"] = json!(need.needs());
                }
                row["failed_on"] = json!(failed_on);
                row["why"] = json!(why_need(&overview, need));
                row
            })
            .collect();
        let needs = line.is_none().then_some(needs);
        return session.out.json(&with_ids(json!({ "line": line, "why": why, "needs": needs })));
    }
    lines(&why).iter().try_for_each(|line| session.out.line(line))
}

/// The queue as a whole, then by need.
async fn queue(session: &mut StatusContext, overview: &Overview) -> Result<(), CliError> {
    let mut why = explain_queue(overview);
    why.extend(set_aside(&session.context, &session.conn).await?);
    lines(&why).iter().try_for_each(|line| session.out.line(line))?;
    if !overview.needs.is_empty() {
        session.out.line("")?;
        session.out.text(&needs(overview, columns_or_all()))?;
    }
    Ok(())
}

/// Broken between words on a terminal.
fn lines(why: &[String]) -> Vec<String> {
    let width = if is_terminal() { columns() } else { usize::MAX };
    why.iter().flat_map(|reason| wrap(reason, width)).collect()
}
