//! `distcomp-status logs`: what a task prints, while it runs or afterwards, wherever it runs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use super::args::LogsArgs;
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
use crate::view::log_text::LogText;
use crate::view::safe_text::safe;
use crate::view::text::{bytes, count, precise_duration};

/// Time between two attempts to reach a server that went away.
const RECONNECT: Duration = Duration::from_secs(2);

/// After a task's last words, how long its outcome is waited for.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(100);

/// `O_NOFOLLOW`: nobody may point the name of a result file at another file.
const O_NOFOLLOW: i32 = 0o400_000;

/// Prints what a task has printed; with `--follow` goes on until the attempt has ended.
pub(super) async fn logs(session: &mut Session, args: &LogsArgs) -> Result<Exit, CliError> {
    if args.raw && is_terminal() {
        return Err(CliError::Usage("--raw writes bytes as the task did: send them to a file or a pipe".to_owned()));
    }
    let line = find_one(&session.conn, &args.line).await?;
    let mut task = view(session, &line).await?;
    let mut printer = Printer::new(args);
    let has = |task: &TaskView, state| task.states.contains(&state);
    if has(&task, TaskState::InProgress) || (args.follow && has(&task, TaskState::Todo)) {
        let exit = until_signal(follow(session, &line, args.follow, &mut printer)).await?;
        printer.finish()?;
        if !args.follow || matches!(exit, Exit::Interrupted | Exit::Terminated) {
            return Ok(exit);
        }
        task = settled(session, &line).await?;
        if printer.has_all {
            return Ok(outcome(session, &task));
        }
        // Its last words were lost; the record has them.
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
    Ok(outcome(session, &task))
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

/// The task once its worker has told Redis how it ended.
async fn settled(session: &mut Session, line: &str) -> Result<TaskView, CliError> {
    let begun = tokio::time::Instant::now();
    loop {
        match view(session, line).await {
            Ok(task) if !task.states.contains(&TaskState::InProgress) || begun.elapsed() > SETTLED_WITHIN => {
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
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(&remote.path)?;
    if name.starts_with(id) && file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a result file"))
    }
}

fn last_attempt(task: &TaskView) -> Option<&AttemptView> {
    task.attempts.iter().rev().find(|attempt| attempt.attempt > 0)
}

/// How it ended, on stderr, and the exit code for it.
fn outcome(session: &Session, task: &TaskView) -> Exit {
    let has = |state| task.states.contains(&state);
    let last = last_attempt(task).map_or_else(String::new, |attempt| {
        let took =
            attempt.start.map_or_else(String::new, |start| format!(", took {}", precise_duration(attempt.end - start)));
        let peak = attempt.peak_memory_bytes.map_or_else(String::new, |peak| format!(", peak {}", bytes(peak)));
        format!(": attempt {} on {}, {}{took}{peak}", attempt.attempt, safe(&attempt.worker), safe(&attempt.result))
    });
    let (what, exit) = if has(TaskState::InProgress) {
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
    exit
}

/// Task output on our own streams, each on its own.
struct Printer {
    raw: bool,
    wanted: [bool; 2],
    texts: [LogText; 2],
    /// What of stdout was shown.
    shown: Shown,
    out: io::Stdout,
    err: io::Stderr,
    /// The end of the attempt was heard of.
    has_all: bool,
}

impl Printer {
    fn new(args: &LogsArgs) -> Self {
        let both = args.stdout == args.stderr;
        Self {
            raw: args.raw,
            wanted: [both || args.stdout, both || args.stderr],
            texts: [LogText::default(), LogText::default()],
            shown: Shown::default(),
            out: io::stdout(),
            err: io::stderr(),
            has_all: false,
        }
    }

    fn wants(&self, stream: Stream) -> bool {
        self.wanted[index(stream)]
    }

    fn print(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), CliError> {
        if !self.wants(stream) {
            return Ok(());
        }
        if stream == Stream::Stdout {
            self.shown.add(bytes);
        }
        if self.raw {
            return self.write(stream, bytes);
        }
        let text = self.texts[index(stream)].push(bytes);
        self.write(stream, text.as_bytes())
    }

    /// Of the two streams only one may be wanted: then it is on stdout, for pipes.
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), CliError> {
        let is_alone = self.wanted != [true, true];
        match stream {
            Stream::Stderr if !is_alone => {
                self.err.write_all(bytes).map_err(|error| CliError::io("write to standard error", error))
            }
            Stream::Stdout | Stream::Stderr => self.out.write_all(bytes).map_err(CliError::stdout),
        }
    }

    fn copy(&mut self, file: &mut File) -> Result<(), CliError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.print(Stream::Stdout, &buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CliError::io("read the result file", error)),
            }
        }
    }

    fn flush(&mut self) -> Result<(), CliError> {
        self.out.flush().map_err(CliError::stdout)
    }

    /// A last line without an end gets one on a terminal, so that what follows stands on its own.
    fn finish(&mut self) -> Result<(), CliError> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut rest = self.texts[index(stream)].finish();
            if self.texts[index(stream)].is_inside_line() && is_terminal() {
                rest.push('\n');
            }
            self.texts[index(stream)] = LogText::default();
            self.write(stream, rest.as_bytes())?;
        }
        self.flush()
    }
}

/// How much of a stdout was shown, so that the record can go on from there.
#[derive(Default)]
struct Shown {
    count: u64,
    /// White space at the beginning, which the record does not have.
    lead: u64,
    /// The last few bytes.
    tail: Vec<u8>,
}

impl Shown {
    fn add(&mut self, bytes: &[u8]) {
        const COMPARED: usize = 64;
        if self.lead == self.count {
            self.lead += bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count() as u64;
        }
        self.count += bytes.len() as u64;
        self.tail.extend_from_slice(bytes);
        self.tail.drain(..self.tail.len().saturating_sub(COMPARED));
    }

    /// How many bytes of a record's text were shown; 0 when the text does not go on from there.
    fn known_of(&self, text: &[u8]) -> usize {
        let Ok(end) = usize::try_from(self.count - self.lead) else { return 0 };
        let begin = end.saturating_sub(self.tail.len());
        // A last line end is not in the record either.
        let end_there = end.min(text.len());
        let same =
            text.get(begin..end_there).is_some_and(|there| self.tail.ends_with(there) || self.tail.starts_with(there));
        if same { end_there } else { 0 }
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(shown: &[&[u8]], text: &str) -> usize {
        let mut all = Shown::default();
        shown.iter().for_each(|piece| all.add(piece));
        all.known_of(text.as_bytes())
    }

    #[test]
    fn the_record_goes_on_where_the_stream_stopped() {
        assert_eq!(known(&[], "begun\ndone"), 0);
        assert_eq!(known(&[b"begun\n"], "begun\ndone"), 6);
        assert_eq!(known(&[b" \n", b"\tbegun\n"], "begun\ndone"), 6);
        assert_eq!(known(&[b"begun\ndone\n"], "begun\ndone"), 10);
        assert_eq!(known(&[b"otherwise\n"], "begun\ndone"), 0);
        let long = "x".repeat(1000) + "y";
        assert_eq!(known(&[&long.as_bytes()[..900]], &long), 900);
    }
}
