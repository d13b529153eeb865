//! Scans the tasks of one state in bounded steps. Only for people's commands, because the cost grows with the queue.

use std::collections::HashMap;

use super::call_size::{STEPS, step_after};
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::homes::keys_of;
use super::keys::{Key, STOP_FIELD};
use super::kinds;
use crate::model::snapshot::{TaskState, TaskView};
use crate::model::{BatchName, Outcome};

/// One entry of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashEntry {
    /// The task line.
    pub line: String,
    /// Worker, result or list of workers, by state; empty in todo.
    pub value: String,
}

/// What is asked of tasks beside their state. All conditions hold at once; an absent one holds for every task. Whatever else tasks are grouped by is
/// asked for here, and every scan goes by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskGroup {
    /// The group of their failure, see [`super::kinds`].
    pub kind: Option<String>,
    /// The batch that they belong to, or the step.
    pub batch: Option<BatchName>,
    /// One of their tags.
    pub tag: Option<String>,
}

impl TaskGroup {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.kind.is_none() && !self.is_of_members()
    }

    /// Whether it asks for what only members of batches have.
    fn is_of_members(&self) -> bool {
        self.batch.is_some() || self.tag.is_some()
    }

    /// Whether everything known of a task fits.
    #[must_use]
    pub fn has(&self, task: &TaskView) -> bool {
        (self.kind.is_none() || self.kind == task.kind) && self.has_member(&task.batches, &task.tags)
    }

    pub(super) fn has_member(&self, batches: &[BatchName], tags: &[String]) -> bool {
        self.batch.as_ref().is_none_or(|batch| batches.iter().any(|name| name.is_within(batch)))
            && self.tag.as_ref().is_none_or(|tag| tags.contains(tag))
    }
}

/// A scan over one state. A line that stays throughout is seen at least once, possibly twice.
#[derive(Debug)]
pub struct StateScan {
    keys: &'static [Key],
    /// What the entries of the hash have to be; `None` for all that it holds.
    wanted: Option<(TaskState, TaskGroup)>,
    cursor: u64,
    step: usize,
}

impl StateScan {
    /// A scan from the beginning.
    #[must_use]
    pub fn new(state: TaskState) -> Self {
        Self::of_group(state, TaskGroup::default())
    }

    /// A scan over the tasks of a state that belong to a group.
    #[must_use]
    pub fn of_group(state: TaskState, group: TaskGroup) -> Self {
        Self { wanted: Some((state, group)), ..Self::over(keys_of(state)) }
    }

    /// A scan over the hashes of a state. In the one of failed tasks stand the cancelled ones too.
    #[must_use]
    pub fn of_hash(state: TaskState) -> Self {
        Self::over(keys_of(state))
    }

    /// A scan over what [`super::aside`] has set aside.
    #[must_use]
    pub fn of_aside() -> Self {
        Self::over(&[Key::Aside])
    }

    fn over(keys: &'static [Key]) -> Self {
        Self { keys, wanted: None, cursor: 0, step: STEPS[1] }
    }

    /// The next entries; `None` at the end. Lines that are not UTF-8 are passed over.
    ///
    /// # Errors
    /// Those of any call; the scan can go on afterwards.
    pub async fn next(&mut self, conn: &Connection) -> Result<Option<Vec<HashEntry>>, QueueError> {
        let Some((key, rest)) = self.keys.split_first() else { return Ok(None) };
        let (next, page): ScanPage =
            conn.cmd(redis::cmd("HSCAN").arg(conn.name(*key)).arg(self.cursor).arg("COUNT").arg(self.step)).await?;
        self.cursor = next;
        if next == 0 {
            self.keys = rest;
        }
        self.step = step_after(self.step, page.iter().map(|(line, value)| line.len() + value.len()).sum());
        let page = page
            .into_iter()
            .filter_map(|(line, value)| {
                let line = String::from_utf8(line).ok().filter(|line| line != STOP_FIELD)?;
                Some(HashEntry { line, value: String::from_utf8_lossy(&value).into_owned() })
            })
            .collect();
        match &self.wanted {
            Some((state, group)) => {
                let page = of_state(conn, *state, group, page).await?;
                of_batch(conn, group, page).await.map(Some)
            }
            None => Ok(Some(page)),
        }
    }
}

/// Those of a page of [`keys_of`] a state that are in that state and belong to a group, with the value that they have in the hash of the state.
async fn of_state(
    conn: &Connection,
    state: TaskState,
    group: &TaskGroup,
    mut page: Vec<HashEntry>,
) -> Result<Vec<HashEntry>, QueueError> {
    if state == TaskState::Cancelled {
        page.retain(|entry| TaskState::of_failure(Some(&entry.value)) == state);
        page = with_workers(conn, page).await?;
        page.retain(|_| group.kind.as_deref().is_none_or(|kind| kind == Outcome::CANCELLED_GROUP));
        return Ok(page);
    }
    if page.is_empty() || (group.kind.is_none() && state != TaskState::Failed) {
        return Ok(page);
    }
    let lines: Vec<String> = page.iter().map(|entry| entry.line.clone()).collect();
    let recorded = kinds::recorded(conn, &lines).await?;
    let has_failed = |recorded: &Option<String>| TaskState::of_failure(recorded.as_deref()) == TaskState::Failed;
    let found = page.into_iter().zip(recorded).filter(|(_, kind)| state != TaskState::Failed || has_failed(kind));
    let Some(wanted) = &group.kind else { return Ok(found.map(|(entry, _)| entry).collect()) };
    let (page, recorded): (Vec<HashEntry>, Vec<Option<String>>) = found.unzip();
    let lines: Vec<String> = page.iter().map(|entry| entry.line.clone()).collect();
    let kinds = kinds::of_lines(conn, &lines, recorded, state == TaskState::Failed).await?;
    Ok(page.into_iter().zip(kinds).filter(|(_, kind)| kind.as_ref() == Some(wanted)).map(|(entry, _)| entry).collect())
}

/// Those of a page that belong to the batch and have the tag that a group asks for.
async fn of_batch(conn: &Connection, group: &TaskGroup, page: Vec<HashEntry>) -> Result<Vec<HashEntry>, QueueError> {
    if !group.is_of_members() || page.is_empty() {
        return Ok(page);
    }
    let lines: Vec<String> = page.iter().map(|entry| entry.line.clone()).collect();
    let members = super::batches::members(conn, &lines).await?;
    let fits = |member: &Option<super::batches::Member>| {
        member.as_ref().is_some_and(|member| group.has_member(&member.names, &member.tags))
    };
    Ok(page.into_iter().zip(members).filter(|(_, member)| fits(member)).map(|(entry, _)| entry).collect())
}

/// Entries of `failed_tasks` in place of those of the table of kinds; one that is not there any more is left out.
async fn with_workers(conn: &Connection, page: Vec<HashEntry>) -> Result<Vec<HashEntry>, QueueError> {
    let lines: Vec<String> = page.into_iter().map(|entry| entry.line).collect();
    let workers = kinds::values(conn, Key::Failed, &lines).await?;
    let entries = lines.into_iter().zip(workers);
    Ok(entries.filter_map(|(line, value)| Some(HashEntry { line, value: value? })).collect())
}

/// The groups of the failures that have none recorded, as those of Python workers, with the number of their tasks. Goes through all failures, unless
/// every one has a group.
///
/// # Errors
/// Those of any call.
pub async fn unrecorded_kinds(conn: &Connection) -> Result<Vec<(String, u64)>, QueueError> {
    /// Groups that are told apart: texts of Python's reasons could be millions.
    const MOST: usize = 1000;
    let mut found: HashMap<String, u64> = HashMap::new();
    if kinds::are_recorded(conn).await? {
        return Ok(Vec::new());
    }
    let mut scan = StateScan::of_hash(TaskState::Failed);
    while let Some(page) = scan.next(conn).await? {
        let lines: Vec<String> = page.into_iter().map(|entry| entry.line).collect();
        let recorded = kinds::recorded(conn, &lines).await?;
        let without = lines.into_iter().zip(recorded).filter(|(_, kind)| kind.is_none());
        let without: Vec<String> = without.map(|(line, _)| line).collect();
        for kind in kinds::of_failures(conn, &without).await? {
            if found.len() < MOST || found.contains_key(&kind) {
                *found.entry(kind).or_default() += 1;
            }
        }
    }
    Ok(found.into_iter().collect())
}
