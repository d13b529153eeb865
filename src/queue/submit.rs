//! Adds task lines to the queue.

use std::collections::HashSet;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::args::Args;
use super::cells::{cell_of, lane_of};
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::records::{SubmitArgs, SubmitReply, SubmittedLine};
use super::reply::Reply;
use super::session::base_score;
use super::{events, scripts};
use crate::model::{Belonging, Class, FieldOrder, TaskLine};

/// Why what takes scripts cannot be submitted.
const UNKNOWN_SCRIPTS: &str = "{} takes scripts that the server does not know since its start, and this user may not load: start a worker, or run \
                               distcomp-ctl, once, and submit again";

/// How many lines one call adds at most: well under 5 ms of the server's time.
pub const BATCH: usize = 250;

/// Bytes of lines that one call adds, about, at most: several calls are on their way at once.
pub const BATCH_BYTES: usize = super::call_size::CALL_BYTES / 4;

/// What became of submitted lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// New in `todo_tasks`.
    pub added: u64,
    /// In `todo_tasks` already.
    pub queued: u64,
    /// In progress.
    pub running: u64,
    /// Finished before.
    pub finished: u64,
    /// Out of retries.
    pub failed: u64,
    /// Of the added ones, how many wait for other batches, or for a time.
    pub blocked: u64,
    /// How many belong to as many batches as a task may, and did not join another.
    pub crowded: u64,
}

impl AddAssign for Submitted {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.queued += other.queued;
        self.running += other.running;
        self.finished += other.finished;
        self.failed += other.failed;
        self.blocked += other.blocked;
        self.crowded += other.crowded;
    }
}

/// A line to add, with what the index needs to know of it; smaller than a [`TaskLine`].
#[derive(Clone, Debug)]
pub struct NewTask {
    line: String,
    class: Class,
    prio: u16,
    signature: Option<String>,
    belonging: Option<Belonging>,
}

impl NewTask {
    /// What is submitted of a task.
    #[must_use]
    pub fn of(task: &TaskLine) -> Self {
        let (class, prio) = (task.class().clone(), task.prio());
        Self { line: task.as_str().to_owned(), class, prio, signature: None, belonging: None }
    }

    /// The task line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Puts a signature beside it.
    pub fn seal(&mut self, signature: String) {
        self.signature = Some(signature);
    }

    /// Makes it a member of a batch.
    pub fn join(&mut self, belonging: Option<Belonging>) {
        self.belonging = belonging;
    }
}

/// Makes the script known to the server before several batches are on their way at once, which would otherwise each bring it along, out of order.
/// A user that may not load scripts does without: see [`submit`].
///
/// # Errors
/// Those of any call.
pub async fn prepare(conn: &Connection, rerun: bool) -> Result<(), QueueError> {
    submit(conn, &[], rerun).await.map(drop)
}

/// Adds at most [`BATCH`] lines, in order; wakes idle workers.
///
/// `rerun` adds those already finished or out of retries too, in one step each. Signatures go in where every line has one; a line that waits or runs
/// already gets the new one. Atomic for the call; safe to repeat. Where the server does not
/// know the script and the user may not load it (nobody who may has been there since the server's start), the same is done by plain commands:
/// each line is still added in one step, and a line that others move at that moment may be counted as what it was before.
///
/// # Errors
/// Those of any call; what was added before stays. [`QueueError::Denied`] for `rerun` where the user may only add.
pub async fn submit(conn: &Connection, tasks: &[NewTask], rerun: bool) -> Result<Submitted, QueueError> {
    submit_in(conn, tasks, rerun, None, None).await
}

/// As [`submit`], of lines that were read in this field order: refused when the queue has another by now, which it may have since others emptied it.
/// `submission` was begun for each batch that they belong to, see [`super::batches::begin`]; without one they are added as if by hand.
///
/// # Errors
/// As [`submit`]; [`QueueError::Mismatch`] for another order; [`QueueError::SubmissionClosed`] when the submission is not under way: nothing was added.
pub async fn submit_in(
    conn: &Connection,
    tasks: &[NewTask],
    rerun: bool,
    order: Option<FieldOrder>,
    submission: Option<&str>,
) -> Result<Submitted, QueueError> {
    let mut args = Args::new();
    let tasks = &tasks[..tasks.len().min(BATCH)];
    args.record(SubmitArgs {
        rerun,
        order: order.map_or("", FieldOrder::as_str),
        submission: submission.unwrap_or_default(),
    });
    for task in tasks {
        args.record(SubmittedLine {
            line: &task.line,
            class: &task.class,
            base_score: base_score(task.prio),
            signature: task.signature.as_deref().unwrap_or_default(),
            belongs: task.belonging.as_ref().map_or("", Belonging::as_str),
        });
    }
    let has_members = tasks.iter().any(|task| task.belonging.is_some());
    match conn.script(&scripts::SUBMIT, None, &args).await {
        Ok(reply) => match Reply::new(reply)?.head()? {
            SubmitReply { added: -1, .. } => Err(super::guard::other_order(conn, order.unwrap_or_default()).await),
            SubmitReply { added: -2, .. } => Err(QueueError::SubmissionClosed),
            SubmitReply { added, queued, running, finished, failed, blocked, crowded } => {
                let added = u64::try_from(added).unwrap_or(0);
                Ok(Submitted { added, queued, running, finished, failed, blocked, crowded })
            }
        },
        Err(QueueError::Denied { .. }) if has_members => {
            Err(QueueError::Unsupported(UNKNOWN_SCRIPTS.replacen("{}", "a batch", 1)))
        }
        Err(QueueError::Denied { .. }) if !rerun => plainly(conn, tasks, order).await,
        Err(QueueError::Denied { at, user, message, .. }) => {
            let hashes = [Key::Finished, Key::Failed].map(|key| conn.name(key)).join(" and ");
            Err(QueueError::Denied { at, user, message, what: format!("take old results away (HDEL on {hashes})") })
        }
        Err(error) => Err(error),
    }
}

/// What `submit.lua` does, in a few round trips. A claim drops what is finished or in progress by then, and the index follows `todo_tasks`.
async fn plainly(conn: &Connection, tasks: &[NewTask], order: Option<FieldOrder>) -> Result<Submitted, QueueError> {
    let mut sums = Submitted::default();
    if tasks.is_empty() {
        // Changes nothing, and shows whether this user may add at all, before anything else is tried.
        let mut may_add = redis::pipe();
        may_add.cmd("INCRBY").arg(conn.name(Key::Sequence)).arg(0);
        conn.pipe::<Vec<redis::Value>>(&may_add).await?;
        return Ok(sums);
    }
    if let Some(order) = order {
        super::guard::record_order(conn, order).await?;
    }
    if tasks.iter().any(|task| task.class.needs.is_extended()) {
        let what = "a task with needs (such as shell,gpus=1)";
        return Err(QueueError::Unsupported(UNKNOWN_SCRIPTS.replacen("{}", what, 1)));
    }
    let found = Found::read(conn, tasks).await?;
    let mut seen = HashSet::new();
    let mut new = Vec::new();
    let (mut sign, mut add) = (redis::pipe(), redis::pipe());
    let mut seal = |task: &NewTask| {
        if let Some(signature) = &task.signature {
            sign.cmd("HSET").arg(conn.name(Key::Signatures)).arg(task.line()).arg(signature).ignore();
        }
    };
    for (at, task) in tasks.iter().enumerate() {
        if is_in(&found.in_progress, at) {
            sums.running += 1;
            seal(task);
        } else if is_in(&found.todo, at) || !seen.insert(task.line()) {
            sums.queued += 1;
            seal(task);
        } else if found.finished[at] {
            sums.finished += 1;
        } else if is_in(&found.failed, at) {
            sums.failed += 1;
        } else {
            seal(task);
            add.cmd("HSET").arg(conn.name(Key::Todo)).arg(task.line()).arg("");
            // In the order of the file: the sequence numbers end with the last one.
            new.push((task, base_score(task.prio) + found.last_sequence + 1 + at as u64 - tasks.len() as u64));
        }
    }
    // A signature is there before its line.
    if !sign.is_empty() {
        conn.pipe::<()>(&sign).await?;
    }
    if new.is_empty() {
        return Ok(sums);
    }
    let added: Vec<u64> = conn.pipe(&add).await?;
    sums.added = added.iter().sum();
    sums.queued += new.len() as u64 - sums.added;
    index_plainly(conn, &new).await?;
    if let (Some((first, _)), Some((last, _))) = (new.first(), new.last()) {
        events::tell_submitted(conn, sums.added, first.line(), last.line()).await;
    }
    Ok(sums)
}

/// The values of lines in a hash; `None` for those that are not in it.
type Fields = Vec<Option<Vec<u8>>>;

fn is_in(fields: &Fields, at: usize) -> bool {
    fields.get(at).is_some_and(Option::is_some)
}

/// Where lines are before they are added, and the numbers that they take in the sequence.
struct Found {
    /// The last of as many sequence numbers as there are lines.
    last_sequence: u64,
    todo: Fields,
    in_progress: Fields,
    failed: Fields,
    finished: Vec<bool>,
}

impl Found {
    async fn read(conn: &Connection, tasks: &[NewTask]) -> Result<Self, QueueError> {
        let lines: Vec<&str> = tasks.iter().map(NewTask::line).collect();
        let mut pipe = redis::pipe();
        pipe.cmd("INCRBY").arg(conn.name(Key::Sequence)).arg(lines.len());
        for key in [Key::Todo, Key::InProgress, Key::Failed] {
            pipe.cmd("HMGET").arg(conn.name(key)).arg(&lines);
        }
        for line in &lines {
            pipe.hexists(conn.name(Key::Finished), line);
        }
        let mut replies = conn.pipe::<Vec<redis::Value>>(&pipe).await?.into_iter();
        let mut take = || replies.next().unwrap_or(redis::Value::Nil);
        Ok(Self {
            last_sequence: of(take())?,
            todo: of(take())?,
            in_progress: of(take())?,
            failed: of(take())?,
            finished: lines.iter().map(|_| of(take())).collect::<Result<_, _>>()?,
        })
    }
}

/// Puts lines with their scores into the index, and wakes workers.
async fn index_plainly(conn: &Connection, new: &[(&NewTask, u64)]) -> Result<(), QueueError> {
    let mut index = redis::pipe();
    for (task, score) in new {
        let (ready, lane, cell) = (conn.name(Key::Ready), lane_of(&task.class), cell_of(&task.class));
        index.cmd("ZADD").arg(format!("{ready}c:{lane}")).arg("NX").arg(*score).arg(task.line());
        index.cmd("ZADD").arg(format!("{ready}h:{cell}")).arg("LT").arg(*score).arg(lane);
        index.cmd("ZADD").arg(conn.name(Key::Cells)).arg("LT").arg(*score).arg(cell);
    }
    let indexed: Vec<u64> = conn.pipe(&index).await?;
    let mut end = redis::pipe();
    end.cmd("INCRBY").arg(conn.name(Key::Count)).arg(indexed.iter().step_by(3).sum::<u64>());
    end.cmd("PUBLISH").arg(conn.name(Key::Wake)).arg("todo");
    conn.pipe::<()>(&end).await
}

fn of<T: redis::FromRedisValue>(value: redis::Value) -> Result<T, QueueError> {
    redis::from_redis_value(value).map_err(|error| QueueError::Protocol(error.to_string()))
}
