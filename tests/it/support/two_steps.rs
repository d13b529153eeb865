//! What the original Python worker is allowed: it moves a task in two commands, and between them the task is nowhere, or finished and still in progress.
//! Excused is what is seen to be its own doing, and only for a moment; whatever is anybody else's counts from the first picture.
use std::collections::BTreeMap;

use super::invariants::{Bytes, Snapshot, Violation};

/// What is known of a Python worker in the fleet.
#[derive(Clone, Debug)]
pub(crate) struct TwoSteps {
    worker: Bytes,
    /// For so many pictures in a row it may stand between its two commands.
    patience: usize,
    /// Lines that were nowhere, for how many pictures, and whether they were its own before.
    absent: BTreeMap<Bytes, (usize, bool)>,
    /// Lines that it has recorded and not yet let go of.
    letting_go: BTreeMap<Bytes, usize>,
}

impl TwoSteps {
    pub(crate) fn new(worker: &str, patience: usize) -> Self {
        Self { worker: worker.as_bytes().to_vec(), patience, absent: BTreeMap::new(), letting_go: BTreeMap::new() }
    }

    /// Of what is wrong in a picture, what it cannot have done; and lines that were nowhere before and turn up as another's.
    pub(crate) fn not_its_own(&mut self, seen: Vec<Violation>, before: &Snapshot, now: &Snapshot) -> Vec<Violation> {
        let mut wrong = Vec::new();
        let (mut absent, mut letting_go) = (BTreeMap::new(), BTreeMap::new());
        for one in seen {
            let is_its_own = now.in_progress.get(&one.line) == Some(&self.worker);
            match one.rule {
                "I1 nowhere" => {
                    let first = (0, before.in_progress.get(&one.line) == Some(&self.worker));
                    let (pictures, was_its_own) = self.absent.get(&one.line).copied().unwrap_or(first);
                    absent.insert(one.line.clone(), (pictures + 1, was_its_own));
                    if pictures >= self.patience {
                        wrong.push(one);
                    }
                }
                "I3 finished and not over" if is_its_own && !now.todo.contains_key(&one.line) => {
                    let pictures = self.letting_go.get(&one.line).copied().unwrap_or(0);
                    letting_go.insert(one.line.clone(), pictures + 1);
                    if pictures >= self.patience {
                        wrong.push(one);
                    }
                }
                _ => wrong.push(one),
            }
        }
        let returned = self.absent.iter().filter(|(line, _)| !absent.contains_key(*line));
        wrong.extend(returned.filter(|(line, (_, was))| !was && !self.has_had(line, now)).map(|(line, _)| Violation {
            rule: "I1 nowhere for a moment, and not by the two steps of the Python worker",
            line: line.clone(),
        }));
        (self.absent, self.letting_go) = (absent, letting_go);
        wrong
    }

    /// Whether the line is in its hands, or has been: its name stands at the result or among the failures.
    fn has_had(&self, line: &Bytes, now: &Snapshot) -> bool {
        let names =
            |text: &Bytes, end: u8| text.strip_prefix(&*self.worker).is_some_and(|rest| rest.first() == Some(&end));
        let failed_it = |text: &Bytes| text.split(|byte| *byte == b',').any(|name| name == self.worker);
        now.in_progress.get(line) == Some(&self.worker)
            || now.finished.get(line).is_some_and(|value| names(value, b':'))
            || now.failed.get(line).is_some_and(failed_it)
    }
}
