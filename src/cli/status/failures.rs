//! `distcomp-status failures`: lists failures, grouped by kind.

use serde_json::json;

use super::context::StatusContext;
use crate::cli::exit::CliError;
use crate::cli::groups::{Groups, kinds_of};
use crate::cli::output::columns_or_all;
use crate::cli::task_group::GroupArgs;
use crate::model::Needs;
use crate::model::snapshot::TaskState;
use crate::queue::failure_details::failure_details;
use crate::queue::select::{StateScan, TaskGroup};
use crate::queue::{Connection, inspect};
use crate::view;
use crate::view::ctl_command::{flag, of_batch};
use crate::view::failures::Told;
use crate::view::json::failure_group;
use crate::view::progress::Progress;

/// Groups all failures, or with `all` streams every one as a JSON line.
pub(super) async fn failures(session: &mut StatusContext, all: bool, group: &GroupArgs) -> Result<(), CliError> {
    // A group of failures, or that of the cancelled tasks, where they are asked for by name.
    let state = group.states(None)?.and_then(|states| states.first().copied()).unwrap_or(TaskState::Failed);
    let wanted = group.resolve(&session.conn).await?;
    let is_all_kinds = wanted.kind.is_none();
    let mut scan = StateScan::of_group(state, wanted.clone());
    let mut groups = Groups::default();
    let mut progress = Progress::new("failures", 0, !all);
    while let Some(page) = scan.next(&session.conn).await? {
        let found = kinds_of(&session.conn, page).await?;
        progress.advance(found.len() as u64);
        if !all {
            found.iter().for_each(|failure| groups.add(failure));
            continue;
        }
        let lines: Vec<String> = found.iter().map(|failure| failure.line.clone()).collect();
        for (failure, task) in found.iter().zip(inspect::tasks(&session.conn, &lines).await?) {
            let needs = Needs::of_line(&failure.line);
            let mut object = json!({
                "id": task.id, "line": failure.line, "kind": failure.kind, "failed_on": failure.workers,
                "reason": task.reason, "will_retry": task.states.contains(&TaskState::Todo), "attempts": task.attempts,
            });
            if !needs.is_empty() {
                object["needs"] = json!(needs);
            }
            session.out.json(&object)?;
        }
    }
    drop(progress);
    if all {
        return Ok(());
    }
    let groups = groups.finish(&session.conn).await?;
    // They are known of whole groups alone.
    let kinds: Vec<String> = groups.iter().map(|group| group.kind.clone()).collect();
    let is_whole = group.batch.is_none() && group.tag.is_none() && state == TaskState::Failed;
    let details = if is_whole { failure_details(&session.conn, &kinds).await? } else { Vec::new() };
    if !session.json {
        let batch = wanted.batch.as_ref().map(ToString::to_string);
        let told = Told {
            details: &details,
            batch: batch.as_deref(),
            may_requeue: state == TaskState::Failed && group.tag.is_none(),
        };
        session.out.text(&view::failures::failures_in_detail(&groups, &told, columns_or_all()))?;
        let cancelled = if is_all_kinds { cancelled(&session.conn, wanted, group.is_empty()).await? } else { 0 };
        let select = select(group);
        return session.out.text(&view::failures::beside_cancelled(cancelled, &select));
    }
    let details = details.iter().map(Some).chain(std::iter::repeat(None));
    groups.iter().zip(details).try_for_each(|(group, detail)| session.out.json(&failure_group(group, detail)))
}

/// How many tasks of a group were cancelled, or of the whole queue.
async fn cancelled(conn: &Connection, wanted: TaskGroup, is_all: bool) -> Result<u64, CliError> {
    let of_all = inspect::counts(conn).await?.cancelled;
    if is_all || of_all == 0 {
        return Ok(of_all);
    }
    let (mut scan, mut found) = (StateScan::of_group(TaskState::Cancelled, wanted), 0);
    while let Some(page) = scan.next(conn).await? {
        found += page.len() as u64;
    }
    Ok(found)
}

/// The flags that select the group, for the command that lists its cancelled tasks.
fn select(group: &GroupArgs) -> String {
    let batch = group.batch.as_ref().map(|batch| format!(" {}", of_batch(batch)));
    let tag = group.tag.as_ref().map(|tag| format!(" {}", flag("--tag", tag)));
    batch.into_iter().chain(tag).collect()
}
