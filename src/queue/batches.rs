//! Batches: what is known of each, submissions to them, and what workers do about them besides claims. See `lua/shared/members.lua` and
//! `lua/shared/gates.lua`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::args::Args;
use super::call_size::{self, STEPS, step_after};
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::events::note_batch;
use super::keys::Key;
use super::lock::try_lock;
use super::records::{
    BatchArgs, BatchEntry, ChangedLine, ControlArgs, ControlReply, RecountArgs, ReleaseArgs, ReleaseHead, StoppedBatch,
};
use super::reply::{Reply, ReplyRecord as _};
use super::session::base_score;
use super::{control, scripts};
use crate::model::{BatchHold, BatchName, FailureKind, FieldOrder, TaskId, TaskLine, ascii_json};

/// Names, lines or members of one call.
pub(super) const STEP: usize = 250;

/// Lines that one step of a release puts into lanes: it stays under 2 ms of the server's time, also where each stands behind a gate of its own.
const RELEASED: usize = 50;

/// What is known of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchRecord {
    /// Who made it.
    pub by: String,
    /// When, in seconds since the epoch.
    pub created: u64,
    /// More tasks than this that fail for good stop it: a number, or a percentage of all its tasks (`5%`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fails: Option<String>,
    /// Whether its tasks are given up when what they wait for fails.
    pub kill_on_invalid_dep: bool,
    /// The names that tasks of it wait for.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<BatchName>,
}

/// What a change of a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchChange<'a> {
    /// All its submissions have ended: nothing more is to come.
    Close,
    /// More is to come, until it is closed.
    LeaveOpen,
    /// What waits for this name, or for a step of it, need not; by whom.
    Waive(&'a str),
    /// Nothing of it starts, and why.
    Hold(&'a BatchHold),
    /// It goes on, and its failures so far are forgiven.
    GoOn,
    /// The name is known, also while nothing is added to it.
    Declare,
}

/// Applies one change to some names. Atomic; safe to repeat.
///
/// # Errors
/// Those of any call.
pub async fn change(conn: &Connection, change: BatchChange<'_>, names: &[BatchName]) -> Result<u64, QueueError> {
    let (op, value) = match change {
        BatchChange::Close => ("close", String::new()),
        BatchChange::LeaveOpen => ("open", String::new()),
        BatchChange::Waive(by) => ("waive", by.to_owned()),
        BatchChange::Hold(hold) => ("hold", hold.to_string()),
        BatchChange::GoOn => ("go_on", String::new()),
        BatchChange::Declare => ("step", String::new()),
    };
    let mut changed = 0;
    for part in names.chunks(STEP) {
        changed += call(conn, op, "", &value, part.iter().map(|name| (name.as_str(), "", ""))).await?;
    }
    Ok(changed)
}

/// Notes in the event log what somebody did to batches. The deed is done: that the log did not take it is no error.
pub async fn tell(conn: &Connection, what: &str, names: &[BatchName], by: &str) {
    for name in names {
        note_batch(conn, what, name, by).await;
    }
}

/// Runs `batch.lua` for some names, or lines.
pub(super) async fn call<'a>(
    conn: &Connection,
    op: &str,
    submission: &str,
    value: &str,
    entries: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
) -> Result<u64, QueueError> {
    let mut args = Args::new();
    args.record(BatchArgs { op, submission, value });
    for (name, record, expected) in entries {
        args.record(BatchEntry { name, record, expected });
    }
    conn.script(&scripts::BATCH, None, &args).await
}

/// The records of some batches, `None` for one that is not known.
///
/// # Errors
/// Those of any call.
pub async fn records(conn: &Connection, names: &[BatchName]) -> Result<Vec<Option<BatchRecord>>, QueueError> {
    let texts = record_texts(conn, names).await?;
    Ok(texts.into_iter().map(|text| text.and_then(|json| serde_json::from_slice(&json).ok())).collect())
}

async fn record_texts(conn: &Connection, names: &[BatchName]) -> Result<Vec<Option<Vec<u8>>>, QueueError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = names.iter().map(BatchName::as_str).collect();
    conn.cmd(redis::cmd("HMGET").arg(conn.name(Key::Batches)).arg(names)).await
}

/// Begins a submission to a batch: until [`end`], none of the gates on it opens. `merge` makes its record of the one that it has.
///
/// Safe to repeat, also to go on after the submission was closed by others.
///
/// # Errors
/// Those of any call.
pub async fn begin(
    conn: &Connection,
    submission: &str,
    batch: &BatchName,
    merge: impl Fn(Option<BatchRecord>) -> BatchRecord,
) -> Result<(), QueueError> {
    loop {
        let known = record_texts(conn, std::slice::from_ref(batch)).await?.into_iter().next().flatten();
        let known = known.map(|json| String::from_utf8_lossy(&json).into_owned()).unwrap_or_default();
        let record = merge(serde_json::from_str(&known).ok());
        let record = serde_json::to_string(&record).map_err(|error| QueueError::Protocol(error.to_string()))?;
        if call(conn, "begin", submission, "", [(batch.as_str(), record.as_str(), known.as_str())]).await? == 1 {
            return Ok(());
        }
    }
}

/// Ends a submission to some batches. Safe to repeat.
///
/// # Errors
/// Those of any call.
pub async fn end(conn: &Connection, submission: &str, batches: &[BatchName]) -> Result<(), QueueError> {
    call(conn, "end", submission, "", batches.iter().map(|batch| (batch.as_str(), "", ""))).await.map(drop)
}

/// What one step of a release left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseStep {
    /// Whether there is more to do at once.
    pub has_more: bool,
    /// Batches that have stopped: their waiting tasks are to be given up.
    pub stopped: Vec<BatchName>,
}

/// Takes one bounded step of emptying gates that have opened and giving up what can open no more. `done` is a stopped batch whose tasks were given up.
///
/// # Errors
/// Those of any call.
pub async fn release(conn: &Connection, done: Option<&BatchName>) -> Result<ReleaseStep, QueueError> {
    let done = done.map(|batch| format!("x:{batch}")).unwrap_or_default();
    let mut args = Args::new();
    args.record(ReleaseArgs { most: RELEASED, done: &done });
    let reply = Reply::new(conn.script(&scripts::RELEASE, None, &args).await?)?;
    let ReleaseHead { has_more } = reply.head()?;
    let mut stopped = Vec::new();
    for row in reply.rows(ReleaseHead::SIZE) {
        let StoppedBatch { batch } = row?;
        stopped.extend(batch.parse().ok());
    }
    Ok(ReleaseStep { has_more, stopped })
}

/// What is to be done about batches now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chores {
    /// Gates have opened, or something is to be given up.
    pub release: bool,
    /// The counters of members were deleted, or are being counted anew.
    pub recount: bool,
}

/// Batches whose counters are looked for, chosen at random, each time.
const LOOKED_UP: usize = 20;

/// The field of the counters that is there while nobody has deleted them; as in `lua/shared/members.lua`.
pub(super) const BEGUN: &str = "\tbegun";

/// Submissions that are looked at each time, chosen at random where there are more.
const SUBMITS_LOOKED_AT: usize = 256;

/// What [`chores`] is answered.
type Found = (u64, u64, Option<String>, Vec<Vec<u8>>, bool, Vec<Vec<u8>>);

async fn lacks_counter(conn: &Connection, batches: &[Vec<u8>]) -> Result<bool, QueueError> {
    let counters: Vec<Option<i64>> = conn.cmd(redis::cmd("HMGET").arg(conn.name(Key::BatchN)).arg(batches)).await?;
    Ok(counters.iter().any(Option::is_none))
}

/// Looks whether there is something to do about batches. Two round trips, constant cost.
///
/// # Errors
/// Those of any call.
pub async fn chores(conn: &Connection) -> Result<Chores, QueueError> {
    let ready = conn.name(Key::Ready);
    let mut pipe = redis::pipe();
    let any = ["opening", "chores", "times", "moves"].map(|name| format!("{ready}{name}"));
    pipe.cmd("EXISTS").arg(&any);
    pipe.hlen(conn.name(Key::Member)).get(format!("{ready}counts"));
    pipe.cmd("HRANDFIELD").arg(conn.name(Key::BatchSubmits)).arg(SUBMITS_LOOKED_AT).arg("WITHVALUES");
    pipe.hexists(conn.name(Key::BatchN), BEGUN).cmd("HRANDFIELD").arg(conn.name(Key::Batches)).arg(LOOKED_UP);
    let (any, members, counts, submits, are_there, some): Found = conn.pipe(&pipe).await?;
    // A batch without its counter: others have deleted counters, and not the mark that says that they are whole.
    let lacks = !are_there || (!some.is_empty() && lacks_counter(conn, &some).await?);
    // One that is marked for that ends when it has added nothing for a while.
    let times = || submits.iter().skip(1).step_by(2);
    let may_end = times().any(|times| times.ends_with(b":s"));
    let has_ended = may_end || times().any(|times| !times.first().is_some_and(u8::is_ascii_digit));
    let recount = members > 0 && (counts.as_deref() != Some("1") || lacks);
    Ok(Chores { release: any > 0 || has_ended, recount })
}

/// Takes the lock under which one worker at a time does so.
///
/// # Errors
/// Those of any call.
pub async fn lock(conn: &Connection, holder: &str, for_at_most: Duration) -> Result<bool, QueueError> {
    try_lock(conn, Key::ReleaseLock, holder, for_at_most).await
}

/// Where counting the members anew stands.
#[derive(Clone, Debug, Default)]
pub struct Recount {
    cursor: String,
}

impl Recount {
    /// Takes one bounded step; true at the end. Gates stay closed meanwhile, and counters are exact at the end whatever others do.
    ///
    /// # Errors
    /// Those of any call; the count can go on afterwards.
    pub async fn step(&mut self, conn: &Connection) -> Result<bool, QueueError> {
        let mut args = Args::new();
        args.record(RecountArgs { cursor: &self.cursor, count: STEP });
        let next: String = conn.script(&scripts::RECOUNT, None, &args).await?;
        match next.as_str() {
            "begun" => "0".clone_into(&mut self.cursor),
            "void" => self.cursor.clear(),
            "0" => return Ok(true),
            cursor => cursor.clone_into(&mut self.cursor),
        }
        Ok(false)
    }
}

/// Where a look at the members of a batch stands.
#[derive(Clone, Copy, Debug)]
pub struct MemberScan {
    cursor: u64,
    step: usize,
    is_over: bool,
}

impl Default for MemberScan {
    fn default() -> Self {
        Self { cursor: 0, step: STEPS[1], is_over: false }
    }
}

/// A line and what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The task line.
    pub line: String,
    /// Open, done, given up or gone.
    pub state: MemberState,
    /// The batches and steps that it belongs to.
    pub names: Vec<BatchName>,
    /// The words to select it by.
    pub tags: Vec<String>,
}

/// How a member of a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It waits or runs.
    Open,
    /// It has finished.
    Done,
    /// It is out of retries, was refused, cancelled or given up.
    GivenUp,
    /// It vanished before it had finished.
    Gone,
}

impl Member {
    /// Reads `FLAG NAMES[ TAGS]`; `None` for what is none.
    #[must_use]
    pub fn parse(line: &[u8], value: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.to_owned();
        let mut parts = std::str::from_utf8(value).ok()?.split(' ');
        let state = match parts.next()? {
            "o" => MemberState::Open,
            "d" => MemberState::Done,
            "x" => MemberState::GivenUp,
            "g" => MemberState::Gone,
            _ => return None,
        };
        let names = parts.next()?.split(',').map(|name| name.parse().ok()).collect::<Option<_>>()?;
        let tags = parts.next().map(|tags| tags.split(',').map(str::to_owned).collect()).unwrap_or_default();
        Some(Self { line, state, names, tags })
    }

    /// Counts it, once, for each of these names that it belongs to, itself or by a step.
    pub(super) fn count(&self, counts: &mut HashMap<BatchName, u64>) {
        let levels: BTreeSet<BatchName> = self.names.iter().flat_map(BatchName::levels).collect();
        for level in levels {
            if let Some(count) = counts.get_mut(&level) {
                *count += 1;
            }
        }
    }

    /// Whether it belongs to a batch or step, or to a step of it.
    #[must_use]
    pub fn is_of(&self, batch: &BatchName) -> bool {
        self.names.iter().any(|name| name.is_within(batch))
    }
}

impl MemberScan {
    /// The next page of members of any batch; `None` at the end. A member may come twice. The cost of all pages grows with all members.
    ///
    /// # Errors
    /// Those of any call; the scan can go on afterwards.
    pub async fn page(&mut self, conn: &Connection) -> Result<Option<Vec<Member>>, QueueError> {
        if self.is_over {
            return Ok(None);
        }
        let mut scan = redis::cmd("HSCAN");
        scan.arg(conn.name(Key::Member)).arg(self.cursor).arg("COUNT").arg(self.step);
        let (next, page): ScanPage = conn.cmd(&scan).await?;
        self.step = step_after(self.step, page.iter().map(|(line, value)| line.len() + value.len()).sum());
        self.cursor = next;
        self.is_over = next == 0;
        Ok(Some(page.iter().filter_map(|(line, value)| Member::parse(line, value)).collect()))
    }
}

/// What some lines belong to, `None` for those that belong to nothing.
///
/// # Errors
/// Those of any call.
pub async fn members(conn: &Connection, lines: &[String]) -> Result<Vec<Option<Member>>, QueueError> {
    let mut found = Vec::with_capacity(lines.len());
    for part in call_size::parts(lines, usize::MAX, String::len) {
        let values: Vec<Option<Vec<u8>>> = conn.cmd(redis::cmd("HMGET").arg(conn.name(Key::Member)).arg(part)).await?;
        let read = |(line, value): (&String, Option<Vec<u8>>)| Member::parse(line.as_bytes(), &value?);
        found.extend(part.iter().zip(values).map(read));
    }
    Ok(found)
}

/// Moves waiting tasks to those that failed, with a reason and a kind. What waits no more is passed over. Safe to repeat.
///
/// # Errors
/// Those of any call; what was moved stays moved.
pub async fn give_up(
    conn: &Connection,
    lines: &[String],
    order: FieldOrder,
    reason: &str,
    kind: FailureKind,
) -> Result<u64, QueueError> {
    let mut given_up = 0;
    for part in call_size::parts(lines, control::BATCH, String::len) {
        let mut args = Args::new();
        let (reason, group) = (ascii_json(reason), kind.to_string());
        args.record(ControlArgs { op: "give_up", selected: "todo", reason: &reason, group: &group, by: "" });
        for line in part {
            let task = TaskLine::parse(line, order).ok();
            let class = task.as_ref().map(TaskLine::class);
            let base_score = task.as_ref().map_or(0, |task| base_score(task.prio()));
            args.record(ChangedLine { line, id: TaskId::of(line), class, base_score, record: String::new() });
        }
        let ControlReply { changed, .. } = Reply::new(conn.script(&scripts::CONTROL, None, &args).await?)?.head()?;
        given_up += changed;
    }
    Ok(given_up)
}

/// Why a batch is held, `None` for one that is not.
///
/// # Errors
/// Those of any call.
pub async fn held(conn: &Connection, batch: &BatchName) -> Result<Option<BatchHold>, QueueError> {
    let text: Option<String> = conn.cmd(redis::cmd("HGET").arg(conn.name(Key::BatchHeld)).arg(batch.as_str())).await?;
    Ok(text.as_deref().map(BatchHold::parse))
}
