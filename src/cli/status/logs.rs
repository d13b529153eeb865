//! `distcomp-status logs`: prints the output of a task, during or after its run, wherever it runs.

use std::io::{Seek, SeekFrom};
use std::time::Duration;

use super::args::LogsArgs;
use super::context::StatusContext;
use super::exact_stdout::{ExactStdout, StdoutSource};
use super::printer::LogPrinter;
use crate::cli::common::until_signal;
use crate::cli::exit::{CliError, Exit};
use crate::cli::find::find_one;
use crate::cli::output::is_terminal;
use crate::model::TaskId;
use crate::model::snapshot::{TaskState, TaskView};
use crate::queue::follow::{FollowEvent, OutputSubscription, Stream};
use crate::queue::guard::Access;
use crate::queue::inspect;
use crate::view::glyphs;
use crate::view::safe_text::safe;
use crate::view::text::{bytes, counted, precise_duration};

/// Time between two attempts to reach a server that went away.
const RECONNECT: Duration = Duration::from_secs(2);

/// Bytes of stderr in a record; a tail of nearly as many was cut, perhaps at a character.
const STDERR_KEPT: usize = 4096;

/// After a task's last words, how long its outcome is waited for.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(100);

/// Prints what a task has printed; with `--follow` goes on until an attempt has ended by itself or at its limit: one whose worker died, or that was given
/// back, is followed by the next.
pub(super) async fn logs(session: &mut StatusContext, args: &LogsArgs) -> Result<Exit, CliError> {
    if args.raw && is_terminal() {
        return Err(CliError::Usage(
            "--raw cannot be used on a terminal: send the bytes to a file or a pipe".to_owned(),
        ));
    }
    let line = find_one(&session.conn, &args.line).await?;
    let mut task = view(session, &line).await?;
    let mut printer = LogPrinter::new(args, session.json);
    let has = |task: &TaskView, state| task.states.contains(&state);
    if args.follow {
        session.context.begin_to_follow();
    }
    while has(&task, TaskState::InProgress) || (args.follow && has(&task, TaskState::Todo)) {
        let before = stamp(&task);
        let exit = until_signal(follow(session, &line, args.follow, &mut printer)).await?;
        printer.finish()?;
        if !args.follow || matches!(exit, Exit::Interrupted | Exit::Terminated) {
            return Ok(exit);
        }
        task = settled(session, &line, before).await?;
        if is_to_be_continued(&task, before) {
            printer.begin_again()?;
            continue;
        }
        if printer.has_all {
            return Ok(outcome(session, &task, args.follow));
        }
        // Its last words were lost; the record has them.
        break;
    }
    recorded(session, &task, &mut printer)?;
    printer.finish()?;
    Ok(outcome(session, &task, args.follow))
}

async fn view(session: &StatusContext, line: &str) -> Result<TaskView, CliError> {
    let found = inspect::tasks(&session.conn, &[line.to_owned()]).await?;
    found.into_iter().next().ok_or_else(|| CliError::Usage("the task is gone".to_owned()))
}

/// Until the attempt has ended, or without `follow` until everything so far was said.
async fn follow(
    session: &StatusContext,
    line: &str,
    to_the_end: bool,
    printer: &mut LogPrinter,
) -> Result<Exit, CliError> {
    let client = session.context.client()?;
    let mut follow = OutputSubscription::start(&client, line, [Some(0), Some(0)]).await?;
    loop {
        match follow.next().await {
            Ok(Some(FollowEvent::Output { stream, skipped, bytes })) => {
                if skipped > 0 && printer.wants(stream) {
                    session.context.say(&format!("{0} {1} not kept {0}", glyphs::ellipsis(), counted(skipped, "byte")));
                }
                printer.print(stream, &bytes)?;
                printer.flush()?;
            }
            Ok(Some(FollowEvent::CaughtUp)) if !to_the_end => return Ok(Exit::Done),
            Ok(Some(FollowEvent::CaughtUp)) => {}
            Ok(Some(FollowEvent::RunsOn(worker))) => session.context.say(&format!("on {worker}:")),
            Ok(Some(FollowEvent::Waits)) => session.context.say("it waits; distcomp-status explain says why"),
            Ok(Some(FollowEvent::NoAnswer(worker))) => {
                session.context.say(&format!("{worker} has not answered yet; asking again"));
                if !to_the_end {
                    return Ok(Exit::Done);
                }
            }
            Ok(None) => {
                printer.has_all = follow.has_heard_the_end();
                return Ok(Exit::Done);
            }
            Err(error) if error.is_transient() && to_the_end => {
                session.context.warn(&format!("failed to {error}; retrying"));
                loop {
                    tokio::time::sleep(RECONNECT).await;
                    match follow.reconnect().await {
                        Ok(()) => break,
                        Err(error) if error.is_transient() => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What tells the last attempt on record from the next: its number, and when it ended.
fn stamp(task: &TaskView) -> Option<(u32, f64)> {
    task.last_attempt().map(|attempt| (attempt.attempt, attempt.end))
}

/// Whether the attempt that was followed has come to no end of its own, and the task will run, or runs, again.
fn is_to_be_continued(task: &TaskView, before: Option<(u32, f64)>) -> bool {
    let is_queued = task.states.contains(&TaskState::Todo) || task.states.contains(&TaskState::InProgress);
    is_queued && (stamp(task) == before || task.last_attempt().is_some_and(|last| last.outcome.is_cut_short()))
}

/// The task once its worker, or who took over from that, has told Redis how it ended. It may run again by then.
async fn settled(session: &mut StatusContext, line: &str, before: Option<(u32, f64)>) -> Result<TaskView, CliError> {
    let begun = tokio::time::Instant::now();
    loop {
        match view(session, line).await {
            Ok(task)
                if !task.states.contains(&TaskState::InProgress)
                    || stamp(&task) != before
                    || begun.elapsed() > SETTLED_WITHIN =>
            {
                return Ok(task);
            }
            Ok(_) => {}
            // The follower has outlived a restart of the server; this connection has not.
            Err(CliError::Queue(error)) if error.is_transient() && begun.elapsed() < SETTLED_WITHIN => {
                if let Ok((conn, _)) = session.context.connect(Access::Read).await {
                    session.conn = conn;
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What the record holds, and of stdout the whole from its file where that is here.
fn recorded(session: &StatusContext, task: &TaskView, printer: &mut LogPrinter) -> Result<(), CliError> {
    let last = task.last_attempt();
    if printer.wants(Stream::Stdout) {
        let whole = ExactStdout::of(task);
        if let Some(note) = &whole.note {
            session.context.say(&safe(note));
        }
        match whole.source {
            StdoutSource::File(mut file) => {
                let shown = if task.result.is_some() { printer.shown.count } else { 0 };
                file.seek(SeekFrom::Start(shown)).map_err(|error| CliError::io("read the result file", error))?;
                printer.copy(&mut file)?;
            }
            // What was shown live is shown again: the tails do not say where they begin.
            StdoutSource::Bytes(bytes) if task.result.is_none() => printer.print(Stream::Stdout, &bytes)?,
            StdoutSource::Bytes(bytes) => {
                let shown = &printer.shown;
                let known = if whole.is_exact { shown.known_of_exact(&bytes) } else { shown.known_of(&bytes) };
                printer.print(Stream::Stdout, &bytes[known..])?;
                if !whole.is_exact && !bytes.is_empty() && !bytes.ends_with(b"\n") {
                    printer.print(Stream::Stdout, b"\n")?;
                }
            }
        }
    }
    let Some(last) = last.filter(|_| printer.wants(Stream::Stderr)) else { return Ok(()) };
    let is_cut = last.stderr_tail.len() + 4 > STDERR_KEPT;
    if last.stderr_tail.is_empty() && !printer.wants(Stream::Stdout) {
        // Earlier versions kept none of a success.
        let nothing = if last.stdout_exact.is_some() {
            "the task wrote nothing to stderr"
        } else {
            "no stderr of the task is kept"
        };
        session.context.say(nothing);
    } else if is_cut {
        session.context.say(&format!("only the last 4 KiB of stderr of attempt {} are kept", last.attempt));
    }
    printer.print(Stream::Stderr, last.stderr_tail.as_bytes())
}

/// How it ended, on stderr, and the exit code for it, which is that of the task where its end was waited for.
fn outcome(session: &StatusContext, task: &TaskView, has_waited: bool) -> Exit {
    let has = |state| task.states.contains(&state);
    let last = task.last_attempt().map_or_else(String::new, |attempt| {
        let took =
            attempt.start.map_or_else(String::new, |start| format!(", took {}", precise_duration(attempt.end - start)));
        let peak = attempt.peak_memory_bytes.map_or_else(String::new, |peak| format!(", peak {}", bytes(peak)));
        format!(": attempt {} on {}, {}{took}{peak}", attempt.attempt, safe(&attempt.worker), attempt.outcome)
    });
    let (what, exit) = if has_waited && has(TaskState::InProgress) && has(TaskState::Failed) {
        ("failed, is being retried".to_owned(), Exit::TasksFailed)
    } else if has(TaskState::InProgress) {
        ("in progress".to_owned(), Exit::Done)
    } else if has(TaskState::Finished) {
        ("finished".to_owned(), Exit::Done)
    } else if has(TaskState::Failed) && has(TaskState::Todo) {
        ("failed, will be retried".to_owned(), Exit::TasksFailed)
    } else if has(TaskState::Cancelled) {
        ("cancelled".to_owned(), Exit::TasksFailed)
    } else if has(TaskState::Failed) {
        ("failed, out of retries".to_owned(), Exit::TasksFailed)
    } else if has(TaskState::Todo) {
        ("it waits; distcomp-status explain says why".to_owned(), Exit::Done)
    } else {
        ("it is gone".to_owned(), Exit::TasksFailed)
    };
    session.context.say(&format!("{} {what}{last}", TaskId::of(&task.line)));
    if has_waited { exit } else { Exit::Done }
}
