//! `distcomp-status show`: prints everything known about one task.

use std::io::{ErrorKind, Read};

use serde::Serialize;

use super::context::StatusContext;
use super::exact_stdout::{ExactStdout, StdoutSource};
use super::signature::{Signature, look};
use crate::cli::exit::CliError;
use crate::cli::find::find_one;
use crate::cli::output::{columns, is_terminal};
use crate::model::snapshot::TaskView;
use crate::queue::edit::earlier_ids;
use crate::queue::{QueueError, inspect};
use crate::view;
use crate::view::deaths::silent_since;
use crate::view::safe_text::safe;
use crate::view::task::AboutTask;
use crate::view::text::fold;

/// The task, who signed it, and what it was before.
#[derive(Serialize)]
struct FullTask<'a> {
    #[serde(flatten)]
    task: &'a TaskView,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
    /// The ids that it had before its line was edited, the last one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    edited_from: Vec<String>,
}

/// Prints everything known about the task that `text` names.
pub(super) async fn show(session: &mut StatusContext, text: &str, raw: bool) -> Result<(), CliError> {
    let line = find_one(&session.conn, text).await?;
    for task in inspect::tasks(&session.conn, &[line]).await? {
        if raw {
            write_raw(session, &task)?;
            continue;
        }
        let signature = look(session, &task.line).await?;
        let edited_from = match earlier_ids(&session.conn, &task.line).await {
            // A user of before there were edits: the rest can be told.
            Err(QueueError::Denied { .. }) => Vec::new(),
            found => found?,
        };
        if session.json {
            session.out.json(&FullTask { task: &task, signature, edited_from })?;
        } else {
            let signed = signature.as_ref().map(ToString::to_string);
            let silence = silence(session, &task).await?;
            let about =
                AboutTask { signed: signed.as_deref(), earlier_ids: &edited_from, worker_is: silence.as_deref() };
            let page = view::task::full_task(&task, session.order, &about);
            // Nothing is cut; into a file or a pipe nothing is broken either.
            session.out.text(&if is_terminal() { fold(&page, columns(), 10) } else { page })?;
        }
    }
    Ok(())
}

/// That the worker of a running task is not heard of any more, in words.
async fn silence(session: &StatusContext, task: &TaskView) -> Result<Option<String>, CliError> {
    let Some(name) = &task.worker else { return Ok(None) };
    let overview = inspect::overview(&session.conn).await?;
    Ok(overview
        .workers
        .iter()
        .find(|worker| worker.name == *name)
        .and_then(|worker| silent_since(worker, overview.now)))
}

/// The bytes that the task wrote to stdout; of a failed one, then the last of its stderr. What is not exact is said on standard error.
fn write_raw(session: &mut StatusContext, task: &TaskView) -> Result<(), CliError> {
    let whole = ExactStdout::of(task);
    match whole.source {
        StdoutSource::Bytes(bytes) => session.out.bytes(&bytes)?,
        StdoutSource::File(mut file) => {
            let mut buffer = vec![0; 64 << 10];
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => session.out.bytes(&buffer[..count])?,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(CliError::io("read the result file", error)),
                }
            }
        }
    }
    if task.result.is_none()
        && let Some(last) = task.last_attempt()
    {
        session.out.bytes(last.stderr_tail.as_bytes())?;
    }
    if let Some(note) = whole.note {
        session.context.say(&safe(&note));
    }
    Ok(())
}
