//! `distcomp-status logs`: what a task prints, while it runs or afterwards, wherever it runs.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use super::args::LogsArgs;
use super::printer::Printer;
use super::run::Session;
use crate::cli::common::{is_terminal, until_signal};
use crate::cli::exit::{CliError, Exit};
use crate::cli::find::find_one;
use crate::cli::results::{Remote, host, remote_of};
use crate::model::TaskId;
use crate::model::snapshot::{AttemptView, TaskState, TaskView};
use crate::queue::follow::{Follow, Said, Stream};
use crate::queue::guard::Access;
use crate::queue::inspect;
use crate::view::safe_text::safe;
use crate::view::text::{bytes, count, precise_duration};

/// Time between two attempts to reach a server that went away.
const RECONNECT: Duration = Duration::from_secs(2);

/// After a task's last words, how long its outcome is waited for.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(100);

/// `O_NOFOLLOW` and `O_NONBLOCK`: nobody may point the name of a result file at another file, nor put a pipe there that never says anything.
const WARY: i32 = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;

/// Prints what a task has printed; with `--follow` goes on until an attempt has ended by itself or at its limit: one whose worker died, or that was given
/// back, is followed by the next.
pub(super) async fn logs(session: &mut Session, args: &LogsArgs) -> Result<Exit, CliError> {
    if args.raw && is_terminal() {
        return Err(CliError::Usage("--raw writes bytes as the task did: send them to a file or a pipe".to_owned()));
    }
    let line = find_one(&session.conn, &args.line, session.context.is_local).await?;
    let mut task = view(session, &line).await?;
    let mut printer = Printer::new(args, session.json);
    let has = |task: &TaskView, state| task.states.contains(&state);
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
    if let Some(result) = &task.result {
        finished(session, &task, result, &mut printer)?;
    } else if let Some(attempt) = last_attempt(&task) {
        // What was shown live is shown again: the tails do not say where they begin.
        session.context.say(&format!("of attempt {} only the last 4 KiB of each stream are kept", attempt.attempt));
        printer.print(Stream::Stdout, attempt.stdout_tail.as_bytes())?;
        printer.print(Stream::Stderr, attempt.stderr_tail.as_bytes())?;
    }
    printer.finish()?;
    Ok(outcome(session, &task, args.follow))
}

async fn view(session: &Session, line: &str) -> Result<TaskView, CliError> {
    let found = inspect::tasks(&session.conn, &[line.to_owned()]).await?;
    found.into_iter().next().ok_or_else(|| CliError::Usage("the task is gone".to_owned()))
}

/// Until the attempt has ended, or without `follow` until everything so far was said.
async fn follow(session: &Session, line: &str, to_the_end: bool, printer: &mut Printer) -> Result<Exit, CliError> {
    let client = session.context.client()?;
    let mut follow = Follow::start(&client, line, [Some(0), Some(0)]).await?;
    loop {
        match follow.next().await {
            Ok(Some(Said::Output { stream, skipped, bytes })) => {
                if skipped > 0 && printer.wants(stream) {
                    session.context.say(&format!("… {} bytes are not kept …", count(skipped)));
                }
                printer.print(stream, &bytes)?;
                printer.flush()?;
            }
            Ok(Some(Said::CaughtUp)) if !to_the_end => return Ok(Exit::Done),
            Ok(Some(Said::CaughtUp)) => {}
            Ok(Some(Said::RunsOn(worker))) => session.context.say(&format!("on {worker}:")),
            Ok(Some(Said::Waits)) => session.context.say("it waits; distcomp-status explain says why"),
            Ok(Some(Said::NoAnswer(worker))) => {
                session.context.say(&format!("{worker} does not answer yet; asking again"));
                if !to_the_end {
                    return Ok(Exit::Done);
                }
            }
            Ok(None) => {
                printer.has_all = follow.has_heard_the_end();
                return Ok(Exit::Done);
            }
            Err(error) if error.is_transient() && to_the_end => {
                session.context.say(&format!("warning: could not {error}; trying again"));
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
    last_attempt(task).map(|attempt| (attempt.attempt, attempt.end))
}

/// Whether the attempt that was followed has come to no end of its own, and the task will run, or runs, again.
fn is_to_be_continued(task: &TaskView, before: Option<(u32, f64)>) -> bool {
    let is_queued = task.states.contains(&TaskState::Todo) || task.states.contains(&TaskState::InProgress);
    is_queued && (stamp(task) == before || last_attempt(task).is_some_and(AttemptView::is_cut_short))
}

/// The task once its worker, or who took over from that, has told Redis how it ended. It may run again by then.
async fn settled(session: &mut Session, line: &str, before: Option<(u32, f64)>) -> Result<TaskView, CliError> {
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

/// The whole from its file where that is here, else what the record holds.
fn finished(session: &Session, task: &TaskView, result: &str, printer: &mut Printer) -> Result<(), CliError> {
    if !printer.wants(Stream::Stdout) {
        session.context.say("of a task that has finished, no stderr is kept");
        return Ok(());
    }
    if let Some(remote) = remote_of(&task.line, result) {
        let is_here = remote.host.split('.').next() == Some(host().as_str());
        let opened = is_here.then(|| open(&task.id, &remote));
        match opened {
            Some(Ok(mut file)) => {
                file.seek(SeekFrom::Start(printer.shown.count))
                    .map_err(|error| CliError::io("read the result file", error))?;
                return printer.copy(&mut file);
            }
            Some(Err(error)) => session.context.say(&format!("could not open {}: {error}", remote.path)),
            None => session.context.say(&format!("the whole is on {}, in {}", remote.host, remote.path)),
        }
    }
    let output = result.split_once(": ").map_or(result, |(_, output)| output);
    let text: String = serde_json::from_str(output).unwrap_or_else(|_| output.to_owned());
    printer.print(Stream::Stdout, &text.as_bytes()[printer.shown.known_of(text.as_bytes())..])?;
    if !text.is_empty() && !text.ends_with('\n') {
        printer.print(Stream::Stdout, b"\n")?;
    }
    Ok(())
}

/// The record is a task's own text: only a regular file whose name begins with the task's id is read.
fn open(id: &str, remote: &Remote) -> io::Result<File> {
    let name = remote.path.rsplit('/').next().unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(WARY).open(&remote.path)?;
    if name.starts_with(id) && file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a result file"))
    }
}

fn last_attempt(task: &TaskView) -> Option<&AttemptView> {
    task.attempts.iter().rev().find(|attempt| attempt.attempt > 0)
}

/// How it ended, on stderr, and the exit code for it, which is that of the task where its end was waited for.
fn outcome(session: &Session, task: &TaskView, has_waited: bool) -> Exit {
    let has = |state| task.states.contains(&state);
    let last = last_attempt(task).map_or_else(String::new, |attempt| {
        let took =
            attempt.start.map_or_else(String::new, |start| format!(", took {}", precise_duration(attempt.end - start)));
        let peak = attempt.peak_memory_bytes.map_or_else(String::new, |peak| format!(", peak {}", bytes(peak)));
        format!(": attempt {} on {}, {}{took}{peak}", attempt.attempt, safe(&attempt.worker), safe(&attempt.result))
    });
    let (what, exit) = if has_waited && has(TaskState::InProgress) && has(TaskState::Failed) {
        ("failed, is being tried again".to_owned(), Exit::TasksFailed)
    } else if has(TaskState::InProgress) {
        ("in progress".to_owned(), Exit::Done)
    } else if has(TaskState::Finished) {
        ("finished".to_owned(), Exit::Done)
    } else if has(TaskState::Failed) && has(TaskState::Todo) {
        ("failed, will be tried again".to_owned(), Exit::TasksFailed)
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
