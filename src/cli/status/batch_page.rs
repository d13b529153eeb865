//! The page of one batch in `distcomp-status watch`.

use crate::cli::groups::groups_of_batch;
use crate::cli::output::columns;
use crate::model::BatchName;
use crate::model::listing::{PageCursor, TaskFilter};
use crate::model::snapshot::TaskState;
use crate::queue::lists::{self, PATIENCE};
use crate::queue::{Connection, QueueError, batch_steps};
use crate::view;
use crate::view::ctl_command::of_batch;
use crate::view::safe_text::safe;
use crate::view::table::{table, text};
use crate::view::text::count;

/// Steps that it shows.
const STEPS: usize = 200;

/// Tasks in one state that it shows.
const TASKS: usize = 20;

/// A batch with its steps, what runs of it, what waits where there are no steps, and its failures. Of each a bounded part.
pub(super) async fn batch_page(conn: &Connection, name: &BatchName) -> Result<String, QueueError> {
    let detail = batch_steps::with_steps(conn, name, STEPS).await?;
    let batch = &detail.batch;
    let mut page = view::batches::batch(&detail, columns());
    let waiting = if detail.steps.is_empty() { batch.waiting + batch.blocked } else { 0 };
    for (state, head, number) in
        [(TaskState::InProgress, "running", batch.running), (TaskState::Todo, "waiting", waiting)]
    {
        if number > 0 {
            page.push_str(&tasks(conn, name, state, head, number).await?);
        }
    }
    if batch.failed > 0 {
        let (groups, are_all) = groups_of_batch(conn, name).await?;
        if !groups.is_empty() {
            page.push_str(&format!("\n{}", view::failures::failures(&groups, columns())));
        }
        if !are_all {
            page.push_str(&format!("not all failures were looked at: distcomp-status failures {}\n", of_batch(name)));
        }
    }
    Ok(page)
}

/// The first tasks in one state, and where there are more of the `number` that there are.
async fn tasks(
    conn: &Connection,
    name: &BatchName,
    state: TaskState,
    head: &'static str,
    number: u64,
) -> Result<String, QueueError> {
    let filter = TaskFilter { batch: Some(name.clone()), ..TaskFilter::all(state) };
    let found = lists::page(conn, &filter, PageCursor::Start, PATIENCE).await?;
    let rows: Vec<Vec<String>> = found
        .rows
        .iter()
        .take(TASKS)
        .map(|row| vec![row.id.clone(), safe(&row.workers.join(", ")).into_owned(), safe(&row.line).into_owned()])
        .collect();
    let more = number.saturating_sub(rows.len() as u64);
    let mut out = format!("\n{}", table(&[text(head), text("worker"), text("line")], rows, columns()));
    if more > 0 {
        out.push_str(&format!("and {} more; distcomp-status tasks {} has all\n", count(more), of_batch(name)));
    }
    Ok(out)
}
