//! Pause and resume of the whole queue.

use crate::cli::exit::CliError;
use crate::queue::{Connection, control, inspect};
use crate::sys::wall_clock;
use crate::view::text::{count, tasks, tasks_wait};

/// What a pause would do, in words.
pub(crate) async fn pause_plan(conn: &Connection) -> Result<String, CliError> {
    let counts = inspect::counts(conn).await?;
    Ok(format!("pause the queue: {}, {} in progress continue", tasks_wait(counts.todo), count(counts.in_progress)))
}

/// Pauses it in the name of somebody: `who` is what people see, `by` the name in the log.
pub(crate) async fn pause_queue(conn: &Connection, who: &str, by: &str) -> Result<(), CliError> {
    let now = wall_clock::local().strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    Ok(control::pause(conn, &format!("{who} since {now}"), by).await?)
}

/// What there is to lift, in words; `None` where nothing is.
pub(crate) async fn resume_plan(conn: &Connection) -> Result<Option<String>, CliError> {
    let overview = inspect::overview(conn).await?;
    let lifted: Vec<&str> = [("the pause", overview.paused.is_some()), ("the stop command", overview.stopping)]
        .into_iter()
        .filter_map(|(name, is_there)| is_there.then_some(name))
        .collect();
    let plan = format!("lift {}: {} wait", lifted.join(" and "), tasks(overview.counts.todo));
    Ok((!lifted.is_empty()).then_some(plan))
}

/// Lifts a pause and the stop command in the name of somebody; says which were there.
pub(crate) async fn resume_queue(conn: &Connection, by: &str) -> Result<(bool, bool), CliError> {
    Ok(control::resume(conn, by).await?)
}
