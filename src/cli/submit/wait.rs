//! `--wait`: follows the submitted tasks to their end.
//!
//! The lines are gone through in order; each step asks only about the first ones not known to be done, so that the cost is one look at each line
//! and one small question per poll.

use std::io::Write as _;
use std::time::Duration;

use super::wait_blocked::{Blocked, awaited};
use crate::cli::common::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::groups::{Failure, Groups, kinds_of};
use crate::cli::output::{columns, is_json, stderr};
use crate::cli::reconnect::reconnect;
use crate::cli::spill_list::{SpillList, SpillReader};
use crate::cli::task_set::TaskEnd;
use crate::model::BatchName;
use crate::model::snapshot::{FailureGroup, ProgressParts, TaskState};
use crate::process::signals::{SignalRequest, Signals};
use crate::queue::call_size::CALL_BYTES;
use crate::queue::select::HashEntry;
use crate::queue::{Connection, QueueError, aside, batch_names, inspect};
use crate::view::explain::top_reason;
use crate::view::failures::failures;
use crate::view::progress::Progress;
use crate::view::text::{count, tasks};

/// Time between two questions while nothing moves.
const POLL: Duration = Duration::from_millis(500);

/// A line that is nowhere may be on its way between two hashes: Python's moves are two steps.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// A line that is nowhere for so long, besides, is gone.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Nothing runs and nothing ends for this long: it is said why, and looked at again as often.
const STILL: Duration = Duration::from_secs(2);

/// Lines asked about in one step.
const CHUNK: usize = 500;

/// Bytes of them: each is named four times, with every look.
const CHUNK_BYTES: usize = CALL_BYTES / 4;

/// How lines ended.
#[derive(Default)]
struct WaitTotals {
    finished: u64,
    failed: u64,
    cancelled: u64,
    gone: u64,
    /// They wait for what has failed.
    blocked: u64,
    groups: Groups,
}

/// How a wait ended.
pub(super) struct Waited {
    pub(super) exit: Exit,
    /// Tasks that finished, failed for good, are gone, were cancelled, and cannot start; `None` after a signal, since the rest goes on.
    pub(super) ends: Option<[u64; 5]>,
    /// The failures by kind, largest group first.
    pub(super) failures: Vec<FailureGroup>,
}

/// Waits until every line has finished, is out of retries, or is gone: nobody knows how the last ended, so they count as failed. Lines that cannot start
/// since what they wait for has failed end the wait too. `batches` are those of the lines: others that share the queue do not count.
pub(super) async fn wait(
    context: &Context,
    mut conn: Connection,
    spool: SpillList,
    batches: &[BatchName],
    quiet: bool,
) -> Result<Waited, CliError> {
    context.begin_to_follow();
    let total = spool.len();
    let spooled =
        spool.read().map_err(|error| CliError::io("read the submitted lines from a temporary file", error))?;
    let mut signals = Signals::of(&[SignalRequest::Interrupt, SignalRequest::Terminate])
        .map_err(|error| CliError::io("listen for signals", error))?;
    let mut ends = WaitTotals::default();
    let exit = tokio::select! {
        result = follow(context, &mut conn, (spooled, total), batches, &mut ends, quiet) => result.map(|()| None)?,
        asked = signals.next() => Some(asked.into()),
    };
    if let Some(exit) = exit {
        context.say("stopped waiting; the tasks stay queued and continue (distcomp-ctl cancel stops them)");
        return Ok(Waited { exit, ends: None, failures: Vec::new() });
    }
    let counts = [ends.finished, ends.failed, ends.gone, ends.cancelled, ends.blocked];
    let (exit, failures) = report(context, &conn, ends, quiet).await?;
    Ok(Waited { exit, ends: Some(counts), failures })
}

async fn follow(
    context: &Context,
    conn: &mut Connection,
    (mut lines, total): (SpillReader, u64),
    batches: &[BatchName],
    ends: &mut WaitTotals,
    quiet: bool,
) -> Result<(), CliError> {
    let mut progress = Progress::new("done", total, !quiet);
    let mut done = 0;
    let mut stall = StallNotice::new();
    let mut pending: Vec<String> = Vec::new();
    let mut blocked = Blocked::default();
    loop {
        if pending.is_empty() {
            pending = lines
                .take(CHUNK, CHUNK_BYTES)
                .map_err(|error| CliError::io("read the submitted lines from a temporary file", error))?;
            if pending.is_empty() {
                pending = blocked.look_again(CHUNK);
            }
            if pending.is_empty() {
                ends.blocked = blocked.end(context);
                return Ok(());
            }
        }
        let step = match look(conn, &pending, batches).await {
            Ok(step) => step,
            Err(CliError::Queue(error)) if error.is_transient() => {
                *conn = reconnect(context, error).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        done += (pending.len() - step.open.len()) as u64;
        // Those further down that are done already show in the counts, unless others fill the queue too.
        let ended = done.max(total.saturating_sub(step.open_in_all)).min(total);
        let failed = ends.failed + step.failed.len() as u64;
        let parts = ProgressParts::of_set(total, ended, failed, step.running);
        let note = if failed == 0 { String::new() } else { format!(", {failed} failed") };
        progress.note(&format!("{} running{note}", parts.running));
        progress.see(&parts);
        ends.finished += step.finished;
        ends.failed += step.failed.len() as u64;
        ends.gone += step.gone;
        ends.cancelled += step.cancelled;
        step.failed.iter().for_each(|failure| ends.groups.add(failure));
        pending = step.open;
        if step.running > 0 || step.finished + step.gone + step.cancelled > 0 || !step.failed.is_empty() {
            stall.moved();
            blocked.forget();
        } else if stall.is_due() {
            match blocked.take(conn, &mut pending).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(CliError::Queue(error)) if error.is_transient() => {
                    *conn = reconnect(context, error).await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if let Some(why) = stall.why(conn, batches, &pending).await.filter(|_| !quiet) {
                progress.pause_for(|| context.say(&why));
            }
        }
        if !pending.is_empty() {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Since when nothing moves, and what was said about it.
pub(crate) struct StallNotice {
    looked: tokio::time::Instant,
    said: Option<String>,
}

impl StallNotice {
    pub(crate) fn new() -> Self {
        Self { looked: tokio::time::Instant::now(), said: None }
    }

    /// Something has moved.
    pub(crate) fn moved(&mut self) {
        self.looked = tokio::time::Instant::now();
    }

    /// Whether nothing has moved for long enough.
    pub(crate) fn is_due(&self) -> bool {
        self.looked.elapsed() >= STILL
    }

    /// What there is to say now: the reason that nothing runs, once for each reason. A user that may not read it, and a question that fails, are
    /// no reason to stop waiting.
    pub(crate) async fn why(&mut self, conn: &Connection, batches: &[BatchName], pending: &[String]) -> Option<String> {
        self.looked = tokio::time::Instant::now();
        if let Some(names) = awaited(conn, pending).await.ok().flatten() {
            let why = format!("nothing of it runs yet: it waits for {}", names.join(", "));
            return (self.said.as_ref() != Some(&why)).then(|| self.said.insert(why).clone());
        }
        // Others run, and what they run comes first.
        if !batches.is_empty() && inspect::counts(conn).await.ok()?.in_progress > 0 {
            return None;
        }
        let why = match inspect::shown_overview(conn).await {
            Ok(overview) => format!("nothing runs: {}", top_reason(&overview)?.why),
            Err(QueueError::Denied { .. }) => "nothing runs; distcomp-status explain says why".to_owned(),
            Err(_) => return None,
        };
        (self.said.as_ref() != Some(&why)).then(|| self.said.insert(why).clone())
    }
}

/// What became of some lines.
struct WaitRound {
    open: Vec<String>,
    finished: u64,
    failed: Vec<Failure>,
    cancelled: u64,
    gone: u64,
    /// How many run: of the batches among these lines, without a batch of the whole queue.
    running: u64,
    /// How many wait or run of all that is looked at: of the batches, or of the queue.
    open_in_all: u64,
}

/// Looks where some lines are. Nothing is counted unless the whole look succeeds. In a queue of `--local` a run may have set lines aside, which wait for another one.
async fn look(conn: &Connection, lines: &[String], batches: &[BatchName]) -> Result<WaitRound, CliError> {
    let (running, open_in_all) = if batches.is_empty() {
        let counts = inspect::counts(conn).await?;
        (counts.in_progress, counts.todo + counts.in_progress)
    } else {
        (0, batch_names::states(conn, batches).await?.iter().map(|state| state.open).sum())
    };
    let (open, failed) = (Vec::new(), Vec::new());
    let mut step = WaitRound { open, finished: 0, failed, cancelled: 0, gone: 0, running, open_in_all };
    let mut doubtful = Vec::new();
    for (line, states) in lines.iter().zip(inspect::states(conn, lines).await?) {
        step.running += u64::from(!batches.is_empty() && states.contains(&TaskState::InProgress));
        match TaskEnd::of(&states) {
            TaskEnd::Open => step.open.push(line.clone()),
            TaskEnd::Finished => step.finished += 1,
            TaskEnd::Failed | TaskEnd::Cancelled | TaskEnd::Gone => doubtful.push(line.clone()),
        }
    }
    if doubtful.is_empty() {
        return Ok(step);
    }
    // The four hashes were not read in one instant: a task on its way back to todo may look like a failed one.
    tokio::time::sleep(SECOND_LOOK).await;
    let mut failed = Vec::new();
    let nowhere = sort_out(conn, doubtful, &mut step, &mut failed).await?;
    let nowhere = if conn.is_local() { without_aside(conn, nowhere, &mut step).await? } else { nowhere };
    if !nowhere.is_empty() {
        tokio::time::sleep(LAST_LOOK).await;
        step.gone = sort_out(conn, nowhere, &mut step, &mut failed).await?.len() as u64;
    }
    step.failed = kinds_of(conn, failed).await?;
    Ok(step)
}

/// The lines that are not set aside; those that are count as open.
async fn without_aside(conn: &Connection, lines: Vec<String>, step: &mut WaitRound) -> Result<Vec<String>, CliError> {
    let are_aside = aside::contains(conn, &lines).await?;
    let (aside, nowhere): (Vec<_>, Vec<_>) = lines.into_iter().zip(are_aside).partition(|(_, is_aside)| *is_aside);
    step.open.extend(aside.into_iter().map(|(line, _)| line));
    Ok(nowhere.into_iter().map(|(line, _)| line).collect())
}

/// Counts where some lines are now; those that are nowhere come back.
async fn sort_out(
    conn: &Connection,
    lines: Vec<String>,
    step: &mut WaitRound,
    failed: &mut Vec<HashEntry>,
) -> Result<Vec<String>, CliError> {
    let states = inspect::states(conn, &lines).await?;
    let mut nowhere = Vec::new();
    for (line, states) in lines.into_iter().zip(states) {
        match TaskEnd::of(&states) {
            TaskEnd::Open => step.open.push(line),
            TaskEnd::Finished => step.finished += 1,
            TaskEnd::Failed => failed.push(HashEntry { line, value: String::new() }),
            TaskEnd::Cancelled => step.cancelled += 1,
            TaskEnd::Gone => nowhere.push(line),
        }
    }
    Ok(nowhere)
}

async fn report(
    context: &Context,
    conn: &Connection,
    ends: WaitTotals,
    quiet: bool,
) -> Result<(Exit, Vec<FailureGroup>), CliError> {
    let gone = if ends.gone == 0 {
        String::new()
    } else {
        format!(
            ", {} disappeared from the queue before their end was seen: purged, edited, or removed by another program",
            count(ends.gone)
        )
    };
    let cancelled = if ends.cancelled == 0 { String::new() } else { format!(", {} cancelled", count(ends.cancelled)) };
    let blocked = if ends.blocked > 0 { format!(", {} blocked", count(ends.blocked)) } else { String::new() };
    if !quiet || ends.failed + ends.cancelled + ends.gone + ends.blocked > 0 {
        let finished = tasks(ends.finished);
        context.say(&format!("{finished} finished, {} failed{cancelled}{blocked}{gone}", count(ends.failed)));
    }
    if ends.failed == 0 {
        let is_done = ends.gone + ends.cancelled + ends.blocked == 0;
        return Ok((if is_done { Exit::Done } else { Exit::TasksFailed }, Vec::new()));
    }
    let groups = ends.groups.finish(conn).await?;
    if !is_json() {
        // Nobody is left to tell when stderr is gone.
        let _ = writeln!(stderr(), "{}", failures(&groups, columns()).trim_end());
    }
    Ok((Exit::TasksFailed, groups))
}
