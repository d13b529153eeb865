//! Finds tasks by their lines or ids. Only for people's commands and scripts, because the cost of an id grows with the queue.

use std::collections::{BTreeSet, HashMap};

use super::client::Connection;
use super::error::QueueError;
use super::inspect;
use super::keys::STOP_FIELD;
use super::select::StateScan;
use crate::model::TaskId;
use crate::model::snapshot::TaskState;

/// What a text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskMatch {
    /// No such task.
    None,
    /// This line.
    One(String),
    /// An id prefix of several lines.
    Many(Vec<String>),
}

/// Tasks move in this direction, except for retries; a scan that goes with them misses none. Results may be large, so they come last.
const SCANNED: [TaskState; 4] = [TaskState::Todo, TaskState::InProgress, TaskState::Failed, TaskState::Finished];

/// Digits of a whole id.
const WHOLE: usize = 16;

/// Finds the task that `text` names: a whole line, or a prefix of an id.
///
/// A line is looked up directly; an id costs a scan of the four hashes.
///
/// # Errors
/// Those of any call.
pub async fn find(conn: &Connection, text: &str) -> Result<TaskMatch, QueueError> {
    let found = search(conn, &[text.to_owned()], false).await?.pop();
    Ok(found.unwrap_or(TaskMatch::None))
}

/// Finds the tasks that some texts name, in their order.
///
/// Lines are looked up directly. Ids, however many, cost one scan of the four hashes together; if all are whole, it ends when all are found.
///
/// # Errors
/// Those of any call.
pub async fn find_all(conn: &Connection, texts: &[String]) -> Result<Vec<TaskMatch>, QueueError> {
    search(conn, texts, true).await
}

async fn search(conn: &Connection, texts: &[String], ends_early: bool) -> Result<Vec<TaskMatch>, QueueError> {
    let states = inspect::states(conn, texts).await?;
    let mut found: Vec<Vec<String>> = vec![Vec::new(); texts.len()];
    let mut ids = IdPrefixes::default();
    for (at, (text, states)) in texts.iter().zip(states).enumerate() {
        if text != STOP_FIELD && !states.is_empty() {
            found[at].push(text.clone());
        } else if TaskId::is_prefix_like(text) {
            ids.add(text, at);
        }
    }
    let mut missing = ids.places();
    for state in SCANNED {
        let mut scan = StateScan::of_hash(state);
        while !(ids.is_empty() || ends_early && missing.is_empty()) {
            let Some(page) = scan.next(conn).await? else { break };
            for entry in page {
                for at in ids.of(&entry.line) {
                    if !found[at].contains(&entry.line) {
                        found[at].push(entry.line.clone());
                    }
                    if ends_early && ids.has_whole_only() {
                        missing.remove(&at);
                    }
                }
            }
        }
    }
    Ok(found
        .into_iter()
        .map(|mut lines| match lines.len() {
            0 => TaskMatch::None,
            1 => TaskMatch::One(lines.remove(0)),
            _ => TaskMatch::Many(lines),
        })
        .collect())
}

/// Beginnings of ids, and at which places they were asked for.
#[derive(Default)]
struct IdPrefixes<'a> {
    places: HashMap<&'a str, Vec<usize>>,
    lengths: BTreeSet<usize>,
}

impl<'a> IdPrefixes<'a> {
    fn add(&mut self, prefix: &'a str, at: usize) {
        self.places.entry(prefix).or_default().push(at);
        self.lengths.insert(prefix.len());
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn has_whole_only(&self) -> bool {
        self.lengths.iter().all(|length| *length == WHOLE)
    }

    fn places(&self) -> BTreeSet<usize> {
        self.places.values().flatten().copied().collect()
    }

    /// The places that the id of this line answers.
    fn of(&self, line: &str) -> Vec<usize> {
        let id = TaskId::of(line).to_string();
        let places = self.lengths.iter().filter_map(|length| self.places.get(id.get(..*length)?));
        places.flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_any_length_lead_to_their_places() {
        let id = TaskId::of("shell:1:1:1:x").to_string();
        let mut ids = IdPrefixes::default();
        assert!(ids.is_empty() && ids.has_whole_only());
        ids.add(&id, 0);
        ids.add(&id, 2);
        assert!(ids.has_whole_only());
        ids.add(&id[..4], 1);
        assert!(!ids.has_whole_only());
        let mut places = ids.of("shell:1:1:1:x");
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2]);
        assert_eq!(ids.of("shell:1:1:1:y"), [0; 0]);
    }
}
