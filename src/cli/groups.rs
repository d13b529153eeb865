//! Groups failures by kind.

use std::collections::{BTreeSet, HashMap};

use crate::model::BatchName;
use crate::model::snapshot::{FailureGroup, TaskState};
use crate::queue::select::{HashEntry, StateScan, TaskGroup};
use crate::queue::{Connection, QueueError, inspect, kinds};

/// Groups that are told apart. Kinds are few; texts of Python's reasons could be millions.
const MOST_GROUPS: usize = 1000;

/// Workers named in a group.
const MOST_WORKERS: usize = 200;

/// The group of what is beyond [`MOST_GROUPS`].
const REST: &str = "other";

/// Groups in the making.
#[derive(Default)]
pub(crate) struct Groups {
    groups: HashMap<String, Group>,
}

#[derive(Default)]
struct Group {
    count: u64,
    workers: BTreeSet<String>,
    sample: String,
}

/// A failure with its kind.
pub(crate) struct Failure {
    /// The line.
    pub(crate) line: String,
    /// The kind it is grouped under.
    pub(crate) kind: String,
    /// The workers it failed on, with repeats.
    pub(crate) workers: Vec<String>,
}

/// Finds the kinds of some entries of `failed_tasks`: the recorded one, else the beginning of the reason, else `unknown`.
pub(crate) async fn kinds_of(conn: &Connection, entries: Vec<HashEntry>) -> Result<Vec<Failure>, QueueError> {
    let lines: Vec<String> = entries.iter().map(|entry| entry.line.clone()).collect();
    let kinds = kinds::of_failures(conn, &lines).await?;
    let failures = entries.into_iter().zip(kinds).map(|(entry, kind)| {
        let workers = entry.value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Failure { line: entry.line, kind, workers }
    });
    Ok(failures.collect())
}

impl Groups {
    /// Counts a failure.
    pub(crate) fn add(&mut self, failure: &Failure) {
        let is_known = self.groups.contains_key(&failure.kind);
        let kind = if is_known || self.groups.len() < MOST_GROUPS { failure.kind.as_str() } else { REST };
        let group = self.groups.entry(kind.to_owned()).or_default();
        group.count += 1;
        if group.sample.is_empty() {
            group.sample.clone_from(&failure.line);
        }
        for worker in &failure.workers {
            if group.workers.len() < MOST_WORKERS && !group.workers.contains(worker) {
                group.workers.insert(worker.clone());
            }
        }
    }

    /// The groups, largest first, each with the reason of its sample.
    pub(crate) async fn finish(self, conn: &Connection) -> Result<Vec<FailureGroup>, QueueError> {
        let mut groups: Vec<FailureGroup> = self
            .groups
            .into_iter()
            .map(|(kind, group)| FailureGroup {
                kind,
                count: group.count,
                workers: group.workers.into_iter().collect(),
                sample: group.sample,
                reason: String::new(),
            })
            .collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
        let samples: Vec<String> = groups.iter().map(|group| group.sample.clone()).collect();
        for (group, task) in groups.iter_mut().zip(inspect::tasks(conn, &samples).await?) {
            group.reason = task.reason.unwrap_or_default();
        }
        Ok(groups)
    }
}

/// Steps in which failures are gone through in search of those of one batch: some 25,000 of them.
const LOOKS: usize = 60;

/// The failures of a batch by kind, of a bounded part of all failures; and whether that is all of them.
pub(crate) async fn groups_of_batch(
    conn: &Connection,
    batch: &BatchName,
) -> Result<(Vec<FailureGroup>, bool), QueueError> {
    let group = TaskGroup { batch: Some(batch.clone()), ..TaskGroup::default() };
    let mut scan = StateScan::of_group(TaskState::Failed, group);
    let mut groups = Groups::default();
    for _ in 0..LOOKS {
        let Some(page) = scan.next(conn).await? else { return Ok((groups.finish(conn).await?, true)) };
        kinds_of(conn, page).await?.iter().for_each(|failure| groups.add(failure));
    }
    Ok((groups.finish(conn).await?, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_bounded() {
        let mut groups = Groups::default();
        for n in 0..2 * MOST_GROUPS {
            groups.add(&Failure { line: n.to_string(), kind: format!("kind {n}"), workers: vec!["a".to_owned()] });
        }
        assert!(groups.groups.len() <= MOST_GROUPS + 1);
        assert_eq!(groups.groups.values().map(|group| group.count).sum::<u64>(), 2 * MOST_GROUPS as u64);
    }
}
